//! Viewers by WHEP and by the SDK's `play` see a broadcast from a keyframe on and without a gap, one on a
//! bad network harms nobody, and the destination does not notice them.

use std::time::Duration;

use shardcast_bench::{
    harness::{APPLICATION, Harness, HarnessOptions},
    publisher::{Publisher, PublisherOptions},
    sink::{ConnectionReport, Sink},
    test_clip::{TestClip, TestClipFormat},
    viewer::{ImpairmentOptions, Viewer, ViewerOptions},
};

const TIME_LIMIT: Duration = Duration::from_secs(30);
const ID: &str = "show";

#[tokio::test]
async fn viewers_of_both_kinds_see_everything_and_cost_the_destination_nothing() {
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let sink = Sink::start().unwrap();
    harness.create(ID).await.unwrap();
    harness.add(ID, &sink.url(ID)).await.unwrap();
    let clip = TestClip::load(TestClipFormat {
        width: 320,
        height: 180,
        video_kbps: 400,
        ..TestClipFormat::default()
    })
    .unwrap();
    let publisher = Publisher::start(clip, PublisherOptions::new(harness.signalling(), ID));
    sink.frames(ID, 1, TIME_LIMIT).await.unwrap();

    let whep = format!("http://{}/{APPLICATION}/whep/{ID}", harness.http());
    let sdk = harness.signalling();
    let good = [&whep, &sdk, &whep, &sdk].map(|url| Viewer::start(ViewerOptions::new(url, ID)));
    let bad = Viewer::start(ViewerOptions {
        impairment: ImpairmentOptions {
            loss_percent: 5.0,
            burst: 3.0,
            delay: Duration::from_millis(40),
            ..ImpairmentOptions::default()
        },
        ..ViewerOptions::new(&whep, ID)
    });
    for viewer in good.iter().chain([&bad]) {
        let seen = |report: &shardcast_bench::viewer::ViewerReport| report.frames >= 150;
        viewer.wait("150 frames", TIME_LIMIT, seen).await.unwrap();
    }
    let bad = bad.stop().await;
    for viewer in good {
        let report = viewer.stop().await;
        assert_eq!(report.begins_with_keyframe, Some(true), "{report:?}");
        assert_eq!(
            (report.packets_lost, report.frames_damaged),
            (0, 0),
            "{report:?}"
        );
        assert_eq!(
            (report.frames_missing, report.attempts),
            (0, 1),
            "{report:?}"
        );
        assert!(report.audio_packets > 100, "{report:?}");
        assert!(report.errors.is_empty(), "{report:?}");
    }
    // What its network dropped was sent again, or a keyframe was.
    assert!(bad.packets_dropped_by_network > 0, "{bad:?}");
    assert_eq!(bad.begins_with_keyframe, Some(true), "{bad:?}");

    publisher.stop().await;
    let ended = |stream: &ConnectionReport| stream.ended.is_some();
    let stream = sink.wait(ID, "end", TIME_LIMIT, ended).await.unwrap();
    assert_eq!(stream.frames_missing, 0, "{stream:?}");
    assert_eq!(stream.faults(), [""; 0]);
}
