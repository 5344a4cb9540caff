//! A measurement that a signal ends stops what it has started: no server stays behind.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use shardcast_bench::harness::process_tree;

const TIME_LIMIT: Duration = Duration::from_secs(60);

fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < TIME_LIMIT, "{what}");
        sleep(Duration::from_millis(50));
    }
}

fn measure() -> Child {
    Command::new(env!("CARGO_BIN_EXE_shardcast-bench"))
        .args(["live", "--broadcasts", "1", "--seconds", "600"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn pid(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap()
}

/// Control and the engine.
fn servers(bench: i32) -> Option<Vec<i32>> {
    let tree = process_tree(bench);
    let engine = tree.iter().any(|pid| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        // The kernel keeps fifteen characters.
        name.is_ok_and(|name| name.trim() == "shardcast-engin")
    });
    engine.then(|| tree.into_iter().skip(1).collect())
}

#[test]
fn whichever_signal_ends_a_measurement_its_servers_end_too() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut bench = measure();
        let servers = wait("no engine was started", || servers(pid(&bench)));
        kill_process(Pid::from_raw(pid(&bench)).unwrap(), signal).unwrap();
        let status = wait("the command goes on", || bench.try_wait().unwrap());
        assert_eq!(status.code(), Some(1), "{signal:?}");
        for server in servers {
            wait(&format!("{signal:?} leaves process {server}"), || {
                (!Path::new(&format!("/proc/{server}")).exists()).then_some(())
            });
        }
    }
}
