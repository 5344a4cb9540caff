//! Loads of the generator that go in by RTMP, beside those by WebRTC: frames are stamped and counted alike, so loss
//! and delay of both are measured at destinations and viewers, each way by itself.

use std::time::Duration;

use shardcast_bench::{
    live::{LiveOptions, ServerSetup, live},
    load::{Clips, Ingest, Mix, ShowKind},
    test_clip::TestClipFormat,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broadcasts_by_rtmp_and_by_webrtc_lose_nothing_and_are_measured_apart() {
    let setup = ServerSetup::default();
    let (harness, _pinned) = setup.start().await.unwrap();
    let kind = ShowKind {
        viewers: 1,
        ..ShowKind::new(2, TestClipFormat::small())
    };
    let options = LiveOptions {
        broadcasts: 3,
        mix: Mix::partly_by_rtmp(&kind, 3, 2).unwrap(),
        duration: Duration::from_secs(2),
    };
    let report = live(&harness, &setup.cores, &Clips::default(), &options)
        .await
        .unwrap();
    assert_eq!((report.frames_lost, &report.faults), (0, &Vec::new()));
    // Three seconds before the measurement, and two of it.
    assert!(report.frames_sent > 3 * 5 * 25, "{report:?}");
    let [webrtc, rtmp] = report.delay_by_ingest.as_slice() else {
        panic!("two ways: {report:?}");
    };
    assert_eq!((webrtc.ingest, webrtc.broadcasts), (Ingest::WebRtc, 1));
    assert_eq!((rtmp.ingest, rtmp.broadcasts), (Ingest::Rtmp, 2));
    // At two destinations each.
    let (webrtc, rtmp) = (webrtc.delay_ms.unwrap(), rtmp.delay_ms.unwrap());
    assert!(webrtc.count > 2 * 40 && rtmp.count > 4 * 40, "{report:?}");
    assert_eq!(report.delay_ms.unwrap().count, webrtc.count + rtmp.count);
    let sync = report.sync_ms.unwrap();
    assert!(sync.min > -60.0 && sync.max < 60.0, "{sync:?}");
}
