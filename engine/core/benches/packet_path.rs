//! The way of an access unit through the core: Annex B to AVCC (the one copy), and the RTMP
//! message for each destination, beside the library that the hand-written path replaces. And what
//! holds a shard up longest of all: a large keyframe that is sent again under another number.
#![allow(
    clippy::expect_used,
    missing_docs,
    reason = "a bench stops at the first surprise"
)]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rml_rtmp::{chunk_io::ChunkSerializer, messages::RtmpMessage, time::RtmpTimestamp};
use shardcast_core::{
    h264::{ParameterSets, VideoUnit, renumber},
    rtmp::{
        body::{MessageHeader, gather},
        message::{csid, type_id},
    },
};
use shardcast_sim::picture::{PPS, SPS_720P};

/// An access unit of 4.5 Mbit/s at 30 frames a second.
const UNIT_BYTES: usize = 20_000;
const CHUNK_BYTES: usize = 60_000;
/// A keyframe of 1080p in good quality.
const KEYFRAME_BYTES: usize = 300_000;

fn annex_b() -> Vec<u8> {
    let mut unit = vec![0, 0, 0, 1, 0x41, 0x9a];
    unit.extend((0..UNIT_BYTES).map(|n| (n * 31 % 251) as u8 | 1));
    unit
}

fn header(timestamp_ms: u32) -> MessageHeader {
    MessageHeader {
        csid: csid::VIDEO,
        timestamp_ms,
        type_id: type_id::VIDEO,
        stream_id: 1,
    }
}

fn conversion(criterion: &mut Criterion) {
    let unit = annex_b();
    let mut group = criterion.benchmark_group("annex B to AVCC, 20 kB");
    group.throughput(Throughput::Bytes(unit.len() as u64));
    group.bench_function("one pass", |bencher| {
        bencher.iter(|| VideoUnit::from_annex_b(black_box(&unit)).expect("a unit"));
    });
    group.bench_function("memcpy alone", |bencher| {
        bencher.iter(|| Bytes::copy_from_slice(black_box(&unit)));
    });
    group.finish();
}

fn messages(criterion: &mut Criterion) {
    let body = VideoUnit::from_annex_b(&annex_b()).expect("a unit").avcc;
    let mut group = criterion.benchmark_group("RTMP message for one destination, 20 kB");
    group.bench_function("gather, payload shared", |bencher| {
        let mut timestamp = 0;
        bencher.iter(|| {
            timestamp += 33;
            gather(header(timestamp), black_box(&body), CHUNK_BYTES)
        });
    });
    group.bench_function("rml_rtmp serializer", |bencher| {
        let mut serializer = ChunkSerializer::new();
        serializer
            .set_max_chunk_size(CHUNK_BYTES as u32, RtmpTimestamp::new(0))
            .expect("a chunk size");
        let mut timestamp = 0;
        bencher.iter_batched(
            || body.clone(),
            |data| {
                timestamp += 33;
                let message = RtmpMessage::VideoData { data };
                let payload = message
                    .into_message_payload(RtmpTimestamp::new(timestamp), 1)
                    .expect("a payload");
                serializer
                    .serialize(&payload, false, true)
                    .expect("a packet")
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn keyframes(criterion: &mut Criterion) {
    let sets = ParameterSets::new(&Bytes::from_static(SPS_720P), &[Bytes::from_static(PPS)])
        .expect("parameter sets");
    let mut unit = vec![0, 0, 0, 1, 0x65, 0x88, 0x84, 0x3f];
    unit.extend((0..KEYFRAME_BYTES).map(|n| (n * 31 % 251) as u8));
    unit.push(0x80);
    let body = VideoUnit::from_annex_b(&unit).expect("a unit").avcc;
    let mut group = criterion.benchmark_group("keyframe under another number, 300 kB");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("slice data shifted", |bencher| {
        bencher.iter(|| renumber(&sets, black_box(&body), 7).expect("a picture"));
    });
    group.finish();
}

criterion_group!(benches, conversion, messages, keyframes);
criterion_main!(benches);
