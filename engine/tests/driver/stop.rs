//! A stop ends every broadcast by command, lets its connections finish, and never takes long.

use std::{
    io::Read,
    net::TcpListener,
    time::{Duration, Instant},
};

use bytes::Bytes;
use shardcast_core::io::{Close, ConnId, Output};
use shardcast_link::{BroadcastId, Command};

use crate::rig::{PATIENCE, Rig, Seen};

#[test]
fn every_broadcast_is_forgotten_and_what_was_written_still_arrives() {
    let ids = ["one", "two"].map(|stream| BroadcastId::new("app", stream).unwrap());
    let rig = Rig::holding(ids.to_vec());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let conn = ConnId::numbered(1);
    rig.connect(conn, listener.local_addr().unwrap());
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();

    rig.ask([
        Output::Write {
            conn,
            slices: vec![Bytes::from(vec![1; 1 << 20])],
        },
        Output::Close {
            conn,
            how: Close::Flush,
        },
    ]);
    rig.stop();
    let mut read = Vec::new();
    stream.read_to_end(&mut read).unwrap();
    assert_eq!(read.len(), 1 << 20);
    drop(stream);
    let seen: Vec<_> = std::iter::from_fn(|| rig.next_within(Duration::from_millis(300)))
        .filter(|seen| !matches!(seen, Seen::Accepted(..)))
        .collect();
    let expected = ids.map(|broadcast| Seen::Command(Command::Forget { broadcast }));
    assert_eq!(seen, expected);
    assert!(rig.ended().result.is_ok());
}

#[test]
fn a_connection_that_does_not_end_holds_the_stop_up_for_a_bounded_time() {
    let rig = Rig::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rig.connect(ConnId::numbered(1), listener.local_addr().unwrap());
    let start = Instant::now();
    rig.stop();
    assert!(rig.ended().result.is_ok());
    assert!(
        start.elapsed() >= Duration::from_secs(1),
        "connections were not waited for"
    );
}
