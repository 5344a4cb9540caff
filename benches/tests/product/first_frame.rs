//! A destination receives video and audio soon after the publisher's first packet.

use shardcast_bench::{
    harness::{Harness, HarnessOptions},
    live::first_frame,
    test_clip::{TestClip, TestClipFormat},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn video_and_audio_arrive_within_a_second_in_the_median_of_ten() {
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let clip = TestClip::load(TestClipFormat::small()).unwrap();
    let report = first_frame(&harness, &clip, 10).await.unwrap();
    let median = report.first_frame_ms.unwrap().p50;
    assert!(median < 700.0, "{:?}", report.runs_ms);
}
