//! Connections to a port of a shard reach the machine with the addresses of both ends, IPv4 in its own form also on
//! a port of IPv6; one that the machine does not take is closed.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
    time::Instant,
};

use bytes::Bytes;
use shardcast_core::io::{ConnId, Incoming, Input, Output, TcpEvent};
use shardcast_engine::{
    AacCoder, BoundUdp, CodecPlan, FragmentQueue, Listener, Machine, ShardPlan, Shards, SocketLot,
    UdpOptions,
};
use shardcast_link::BroadcastId;

use crate::rig::{PATIENCE, system_roots};

/// Takes every second connection, and sends back what it receives.
struct Echo {
    incoming: Sender<Incoming>,
    count: u64,
    outputs: Vec<Output>,
}

impl Machine for Echo {
    fn handle(&mut self, _: Instant, input: Input<'_>) {
        if let Input::Tcp {
            conn,
            event: TcpEvent::Received(bytes),
        } = input
        {
            let slices = vec![Bytes::copy_from_slice(bytes)];
            self.outputs.push(Output::Write { conn, slices });
        }
    }

    fn poll(&mut self) -> Option<Output> {
        self.outputs.pop()
    }

    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    fn set_cpu_permille(&mut self, _: u32) {}

    fn control_connected(&mut self, _: Instant) {}

    fn accept(&mut self, _: Instant, incoming: Incoming) -> Option<ConnId> {
        self.incoming.send(incoming).unwrap();
        self.count += 1;
        (self.count % 2 == 1).then(|| ConnId::numbered(self.count))
    }

    fn broadcast_ids(&self) -> Vec<BroadcastId> {
        Vec::new()
    }
}

fn start() -> (Shards, u16, Receiver<Incoming>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let (sender, incoming) = channel();
    let udp = BoundUdp::bind(&UdpOptions {
        address: "127.0.0.1:0".parse().unwrap(),
        interfaces: Vec::new(),
    });
    let listener = Listener::bind("[::]:0".parse().unwrap()).unwrap();
    let port = listener.port;
    let plan = ShardPlan {
        aac_coder: AacCoder::default(),
        shard: 0,
        core: None,
        udp: udp.unwrap(),
        tcp: Some(listener),
        sockets: SocketLot::default(),
        fragments: FragmentQueue::unread(),
        link_socket: dir.path().join("shard-0.sock"),
        roots: system_roots(),
        codecs: CodecPlan::off("switched off in this test"),
        machine: Box::new(move || {
            Box::new(Echo {
                incoming: sender,
                count: 0,
                outputs: Vec::new(),
            })
        }),
    };
    (Shards::start(vec![plan]).unwrap(), port, incoming, dir)
}

#[test]
fn a_connection_over_either_family_is_handed_over_with_its_addresses() {
    let (_shards, port, incoming, _dir) = start();
    let over_v4 = SocketAddr::from(([127, 0, 0, 1], port));
    let over_v6 = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port));
    // A machine may be without IPv6.
    let families = [Some(over_v4), Some(over_v6)].map(|address| address.filter(is_ours));
    for address in families.into_iter().flatten() {
        let mut taken = TcpStream::connect(address).unwrap();
        let seen = incoming.recv_timeout(PATIENCE).unwrap();
        assert_eq!(seen.to, address);
        assert_eq!(seen.from, taken.local_addr().unwrap());
        taken.set_read_timeout(Some(PATIENCE)).unwrap();
        taken.write_all(b"hello").unwrap();
        let mut echo = [0; 5];
        taken.read_exact(&mut echo).unwrap();
        assert_eq!(&echo, b"hello");

        let mut refused = TcpStream::connect(address).unwrap();
        incoming.recv_timeout(PATIENCE).unwrap();
        refused.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(matches!(refused.read(&mut echo), Ok(0) | Err(_)));
        // The one before is still there.
        taken.write_all(b"again").unwrap();
        taken.read_exact(&mut echo).unwrap();
        assert_eq!(&echo, b"again");
    }
}

fn is_ours(address: &SocketAddr) -> bool {
    std::net::UdpSocket::bind(SocketAddr::new(address.ip(), 0)).is_ok()
}
