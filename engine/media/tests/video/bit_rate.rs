//! Proves: over ten seconds a rendition has its bit rate within 5 %, and the buffer of a receiver, which
//! holds one second of it, never runs dry (ITU-T H.264 §C.1.2), at every frame rate and with a publisher
//! whose frame rate varies.

use shardcast_link::RenditionSpec;

use crate::receiver::{Receiver, Seen};
use crate::test_clip::{H264, SECOND_US, SMALL, Studio};

/// The least that a receiver waits for before it shows the first picture, as a part of the buffer.
const BUFFER_AT_BEGIN: f64 = 0.5;

#[test]
fn the_bit_rate_is_met_and_the_buffer_holds_at_every_frame_rate() {
    for frames_per_second in [15, 24, 30, 60] {
        let period = 1e6 / f64::from(frames_per_second);
        let times = (0..10 * frames_per_second).map(|n| (f64::from(n) * period) as i64);
        check(frames_per_second, times);
    }
}

#[test]
fn the_bit_rate_is_met_while_the_frame_rate_of_the_publisher_varies() {
    let mut time = 0;
    let times = (0..).map(|n| {
        // 60, 30, 15 and 7.5 pictures a second in turn, half a second each.
        time += 16_667 << (n / 16 % 4);
        time
    });
    check(30, times.take_while(|time| *time < 10 * SECOND_US));
}

fn check(frames_per_second: u32, times: impl Iterator<Item = i64>) {
    let settings = RenditionSpec {
        frames_per_second,
        ..SMALL
    };
    let mut studio = Studio::new(H264::new(320, 180, 3_000_000), &[(1, settings)]);
    times.for_each(|time| studio.publish(time));
    let mut receiver = Receiver::new();
    receiver.see(1, &studio.out);
    let bits: usize = receiver.pictures.iter().map(|seen| seen.bytes * 8).sum();
    let pictures = receiver.pictures.len() as f64;
    let rate = bits as f64 * f64::from(frames_per_second) / pictures;
    let ratio = rate / f64::from(settings.video_bps);
    println!("{frames_per_second} fps: {ratio:.3} of the bit rate");
    assert!(
        (ratio - 1.0).abs() < 0.05,
        "{frames_per_second} fps: {ratio}"
    );
    let least = emptiest(&receiver.pictures, f64::from(settings.video_bps));
    println!("{frames_per_second} fps: {least:.3} of the buffer is left");
    assert!(
        least >= 0.0,
        "{frames_per_second} fps: {least} of the buffer"
    );
}

/// The least that is left of a buffer of one second, as a part of it. Below zero it ran dry.
fn emptiest(pictures: &[Seen], bps: f64) -> f64 {
    let (mut fill, mut least) = (BUFFER_AT_BEGIN * bps, 1.0_f64);
    let mut before = pictures[0].pts_us;
    for seen in pictures {
        fill = (fill + bps * (seen.pts_us - before) as f64 / 1e6).min(bps);
        before = seen.pts_us;
        fill -= seen.bytes as f64 * 8.0;
        least = least.min(fill / bps);
    }
    least
}
