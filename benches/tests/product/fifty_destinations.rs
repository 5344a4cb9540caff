//! One broadcast to fifty destinations, five of them with different faults: the other forty-five lose
//! no frame.

use std::time::Duration;

use shardcast_bench::{
    fan_out::{FanOutOptions, fan_out},
    harness::{Harness, HarnessOptions},
    test_clip::{TestClip, TestClipFormat},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_faulty_ones_cost_the_forty_five_others_nothing() {
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let clip = TestClip::load(TestClipFormat::small()).unwrap();
    let options = FanOutOptions {
        sizes: vec![50],
        faulty: 5,
        duration: Duration::from_secs(8),
    };
    let report = fan_out(&harness, &clip, &options).await.unwrap();
    assert_eq!(report.faults, [""; 0]);
    assert_eq!(report.frames_lost, 0);
    assert_eq!(report.faulty.len(), 5);
    for faulty in &report.faulty {
        assert!(!faulty.problem.is_empty(), "{faulty:?}");
        assert_eq!(faulty.at_once_max, 1, "{faulty:?}");
    }
}
