//! Datagrams reach the machine one by one, whatever the kernel joined, and the machine's datagrams
//! reach the peers one by one, whatever the driver joined.

use std::{collections::VecDeque, net::UdpSocket, time::Instant};

use shardcast_core::io::{Input, Output};
use shardcast_engine::Machine;
use shardcast_link::BroadcastId;

use crate::rig::{PATIENCE, start, system_roots};

/// Sends each datagram back from the address that it came to.
#[derive(Default)]
struct Echo(VecDeque<Output>);

impl Machine for Echo {
    fn handle(&mut self, _: Instant, input: Input<'_>) {
        if let Input::Datagram { from, to, payload } = input {
            self.0.push_back(Output::Datagram {
                from: to,
                to: from,
                payload: payload.to_vec(),
            });
        }
    }

    fn poll(&mut self) -> Option<Output> {
        self.0.pop_front()
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

fn peer() -> UdpSocket {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer
}

/// Sizes as a packetiser makes them: runs of equal ones with shorter and longer ones between.
fn sizes(seed: usize) -> impl Iterator<Item = usize> {
    (0..48).map(move |n| match (n + seed) % 12 {
        0 => 1,
        5 => 317 + n,
        11 => 1_400,
        _ => 1_200,
    })
}

fn payload(round: usize, n: usize, size: usize) -> Vec<u8> {
    (0..size)
        .map(|at| (round * 31 + n * 7 + at) as u8)
        .collect()
}

fn echoes(bind: &str) {
    let (_shards, address, _dir) = start(bind, system_roots(), || Box::new(Echo::default()));
    let peers = [peer(), peer(), peer()];
    for round in 0..40 {
        for (n, size) in sizes(round).enumerate() {
            for peer in &peers {
                peer.send_to(&payload(round, n, size), address).unwrap();
            }
        }
        for peer in &peers {
            let mut buffer = [0; 2_048];
            for (n, size) in sizes(round).enumerate() {
                let (length, from) = peer.recv_from(&mut buffer).unwrap();
                assert_eq!(from, address);
                assert!(
                    buffer[..length] == payload(round, n, size),
                    "round {round}, {n}"
                );
            }
        }
    }
}

#[test]
fn every_datagram_comes_back_whole_and_in_order_to_each_peer() {
    echoes("127.0.0.1:0");
}

#[test]
fn a_socket_for_all_addresses_does_the_same() {
    echoes("0.0.0.0:0");
    echoes("[::]:0");
}

#[test]
fn an_answer_leaves_from_the_address_that_was_asked() {
    for bind in ["0.0.0.0:0", "[::]:0"] {
        let (_shards, address, _dir) = start(bind, system_roots(), || Box::new(Echo::default()));
        let peer = peer();
        let mut buffer = [0; 16];
        for last in [1, 2] {
            let asked = ([127, 0, 0, last], address.port()).into();
            peer.send_to(b"who are you", asked).unwrap();
            assert_eq!(peer.recv_from(&mut buffer).unwrap().1, asked, "{bind}");
        }
    }
}
