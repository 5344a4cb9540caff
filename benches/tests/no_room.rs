//! A rendition that the machine cannot make is refused in words, and what runs goes on.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test"
)]

use std::time::Duration;

use shardcast_bench::{
    BenchError,
    clip::{Clip, ClipFormat},
    harness::{Harness, HarnessOptions},
    witness::Witness,
};
use shardcast_link::{Preset, RenditionSpec};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rendition_without_room_is_refused_in_words_and_what_runs_goes_on() {
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let clip = Clip::load(ClipFormat::small()).unwrap();
    let witness = Witness::start(&harness, &clip, "show").await.unwrap();
    harness
        .wait_status("budget", PATIENCE, |status| {
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
    let report = witness.stop().await;
    assert!(report.is_unharmed(), "{report:#?}");
}
