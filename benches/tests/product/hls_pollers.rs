//! The generator's pollers of HLS play as players of Low-Latency HLS do, and are counted as such by the server; beside
//! them shows lose nothing, and are recorded meanwhile; what fails is said.

use std::time::Duration;

use shardcast_bench::{
    harness::{APPLICATION, Harness, HarnessOptions},
    hls::Pollers,
    hls_crowd::{HlsCrowdOptions, hls_crowd},
    live::ServerSetup,
    load::{Ingest, Mix, ShowKind},
    publisher::{Publisher, PublisherOptions},
    test_clip::{TestClip, TestClipFormat},
};

const TIME_LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_shows_lose_nothing_beside_pollers_and_both_delays_come_of_one_run() {
    let kind = ShowKind {
        publisher: Ingest::Rtmp,
        is_recorded: true,
        ..ShowKind::new(1, TestClipFormat::small())
    };
    let options = HlsCrowdOptions {
        broadcasts: 2,
        mix: Mix::of(kind),
        pollers: 21,
        runs: 1,
        setup: ServerSetup::default(),
        warm_up: Duration::from_millis(500),
        duration: Duration::from_secs(3),
    };
    let report = hls_crowd(&options, |_| {}).await.unwrap();
    let [run] = report.runs.as_slice() else {
        panic!("one run: {report:?}");
    };
    assert_eq!(run.frames_lost, 0, "{run:?}");
    // A loaded machine may keep a player waiting, and nothing else.
    let others = run.faults.iter().filter(|it| !it.contains(" 0 errors"));
    assert_eq!(others.count(), 0, "{:?}", run.faults);
    assert!(run.without.hls.is_none());
    let hls = run.with.hls.as_ref().unwrap();
    assert_eq!((hls.pollers, hls.errors), (21, 0));
    // Each has three parts a second where the machine has time, and a playlist with each.
    assert!(hls.parts_per_second > 21.0, "{hls:?}");
    assert!(
        hls.requests_per_second > 1.9 * hls.parts_per_second,
        "{hls:?}"
    );
    let (with, without) = (run.with.delay_ms.unwrap(), run.without.delay_ms.unwrap());
    assert!(with.count > 2 * 60 && without.count > 2 * 60, "{run:?}");
    assert_eq!(run.p99_ratio, Some(with.p99 / without.p99));
    assert!(!report.holds(0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_poller_is_a_viewer_to_the_server_and_a_broadcast_that_ends_is_no_error() {
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let clip = TestClip::load(TestClipFormat::small()).unwrap();
    let options = PublisherOptions::new(harness.signalling(), "show");
    let publisher = Publisher::start(clip, options);
    publisher.published(TIME_LIMIT).await.unwrap();
    let mut pollers = Pollers::start(1).unwrap();
    let master = format!("/{APPLICATION}/streams/show_adaptive.m3u8");
    pollers.add(harness.http(), &master, 4);
    pollers.playing(TIME_LIMIT).await.unwrap();
    let broadcast = harness.broadcast("show").await.unwrap();
    assert_eq!(broadcast["hlsViewerCount"], 4, "{broadcast}");
    publisher.stop().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(pollers.errors(), [""; 0]);
    let before = pollers.totals();
    assert!(before.parts >= 4 && before.bytes > 4_000, "{before:?}");

    // Nobody publishes it.
    let mut pollers = Pollers::start(1).unwrap();
    let nothing = format!("/{APPLICATION}/streams/nothing.m3u8");
    pollers.add(harness.http(), &nothing, 1);
    let error = pollers.playing(Duration::from_secs(1)).await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains("0 of 1 play"), "{said}");
    assert!(
        said.contains("404 to /StreamLick/streams/nothing.m3u8"),
        "{said}"
    );
}
