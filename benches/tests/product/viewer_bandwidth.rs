//! The bandwidth of a viewer chooses its rung, in the whole product: it is sent the rung while its network is slow,
//! and the publisher's video before and after; it is told so by `resolutionChangeInfo` and `bitrateMeasurement`.
//! One that loses packets as radio does stays, and others notice nothing.

use std::time::{Duration, Instant};

use shardcast_bench::{
    harness::{Harness, HarnessOptions},
    publisher::{Publisher, PublisherOptions},
    test_clip::{TestClip, TestClipFormat},
    viewer::{ImpairmentOptions, Viewer, ViewerOptions, ViewerReport},
};
use shardcast_link::RenditionSpec;
use tokio::time::sleep;

const ID: &str = "show";
/// A busy machine included; without it these take 4 and 20 s at most.
const TIME_LIMIT: Duration = Duration::from_secs(40);
const FAST_BPS: u64 = 4_000_000;
const SLOW_BPS: u64 = 1_000_000;

fn heights(report: &ViewerReport) -> Vec<u32> {
    report.heights.iter().map(|it| it.height).collect()
}

fn publisher(harness: &Harness) -> Publisher {
    let clip = TestClip::load(TestClipFormat {
        width: 640,
        height: 360,
        video_kbps: 2_500,
        ..TestClipFormat::default()
    });
    let options = PublisherOptions::new(harness.signalling(), ID);
    Publisher::start(clip.unwrap(), options)
}

fn viewer(harness: &Harness, impairment: ImpairmentOptions) -> Viewer {
    Viewer::start(ViewerOptions {
        impairment,
        ..ViewerOptions::new(harness.signalling(), ID)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_is_sent_what_its_network_carries() {
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let rung = RenditionSpec::of_height(180);
    harness.create_with(ID, &[rung]).await.unwrap();
    let publisher = publisher(&harness);
    publisher.published(TIME_LIMIT).await.unwrap();
    let viewer = |impairment| viewer(&harness, impairment);
    let slow = viewer(ImpairmentOptions {
        rate_bps: Some(FAST_BPS),
        delay: Duration::from_millis(20),
        ..ImpairmentOptions::default()
    });
    let radio = viewer(ImpairmentOptions {
        loss_percent: 5.0,
        burst: 3.0,
        delay: Duration::from_millis(80),
        seed: 3,
        ..ImpairmentOptions::default()
    });
    let good = viewer(ImpairmentOptions::default());
    for viewer in [&slow, &radio, &good] {
        let seen = |report: &ViewerReport| report.frames >= 150;
        viewer.wait("150 frames", TIME_LIMIT, seen).await.unwrap();
    }
    slow.set_rate(Some(SLOW_BPS));
    let fell = Instant::now();
    let is_low = |report: &ViewerReport| heights(report).last() == Some(&180);
    slow.wait("the rung", TIME_LIMIT, is_low).await.unwrap();
    let down = fell.elapsed();
    let is_told = |report: &ViewerReport| report.target_bps.is_some_and(|bps| bps < FAST_BPS / 2);
    slow.wait("its target", TIME_LIMIT, is_told).await.unwrap();
    sleep(Duration::from_secs(12)).await;
    slow.set_rate(Some(FAST_BPS));
    let returned = Instant::now();
    let is_back = |report: &ViewerReport| heights(report).last() == Some(&360);
    slow.wait("the source", TIME_LIMIT, is_back).await.unwrap();
    println!("down after {down:?}, back after {:?}", returned.elapsed());
    sleep(Duration::from_secs(5)).await;
    let slow = slow.stop().await;
    println!("{slow:?}");
    assert_eq!(slow.attempts, 1, "{slow:?}");
    // How often the video changes is proved in simulated time: a busy machine is a queue too.
    let radio = radio.stop().await;
    println!("{radio:?}");
    assert_eq!(radio.attempts, 1, "{radio:?}");
    let good = good.stop().await;
    println!("{good:?}");
    assert_eq!(
        (good.packets_lost, good.frames_damaged, good.attempts),
        (0, 0, 1),
        "{good:?}"
    );
    publisher.stop().await;
}
