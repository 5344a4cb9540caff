//! What the audio of one broadcast costs: the largest part of a passthrough broadcast.
//!
//! A time of 200 µs per 20 ms packet is 1 % of a core.
#![allow(
    clippy::unwrap_used,
    reason = "a benchmark stops at the first surprise"
)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shardcast_media::{AAC_BITRATE_BPS, CHANNELS, OpusToAac, SAMPLE_RATE_HZ};

const PACKET_SAMPLES: usize = 960;

/// A second of a chord with a slow tremolo, as Opus at 96 kbit/s.
fn packets() -> Vec<Vec<u8>> {
    let mut encoder = opus::Encoder::new(
        SAMPLE_RATE_HZ,
        opus::Channels::Stereo,
        opus::Application::Audio,
    )
    .unwrap();
    encoder.set_bitrate(opus::Bitrate::Bits(96_000)).unwrap();
    (0..50)
        .map(|packet| {
            let pcm: Vec<f32> = (0..PACKET_SAMPLES * CHANNELS)
                .map(|n| {
                    let t = (packet * PACKET_SAMPLES + n / CHANNELS) as f32 / 48_000.0;
                    let tone = |hertz: f32| (std::f32::consts::TAU * hertz * t).sin();
                    let tremolo = 0.6 + 0.4 * tone(3.0);
                    0.2 * tremolo * (tone(220.0) + tone(277.2) + tone(1_661.2) + 0.3 * tone(7e3))
                })
                .collect();
            encoder.encode_vec_float(&pcm, 1_500).unwrap()
        })
        .collect()
}

fn audio(criterion: &mut Criterion) {
    let packets = packets();
    let mut group = criterion.benchmark_group("audio");
    group.throughput(Throughput::Elements(1));
    group.bench_function("opus_to_aac_20ms", |bencher| {
        let mut lane = OpusToAac::new(AAC_BITRATE_BPS).unwrap();
        let mut next = packets.iter().cycle();
        bencher.iter(|| lane.decode(next.next().unwrap()).unwrap());
    });
    group.bench_function("silence_20ms", |bencher| {
        let mut lane = OpusToAac::new(AAC_BITRATE_BPS).unwrap();
        bencher.iter(|| lane.silence(PACKET_SAMPLES as u32).unwrap());
    });
    group.finish();
}

criterion_group!(benches, audio);
criterion_main!(benches);
