//! Neither control nor the engine has transparent huge pages, with which memory grows by itself.

use std::fs;

use shardcast_bench::harness::{Harness, HarnessOptions};

/// By `THP_enabled` of proc(5).
fn has_small_pages_only(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().any(|line| line == "THP_enabled:\t0")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_processes_have_small_pages_only() {
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    assert!(has_small_pages_only(harness.control_pid()));
    assert!(has_small_pages_only(harness.engine_pid()));
}
