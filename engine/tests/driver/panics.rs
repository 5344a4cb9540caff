//! A panic in the machine is survived; a machine that keeps panicking ends its shard, and the
//! shard says so.

use std::{net::UdpSocket, time::Instant};

use shardcast_core::io::{Input, Output};
use shardcast_engine::Machine;
use shardcast_link::BroadcastId;

use crate::rig::{PATIENCE, start, system_roots};

/// Echoes, and panics on the word.
#[derive(Default)]
struct Fragile(Option<Output>);

impl Machine for Fragile {
    fn handle(&mut self, _: Instant, input: Input<'_>) {
        if let Input::Datagram { from, to, payload } = input {
            assert!(payload != b"panic", "as asked");
            self.0 = Some(Output::Datagram {
                from: to,
                to: from,
                payload: payload.to_vec(),
            });
        }
    }

    fn poll(&mut self) -> Option<Output> {
        self.0.take()
    }

    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    fn set_cpu_permille(&mut self, _: u32) {}

    fn control_connected(&mut self, _: Instant) {}

    fn broadcast_ids(&self) -> Vec<BroadcastId> {
        Vec::new()
    }
}

#[test]
fn a_panic_of_the_machine_is_survived_and_many_end_the_shard() {
    let (shards, address, _dir) = start("127.0.0.1:0", system_roots(), || {
        Box::new(Fragile::default())
    });
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 16];
    for _ in 0..3 {
        peer.send_to(b"panic", address).unwrap();
        peer.send_to(b"alive", address).unwrap();
        assert_eq!(peer.recv(&mut buffer).unwrap(), 5);
        assert_eq!(&buffer[..5], b"alive");
    }
    for _ in 0..20 {
        peer.send_to(b"panic", address).unwrap();
    }
    let end = shards.ended(PATIENCE).expect("the shard goes on panicking");
    assert!(end.result.unwrap_err().contains("panicked"));
}
