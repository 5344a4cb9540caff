//! A machine without free file descriptors: the connection that cannot be made says so, the shard
//! goes on, and the next one is made as soon as there are descriptors again.

use std::{env, fs::File, net::TcpListener, process::Command};

use shardcast_core::io::{ConnId, Output};

use crate::rig::{Rig, Seen};

/// Set in the process that runs out of descriptors; the limit is one of the whole process, so the
/// other tests cannot be in it.
const FEW_DESCRIPTORS: &str = "SHARDCAST_TEST_FEW_DESCRIPTORS";
const NAME: &str =
    "file_descriptors::a_connection_without_a_descriptor_is_given_up_and_the_shard_lives";

#[test]
fn a_connection_without_a_descriptor_is_given_up_and_the_shard_lives() {
    if env::var_os(FEW_DESCRIPTORS).is_some() {
        run_out_of_descriptors();
        return;
    }
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 256 && exec \"$0\" \"$@\""])
        .arg(env::current_exe().unwrap())
        .args([NAME, "--exact", "--nocapture"])
        .env(FEW_DESCRIPTORS, "1")
        .output()
        .unwrap();
    let output_text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && output_text.contains("1 passed"),
        "{output_text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn run_out_of_descriptors() {
    let rig = Rig::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let hoard: Vec<File> = (0..1_000)
        .map_while(|_| File::open("/dev/null").ok())
        .collect();
    assert!(hoard.len() < 256, "descriptors are not limited");

    rig.ask((1..=3).map(|id| Output::Connect {
        conn: ConnId::numbered(id),
        addr,
        tls: None,
    }));
    for id in 1..=3 {
        match rig.next() {
            Seen::Closed(conn, reason, _) => {
                assert_eq!(conn, ConnId::numbered(id));
                assert!(reason.contains("file descriptors"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
    drop(hoard);
    rig.connect(ConnId::numbered(4), addr);
}
