//! A soak of seconds: everything comes and goes, nothing is lost, and the processes are back at their base.

use std::time::Duration;

use shardcast_bench::{
    harness::{Harness, HarnessOptions},
    load::{Mix, ShowKind},
    soak::{SoakOptions, page, soak},
    test_clip::TestClipFormat,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_and_destinations_come_and_go_and_leave_nothing() {
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let options = SoakOptions {
        broadcasts: 2,
        mix: Mix::of(ShowKind::new(1, TestClipFormat::small())),
        publishers: 1,
        show: Duration::from_secs(1),
        destinations: 2,
        stay: Duration::from_secs(1),
        first_round: Duration::from_secs(2),
        stall: Duration::from_millis(500),
        warm_up: Duration::from_secs(1),
        duration: Duration::from_secs(3),
        rest: Duration::from_secs(4),
        sample_interval: Duration::from_millis(500),
        mb_per_hour: 6.0,
        mb_left: 30.0,
    };
    let report = soak(&harness, &options, |_| {}).await.unwrap();
    assert_eq!(report.faults, [""; 0]);
    assert_eq!(report.shortfalls, [""; 0], "{report:?}");
    assert!(
        report.shows > 0 && report.healthy_destinations > 0,
        "{report:?}"
    );
    assert!(
        report.failing_destinations > 0 && report.frames_sent > 100,
        "{report:?}"
    );
    let most = report.samples.iter().map(|sample| sample.broadcasts).max();
    assert!(
        most.unwrap() >= 3,
        "two lasting broadcasts and one that comes and goes"
    );
    assert_eq!(report.engine_mb_per_hour, None, "seconds have no slope");

    let page = page(&report, &options);
    assert!(page.lead[0].starts_with("Passed"), "{:?}", page.lead);
    assert_eq!(page.data.rows.len(), report.samples.len());
}
