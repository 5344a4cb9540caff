//! Shardcast makes renditions of a publisher's video in any codec: from the first frame to the last they
//! are those requested, and the video is decoded once for all of them.

use std::{sync::Arc, time::Duration};

use shardcast_bench::{
    harness::{Harness, HarnessOptions, Status},
    publisher::{Pace, Publisher, PublisherOptions},
    sink::{FrameLog, Sink, SinkOptions, VideoReport},
    test_clip::{TestClip, TestClipFormat},
};
use shardcast_link::{RenditionSpec, VideoCodec};

const TIME_LIMIT: Duration = Duration::from_secs(30);
/// A little more than four groups of pictures.
const FRAMES: u64 = 250;

fn small(width: u32, height: u32) -> RenditionSpec {
    RenditionSpec {
        width: Some(width),
        video_bps: 200_000,
        ..RenditionSpec::of_height(height)
    }
}

/// Publishes, and receives two renditions.
async fn two_renditions(harness: &Harness, clip: Arc<TestClip>, pace: Pace) -> (Sink, Status, u64) {
    let sink = Sink::with(SinkOptions {
        decodes_video: true,
        ..SinkOptions::default()
    })
    .unwrap();
    harness.create("show").await.unwrap();
    for (key, spec) in [("large", small(256, 144)), ("little", small(160, 90))] {
        harness
            .add_rendition("show", &sink.url(key), &spec)
            .await
            .unwrap();
    }
    let options = PublisherOptions {
        pace,
        ..PublisherOptions::new(harness.signalling(), "show")
    };
    let publisher = Publisher::start(clip, options);
    for key in ["large", "little"] {
        sink.frames(key, FRAMES, TIME_LIMIT).await.unwrap();
    }
    let counted = |status: &Status| {
        let renditions = status.renditions("show");
        renditions.len() == 2 && renditions.iter().all(|made| made.frames >= FRAMES)
    };
    let status = harness
        .wait_status("counters", TIME_LIMIT, counted)
        .await
        .unwrap();
    let sent = publisher.stop().await.frames_sent;
    (sink, status, sent)
}

/// One size, one pair of parameter sets, an even grid, a keyframe every two seconds.
fn assert_constant(video: &VideoReport, log: &FrameLog, size: (u32, u32)) {
    assert_eq!(video.sizes, [size]);
    assert_eq!(video.header_changes, 0);
    let slot_ms = 1_000.0 / 30.0;
    // A frame may be missing on a busy machine, but every frame must be on the grid.
    for distance_ms in log.distances_ms() {
        let slots = (distance_ms / slot_ms).round();
        assert!(
            slots >= 1.0 && (distance_ms - slots * slot_ms).abs() < 1.1,
            "{distance_ms} ms from frame to frame"
        );
    }
    let keys: Vec<u32> = log
        .frames()
        .iter()
        .filter(|frame| frame.key)
        .map(|frame| frame.dts_ms)
        .collect();
    assert!(keys.len() >= 4, "keyframes at {keys:?}");
    for pair in keys.windows(2) {
        let distance_ms = pair[1] - pair[0];
        assert!(
            (1_966..=2_034).contains(&distance_ms),
            "keyframes at {keys:?}"
        );
    }
}

async fn assert_two_renditions_of(codec: VideoCodec, pace: Pace) {
    let format = TestClipFormat {
        codec,
        ..TestClipFormat::small()
    };
    let clip = TestClip::load(format).unwrap();
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let (sink, status, sent) = two_renditions(&harness, clip, pace).await;
    for (key, size) in [("large", (256, 144)), ("little", (160, 90))] {
        let stream = sink.stream(key).unwrap();
        assert_constant(&stream.video, &sink.log(key), size);
        assert_eq!((stream.dts_steps_back, stream.before_header), (0, 0));
        assert!(stream.starts_on_keyframe && stream.audio_frames > 0);
        let sync = stream.sync_ms.unwrap();
        assert!(sync.count >= 4 && sync.median.abs() <= 40.0, "{sync:?}");
    }
    let broadcast = status.broadcast("show").unwrap();
    let decoder = broadcast.decoder.unwrap();
    assert_eq!((decoder.codec, decoder.errors), (codec, 0), "{decoder:?}");
    let encoded: u64 = broadcast.renditions.iter().map(|made| made.frames).sum();
    assert!(
        decoder.frames <= sent && encoded > decoder.frames * 3 / 2,
        "{} decoded of {sent} sent, {encoded} encoded",
        decoder.frames
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_renditions_of_h264_are_constant_and_cost_one_decode() {
    assert_two_renditions_of(VideoCodec::H264, Pace::Constant).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_renditions_of_vp8_at_a_varying_frame_rate_are_constant_and_cost_one_decode() {
    assert_two_renditions_of(VideoCodec::Vp8, Pace::Varying).await;
}
