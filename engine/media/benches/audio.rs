//! What the audio of one broadcast costs, for each of its 20 ms packets: both codecs together, and Opus
//! and AAC by themselves. Mono packets have a mono decoder.
//!
//! Allocations are printed beside. A time of 200 µs per 20 ms packet is 1 % of a core.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a benchmark stops at the first surprise"
)]

#[path = "../../core/benches/allocations/mod.rs"]
mod allocations;

use std::f32::consts::TAU;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use opus::{Application, Bitrate, Channels};
use shardcast_media::{AAC_BITRATE_BPS, AacCoder, CHANNELS, OpusToAac, SAMPLE_RATE_HZ};

const PACKET_SAMPLES: usize = 960;
const PACKETS: usize = 250;

/// What a publisher sends.
const CONTENTS: [(&str, Channels, Content); 4] = [
    ("stereo", Channels::Stereo, Content::Music),
    ("mono", Channels::Mono, Content::Music),
    ("speech", Channels::Mono, Content::Speech),
    ("muted", Channels::Mono, Content::Nothing),
];

const CODERS: [(&str, AacCoder); 2] = [
    ("shardcast", AacCoder::Shardcast),
    ("libavcodec", AacCoder::Libavcodec),
];

#[derive(Clone, Copy)]
enum Content {
    Music,
    Speech,
    Nothing,
}

impl Content {
    /// Sample `n` of a channel; `noise` from -1 to 1.
    fn sample(self, n: usize, channel: usize, noise: f32) -> f32 {
        let t = n as f32 / SAMPLE_RATE_HZ as f32;
        let tone = |hertz: f32| (TAU * hertz * t).sin();
        match self {
            // Chords of harmonics that change four times a second, over a hiss.
            Self::Music => {
                let root = 110.0 * (1.0 + 0.1 * (4.0 * t).floor() % 7.0) + 3.0 * channel as f32;
                let harmonics = (1..14).map(|h| tone(root * h as f32) / h as f32);
                0.15 * harmonics.sum::<f32>() + 0.01 * noise
            }
            // Vowels and fricatives in turn, with a pause behind them.
            Self::Speech => {
                let harmonics = (1..20).map(|h| tone(130.0 * h as f32) / h as f32);
                match (t * 6.0) as usize % 3 {
                    0 => 0.2 * harmonics.sum::<f32>(),
                    1 => 0.1 * noise,
                    _ => 0.0,
                }
            }
            Self::Nothing => 0.0,
        }
    }
}

/// Five seconds as Opus: at 96 kbit/s in stereo and 48 in mono.
fn packets(channels: Channels, content: Content) -> Vec<Vec<u8>> {
    let mut encoder = opus::Encoder::new(SAMPLE_RATE_HZ, channels, Application::Audio).unwrap();
    let channels = channels as usize;
    let bits = Bitrate::Bits(48_000 * channels as i32);
    encoder.set_bitrate(bits).unwrap();
    let mut state = 1_u32;
    let mut noise = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut packet = |number: usize| {
        let samples = (0..PACKET_SAMPLES * channels).map(|at| {
            let n = number * PACKET_SAMPLES + at / channels;
            content.sample(n, at % channels, noise())
        });
        let pcm: Vec<f32> = samples.collect();
        encoder.encode_vec_float(&pcm, 1_500).unwrap()
    };
    (0..PACKETS).map(&mut packet).collect()
}

fn audio(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("audio");
    group.throughput(Throughput::Elements(1));
    for (name, channels, content) in CONTENTS {
        let packets = packets(channels, content);
        let mut next = packets.iter().cycle();
        group.bench_function(BenchmarkId::new("opus_decode_20ms", name), |bencher| {
            let mut decoder = opus::Decoder::new(SAMPLE_RATE_HZ, channels).unwrap();
            let mut pcm = [0.0; PACKET_SAMPLES * CHANNELS];
            bencher.iter(|| {
                let packet = next.next().unwrap();
                decoder.decode_float(packet, &mut pcm, false).unwrap()
            });
        });
        for (coder_name, coder) in CODERS {
            let id = BenchmarkId::new(format!("opus_to_aac_20ms/{coder_name}"), name);
            let mut transcoder = OpusToAac::new(coder, AAC_BITRATE_BPS).unwrap();
            let mut frames = Vec::new();
            let mut packet = || {
                frames.clear();
                let packet = next.next().unwrap();
                transcoder.decode(packet, &mut frames).unwrap();
            };
            allocations::report(&format!("Opus to AAC, {coder_name}, {name}"), &mut packet);
            group.bench_function(id, |bencher| bencher.iter(&mut packet));
        }
    }
    group.bench_function("silence_20ms", |bencher| {
        let mut transcoder = OpusToAac::new(AacCoder::default(), AAC_BITRATE_BPS).unwrap();
        let mut frames = Vec::new();
        bencher.iter(|| {
            frames.clear();
            transcoder
                .silence(PACKET_SAMPLES as u32, &mut frames)
                .unwrap();
        });
    });
    group.finish();
}

criterion_group!(benches, audio);
criterion_main!(benches);
