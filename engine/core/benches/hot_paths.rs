//! The machines on the way of a datagram, one by one: demux, timeline, ring and fan-out, timers, chunking
//! of an RTMP message, and the codec of the link to control. Each prints what it allocates as well.
#![allow(
    clippy::expect_used,
    missing_docs,
    unreachable_pub,
    reason = "a bench stops at the first surprise"
)]

mod allocations;

use std::{hint::black_box, time::Duration};

use allocations::report;
use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shardcast_core::{
    h264::VideoUnit,
    hot_paths::{DemuxPath, RingPath, TimelinePath, TimersPath},
    rtmp::{
        body::{MessageHeader, gather},
        message::{csid, type_id},
    },
};
use shardcast_link::{BroadcastId, BroadcastStatus, Event, ShardStatus, frame};
use shardcast_sim::{
    peers::{
        FaultMode, World,
        client::{Client, Sends},
    },
    picture::{PPS, SPS_720P},
};

/// An access unit of 2.5 Mbit/s at 30 frames a second.
const UNIT_BYTES: usize = 10_000;
const CHUNK_BYTES: usize = 60_000;
/// Broadcasts in a report of a shard.
const REPORTED: usize = 100;

fn packets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("each datagram");
    let mut demux = DemuxPath::new(1_000);
    report("demux among 1,000 sessions", || {
        black_box(demux.step());
    });
    group.bench_function("demux among 1,000 sessions", |bencher| {
        bencher.iter(|| demux.step());
    });
    let mut timeline = TimelinePath::new();
    report("timeline, an audio packet and a frame", || {
        black_box(timeline.step());
    });
    group.bench_function("timeline, an audio packet and a frame", |bencher| {
        bencher.iter(|| timeline.step());
    });
    let mut timers = TimersPath::new(3_000);
    report("timers, one of 3,000 moves", || {
        black_box(timers.step());
    });
    group.bench_function("timers, one of 3,000 moves", |bencher| {
        bencher.iter(|| timers.step());
    });
    group.finish();
}

fn units(criterion: &mut Criterion) {
    let mut unit = vec![0, 0, 0, 1, 0x41, 0x9a];
    unit.extend((0..UNIT_BYTES).map(|n| (n * 31 % 251) as u8 | 1));
    let mut group = criterion.benchmark_group("each access unit, 10 kB");
    report("annex B to AVCC", || {
        black_box(VideoUnit::from_annex_b(&unit).expect("a unit"));
    });
    group.bench_function("annex B to AVCC", |bencher| {
        bencher.iter(|| VideoUnit::from_annex_b(black_box(&unit)).expect("a unit"));
    });
    let body = VideoUnit::from_annex_b(&unit).expect("a unit").avcc;
    let header = |timestamp_ms| MessageHeader {
        csid: csid::VIDEO,
        timestamp_ms,
        type_id: type_id::VIDEO,
        stream_id: 1,
    };
    let mut timestamp = 0;
    let mut chunk = || {
        timestamp += 33;
        black_box(gather(header(timestamp), &body, CHUNK_BYTES));
    };
    report("chunking, payload shared", &mut chunk);
    group.bench_function("chunking, payload shared", |bencher| {
        bencher.iter(&mut chunk);
    });
    let (sps, pps) = (Bytes::from_static(SPS_720P), Bytes::from_static(PPS));
    for consumers in [1, 10, 100] {
        let mut ring = RingPath::new(&sps, &pps, body.clone()).expect("parameter sets");
        let name = format!("ring push, {consumers} consumers");
        group.throughput(Throughput::Elements(consumers as u64));
        report(&name, || {
            black_box(ring.step(consumers));
        });
        group.bench_function(name, |bencher| bencher.iter(|| ring.step(consumers)));
    }
    group.finish();
}

fn link(criterion: &mut Criterion) {
    let broadcasts = (0..REPORTED)
        .map(|n| BroadcastStatus::new(BroadcastId::new("app", &n.to_string()).expect("an id")))
        .collect();
    let status = Event::Status(ShardStatus {
        broadcasts,
        ..ShardStatus::default()
    });
    let mut encoded = BytesMut::new();
    frame::encode(&status, &mut encoded).expect("a frame");
    let mut group = criterion.benchmark_group("link, a report of 100 broadcasts");
    group.throughput(Throughput::Bytes(encoded.len() as u64));
    let mut out = BytesMut::new();
    let mut encode = || {
        out.clear();
        frame::encode(&status, &mut out).expect("a frame");
    };
    report("link, encode", &mut encode);
    group.bench_function("encode", |bencher| bencher.iter(&mut encode));
    let decode = || {
        let mut buffer = encoded.clone();
        black_box(frame::decode::<Event>(&mut buffer).expect("a frame"));
    };
    report("link, decode", decode);
    group.bench_function("decode", |bencher| bencher.iter(decode));
    group.finish();
}

/// A whole shard with a WebRTC session: SRTP, depacketising, ring, one destination. The figures include
/// the publisher and the server around it, which the simulation runs too.
fn show(criterion: &mut Criterion) {
    let mut world = World::new();
    world.want(&[("one", FaultMode::Well)]);
    let client = Client::new(world.now, 4_000, Sends::default());
    world.publish("first", client);
    world.run_ms(5_000);
    let mut group = criterion.benchmark_group("a show over WebRTC, its peers included");
    group
        .measurement_time(Duration::from_secs(3))
        .sample_size(20);
    group.bench_function("100 ms", |bencher| bencher.iter(|| world.run_ms(100)));
    group.finish();
}

criterion_group!(benches, packets, units, link, show);
criterion_main!(benches);
