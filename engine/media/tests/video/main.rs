//! Proves: what a publisher sends becomes renditions that keep their size, parameter sets, frame rate,
//! keyframe distance and bit rate whatever comes in. One file for each of these promises.
#![cfg(feature = "x264")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test"
)]

mod bit_rate;
mod canvas;
mod codecs;
mod formats;
mod frame_rate;
mod gaps;
mod ladder;
mod receiver;
mod reordered;
mod spatial_layers;
mod test_clip;
mod throttle;

#[test]
fn a_transcoder_may_go_to_the_thread_that_drives_it() {
    fn goes<T: Send>(_: &T) {}
    goes(&shardcast_media::Transcoder::new(test_clip::no_time));
}
