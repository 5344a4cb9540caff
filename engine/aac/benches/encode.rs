//! What a frame costs: stereo, mono, silence; in time and in allocations.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench stops at the first surprise"
)]

#[path = "../../core/benches/allocations/mod.rs"]
mod allocations;

use criterion::{Criterion, criterion_group, criterion_main};
use shardcast_aac::{Encoder, FRAME_SAMPLES};

type Block = [f32; FRAME_SAMPLES];
/// A name, the left channel and the right.
type Case<'a> = (&'a str, &'a [Block], Option<&'a [Block]>);

/// A second of something with a spectrum like music: tones that decay again and again, and noise.
fn blocks(seed: u32) -> Vec<Block> {
    let mut state = seed;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    let mut low = 0.0;
    let mut sample = |n: usize| {
        let time = n as f32 / 48_000.0;
        let decay = (-6.0 * (time * 3.0).fract()).exp();
        let tone = |k: f32| (time * 220.0 * k * core::f32::consts::TAU).sin() / k;
        low += 0.2 * (noise() - low);
        0.2 * decay * (1..12).map(|k| tone(k as f32)).sum::<f32>() + 0.1 * low
    };
    (0..47)
        .map(|block| core::array::from_fn(|n| sample(block * FRAME_SAMPLES + n)))
        .collect()
}

fn encode(criterion: &mut Criterion) {
    let (left, right) = (blocks(1), blocks(2));
    let silence = vec![[0.0; FRAME_SAMPLES]; 47];
    let mut group = criterion.benchmark_group("aac_frame");
    let cases: [Case<'_>; 3] = [
        ("stereo", &left, Some(&right)),
        ("mono", &left, None),
        ("silence", &silence, Some(&silence)),
    ];
    for (name, left, right) in cases {
        for bitrate in [64_000, 128_000] {
            let mut encoder = Encoder::new(bitrate).unwrap();
            let mut out = Vec::with_capacity(2_048);
            let mut index = 0;
            let mut frame = || {
                out.clear();
                encoder.encode(&left[index], right.map(|right| &right[index]), &mut out);
                index = (index + 1) % left.len();
                out.len()
            };
            allocations::report(&format!("AAC frame, {name}, {bitrate} bit/s"), || {
                frame();
            });
            group.bench_function(format!("{name}/{bitrate}"), |bencher| {
                bencher.iter(&mut frame);
            });
        }
    }
    group.finish();
}

criterion_group!(benches, encode);
criterion_main!(benches);
