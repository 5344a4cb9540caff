//! The video and audio that a publisher sends.

use shardcast_link::{BroadcastStatus, PublisherStatus};

/// Width and height of its video in pixels; `None` while they are not known, or without video. Where the
/// stream does not hold its size where the shard can read it (VP8, VP9, AV1), the decoder's is used.
pub(crate) fn size(live: &BroadcastStatus) -> Option<(u32, u32)> {
    let video = live.publisher.as_ref()?.video.as_ref()?;
    let reported = (video.width, video.height);
    let decoded = live.decoder.map(|decoder| (decoder.width, decoder.height));
    let mut sizes = [Some(reported), decoded].into_iter().flatten();
    sizes.find(|(width, height)| *width > 0 && *height > 0)
}

/// Bit rate of the audio, in bit/s.
pub(crate) fn audio_bitrate(publisher: &PublisherStatus) -> u64 {
    let audio = publisher.audio.as_ref();
    audio.map_or(0, |audio| audio.bitrate_bps)
}

/// Bit rate of the rest, which is the video, in bit/s.
pub(crate) fn video_bitrate(publisher: &PublisherStatus) -> u64 {
    let all = publisher.bitrate_bps;
    all.saturating_sub(audio_bitrate(publisher))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn live(video: &serde_json::Value, decoded: (u32, u32)) -> BroadcastStatus {
        serde_json::from_value(json!({
            "id": shardcast_link::BroadcastId::new("app", "s1").unwrap(),
            "publisher": {"session": "s", "since_unix_ms": 0, "video": video},
            "decoder": {"codec": "vp8", "width": decoded.0, "height": decoded.1, "frames": 1,
                "errors": 0, "late": 0, "cpu_us": 0},
        }))
        .unwrap()
    }

    fn video(width: u32, height: u32) -> serde_json::Value {
        json!({"codec": "VP8", "width": width, "height": height, "frames_per_second": 30,
            "frames": 1, "keyframe_interval_ms": 0, "frames_damaged": 0})
    }

    #[test]
    fn the_decoder_knows_the_size_where_the_stream_does_not_tell() {
        let decoded = (960, 540);
        assert_eq!(size(&live(&video(0, 0), decoded)), Some(decoded));
        assert_eq!(size(&live(&video(640, 360), decoded)), Some((640, 360)));
        assert_eq!(size(&live(&video(0, 0), (0, 0))), None);
        assert_eq!(size(&live(&json!(null), decoded)), None);
    }
}
