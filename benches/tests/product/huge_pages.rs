//! Neither control nor the engine has transparent huge pages, with which memory grows by itself.

use std::fs;

use shardcast_bench::harness::{Harness, HarnessOptions};

fn may_have_huge_pages(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("THP_enabled:"));
    line.expect("the line of proc(5)").trim() == "1"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_processes_have_small_pages_only() {
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    assert!(!may_have_huge_pages(harness.control_pid()));
    assert!(!may_have_huge_pages(harness.engine_pid()));
}
