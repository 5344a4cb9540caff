//! A shard that does not come back from its machine is noticed: it counts as dead, so that the
//! engine ends and is started again.

use std::{
    net::UdpSocket,
    thread,
    time::{Duration, Instant},
};

use shardcast_core::io::{Input, Output};
use shardcast_engine::Machine;
use shardcast_link::BroadcastId;

use crate::rig::{PATIENCE, start, system_roots};

/// One word keeps it for ever.
struct Hanging;

impl Machine for Hanging {
    fn handle(&mut self, _: Instant, input: Input<'_>) {
        if let Input::Datagram {
            payload: b"hang", ..
        } = input
        {
            thread::sleep(Duration::from_secs(3_600));
        }
    }

    fn poll(&mut self) -> Option<Output> {
        None
    }

    fn next_timeout(&self) -> Option<Instant> {
        Some(Instant::now() + Duration::from_millis(100))
    }

    fn set_cpu_permille(&mut self, _: u32) {}

    fn control_connected(&mut self, _: Instant) {}

    fn broadcast_ids(&self) -> Vec<BroadcastId> {
        Vec::new()
    }
}

#[test]
fn a_shard_that_hangs_is_reported_as_dead() {
    let (shards, address, _dir) = start("127.0.0.1:0", system_roots(), || Box::new(Hanging));
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.send_to(b"work", address).unwrap();
    assert!(shards.ended(Duration::from_millis(500)).is_none());
    peer.send_to(b"hang", address).unwrap();
    let end = shards.ended(PATIENCE).expect("nobody noticed");
    assert!(end.result.unwrap_err().contains("has not run for"));
}
