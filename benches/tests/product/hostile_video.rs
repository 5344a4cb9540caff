//! Corrupted video of all codecs does no harm: the engine survives, an intact broadcast loses no frame,
//! and the memory is released.

use std::time::Duration;

use shardcast_bench::{
    harness::{Harness, HarnessOptions},
    hostile::{HostileOptions, hostile},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn corrupted_video_of_all_codecs_does_no_harm() {
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let options = HostileOptions {
        duration: Duration::from_secs(8),
        seed: 4,
    };
    let report = hostile(&harness, &options).await.unwrap();
    assert!(report.is_unharmed(), "{report:#?}\n{}", harness.log());
    for publisher in &report.publishers {
        assert!(
            publisher.frames_decoded > 0 && publisher.frames_received > 0,
            "decoders were never reached: {publisher:?}"
        );
        assert_eq!(publisher.sizes, [(320, 180)], "{publisher:?}");
        assert_eq!(publisher.header_changes, 0, "{publisher:?}");
    }
    let errors: u64 = report.publishers.iter().map(|p| p.decoder_errors).sum();
    assert!(errors > 0, "no frame was corrupted: {report:#?}");
}
