//! What one access unit costs a shard whose broadcast goes to 10, 50, 200 and 1,000 destinations: from the
//! publisher's session to the gathering writes, and back with what the kernel has taken. The cost for
//! each destination is to stay flat.
#![allow(
    clippy::expect_used,
    missing_docs,
    unreachable_pub,
    reason = "a bench stops at the first surprise"
)]

mod allocations;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shardcast_core::{
    AddressRules, Shard, ShardConfig,
    io::{ConnId, Input, Output, TcpEvent, TcpInfo},
    rtmp::{ServerConfig, ServerOutput, ServerSession},
    simulation_hook::SimulatedPublisher,
};
use shardcast_link::{
    BroadcastId, Command, DestinationId, VideoCodec, WantedBroadcast, WantedDestination,
};
use shardcast_sim::picture::{PPS, SPS_720P};

/// An access unit of 2.5 Mbit/s at 30 frames a second.
const UNIT_BYTES: usize = 10_000;
const FRAME: Duration = Duration::from_micros(33_333);
/// One keyframe every two seconds.
const GOP_FRAMES: u64 = 60;

/// A shard, its publisher, and kernels that take at once what they are given.
struct Rig {
    shard: Shard,
    start: Instant,
    now: Instant,
    frames: u64,
    acked: HashMap<ConnId, u64>,
    keyframe: Arc<[u8]>,
    frame: Arc<[u8]>,
}

fn access_unit(key: bool) -> Arc<[u8]> {
    let mut unit = Vec::new();
    if key {
        for set in [SPS_720P, PPS] {
            unit.extend([0, 0, 0, 1]);
            unit.extend(set);
        }
    }
    unit.extend([0, 0, 0, 1, if key { 0x65 } else { 0x41 }, 0x9a]);
    unit.extend((0..UNIT_BYTES).map(|n| (n * 31 % 251) as u8 | 1));
    unit.into()
}

impl Rig {
    /// A broadcast that is live at so many destinations.
    fn new(destinations: usize) -> Self {
        let start = Instant::now();
        let shard = Shard::new(ShardConfig {
            shard: 0,
            shards: 1,
            engine: "bench".to_owned(),
            advertise: Vec::new(),
            tcp_candidates: false,
            seed: 1,
            epoch: start,
            epoch_unix_ms: 0,
            capacity: 100,
            address_rules: AddressRules::default(),
            codec_capacity_permille: 0,
            codecs_beside: false,
        });
        let mut rig = Self {
            shard,
            start,
            now: start,
            frames: 0,
            acked: HashMap::new(),
            keyframe: access_unit(true),
            frame: access_unit(false),
        };
        let id = BroadcastId::new("app", "stream").expect("an id");
        let mut broadcast = WantedBroadcast::new(id);
        broadcast.destinations = (0..destinations)
            .map(|n| {
                let url = format!("rtmp://192.0.2.1/app/key{n}");
                WantedDestination::new(DestinationId(n.to_string()), url)
            })
            .collect();
        let want = Command::Want { broadcast };
        rig.shard.handle(rig.now, Input::Command(want));
        let mut publisher = SimulatedPublisher::of(&mut rig.shard).expect("a broadcast");
        publisher.publish(rig.now, true);
        rig.connect();
        for _ in 0..2 * GOP_FRAMES {
            rig.send_frame();
        }
        assert_eq!(rig.acked.len(), destinations);
        rig
    }

    /// Answers for names and servers until every destination publishes.
    fn connect(&mut self) {
        let mut servers: HashMap<ConnId, ServerSession> = HashMap::new();
        while let Some(output) = self.shard.poll() {
            match output {
                Output::Resolve { lookup, port, .. } => {
                    let result = Ok(vec![([192, 0, 2, 1], port).into()]);
                    let resolved = Input::Resolved { lookup, result };
                    self.shard.handle(self.now, resolved);
                }
                Output::Connect { conn, .. } => {
                    servers.insert(conn, ServerSession::new(ServerConfig::default()));
                    self.acked.insert(conn, 0);
                    self.tcp(conn, TcpEvent::Connected);
                }
                Output::Write { conn, slices } => {
                    let server = servers.get_mut(&conn).expect("a server");
                    for slice in &slices {
                        server.handle(slice).expect("RTMP");
                    }
                    while let Some(output) = server.poll() {
                        match output {
                            ServerOutput::Send(bytes) => {
                                let event = TcpEvent::Received(&bytes);
                                self.shard.handle(self.now, Input::Tcp { conn, event });
                            }
                            ServerOutput::Publish { .. } => server.accept_publish(),
                            _ => {}
                        }
                    }
                    self.accepted(conn, &slices);
                }
                Output::Inspect { conn } => self.inspected(conn),
                _ => {}
            }
        }
    }

    /// One access unit, and everything that comes of it.
    fn send_frame(&mut self) {
        self.now += FRAME;
        let unit = if self.frames.is_multiple_of(GOP_FRAMES) {
            &self.keyframe
        } else {
            &self.frame
        };
        let pts_us = (self.now - self.start).as_micros() as i64;
        let mut publisher = SimulatedPublisher::of(&mut self.shard).expect("a broadcast");
        publisher
            .video(self.now, pts_us, VideoCodec::H264, unit, true)
            .expect("it is taken");
        self.frames += 1;
        if self.shard.next_timeout().is_some_and(|at| at <= self.now) {
            self.shard.handle(self.now, Input::Timeout);
        }
        while let Some(output) = self.shard.poll() {
            match output {
                Output::Write { conn, slices } => self.accepted(conn, &slices),
                Output::Inspect { conn } => self.inspected(conn),
                _ => {}
            }
        }
    }

    fn accepted(&mut self, conn: ConnId, slices: &[Bytes]) {
        let bytes = slices.iter().map(Bytes::len).sum();
        *self.acked.entry(conn).or_default() += bytes as u64;
        self.tcp(conn, TcpEvent::Accepted { bytes });
    }

    fn inspected(&mut self, conn: ConnId) {
        let acked_bytes = self.acked.get(&conn).copied().unwrap_or_default();
        let info = TcpInfo {
            acked_bytes,
            ..TcpInfo::default()
        };
        self.tcp(conn, TcpEvent::Info(info));
    }

    fn tcp(&mut self, conn: ConnId, event: TcpEvent<'_>) {
        self.shard.handle(self.now, Input::Tcp { conn, event });
    }
}

fn fan_out(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("access unit to destinations, 10 kB");
    for destinations in [10, 50, 200, 1_000] {
        let mut rig = Rig::new(destinations);
        let name = format!("access unit to {destinations} destinations");
        allocations::report(&name, || rig.send_frame());
        group.throughput(Throughput::Elements(destinations as u64));
        group.bench_function(format!("{destinations} destinations"), |bencher| {
            bencher.iter(|| rig.send_frame());
        });
    }
    group.finish();
}

criterion_group!(benches, fan_out);
criterion_main!(benches);
