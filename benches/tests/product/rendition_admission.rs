//! A rendition that exceeds the transcode capacity is refused with a reason, and running broadcasts go
//! on.

use std::time::Duration;

use shardcast_bench::{
    BenchError,
    harness::{Harness, HarnessOptions},
    passthrough_probe::PassthroughProbe,
    test_clip::{TestClip, TestClipFormat},
};
use shardcast_link::{Preset, RenditionSpec};

const TIME_LIMIT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rendition_beyond_the_capacity_is_refused_and_running_broadcasts_go_on() {
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let clip = TestClip::load(TestClipFormat::small()).unwrap();
    let probe = PassthroughProbe::start(&harness, &clip, "show")
        .await
        .unwrap();
    harness
        .wait_status("budget", TIME_LIMIT, |status| {
            status.codec().capacity_permille > 0
        })
        .await
        .unwrap();
    let huge = RenditionSpec {
        frames_per_second: 60,
        preset: Preset::Faster,
        ..RenditionSpec::of_height(2_160)
    };
    let url = "rtmp://127.0.0.1:9/live/never";
    let refused = harness.add_rendition("show", url, &huge).await;
    let Err(BenchError::Refused { answer, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(
        answer.contains("no room")
            && answer.contains("3840x2160")
            && answer.contains("% of a core"),
        "{answer}"
    );
    let endpoints = harness.broadcast("show").await.unwrap();
    assert_eq!(endpoints["endPointList"].as_array().unwrap().len(), 1);

    let modest = RenditionSpec::of_height(90);
    let id = harness.add_rendition("show", url, &modest).await.unwrap();
    assert!(!id.is_empty());
    let report = probe.stop().await;
    assert!(report.is_unharmed(), "{report:#?}");
}
