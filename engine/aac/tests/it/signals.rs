//! Signals to encode, at 48 kHz.

use core::f32::consts::TAU;

/// Noise within -1..1, the same for the same seed.
pub(crate) fn noise(seed: u32) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    }
}

pub(crate) fn sine(hertz: f32, level: f32, samples: usize) -> Vec<f32> {
    let sample = |n: usize| level * (TAU * (hertz / 48_000.0 * n as f32).fract()).sin();
    (0..samples).map(sample).collect()
}

/// From 20 Hz to 20 kHz.
pub(crate) fn sweep(samples: usize) -> Vec<f32> {
    let mut phase = 0.0_f64;
    let sample = |n: usize| {
        let hertz = 20.0 * 1_000_f64.powf(n as f64 / samples as f64);
        phase = (phase + hertz / 48_000.0).fract();
        0.5 * (phase * core::f64::consts::TAU).sin() as f32
    };
    (0..samples).map(sample).collect()
}

/// A pulse train of falling and rising pitch through two resonances, in syllables with pauses.
pub(crate) fn speech_like(seed: u32, samples: usize) -> Vec<f32> {
    let mut noise = noise(seed);
    let (mut phase, mut states) = (0.0_f32, [[0.0_f32; 2]; 2]);
    let sample = |n: usize| {
        let time = n as f32 / 48_000.0;
        let syllable = (time * 4.0).fract();
        let level = if syllable < 0.7 {
            (syllable / 0.7 * TAU / 2.0).sin()
        } else {
            0.0
        };
        phase += (120.0 + 30.0 * (time * 3.0).sin()) / 48_000.0;
        let mut excitation = 0.02 * noise();
        if phase >= 1.0 {
            phase -= 1.0;
            excitation += 1.0;
        }
        let mut out = 0.0;
        for (state, hertz) in states.iter_mut().zip([600.0 + 200.0 * time.sin(), 1_800.0]) {
            let radius = 0.985_f32;
            let next = excitation + 2.0 * radius * (TAU * hertz / 48_000.0).cos() * state[0]
                - radius * radius * state[1];
            *state = [next, state[0]];
            out += next;
        }
        (0.06 * level * out).clamp(-1.0, 1.0)
    };
    (0..samples).map(sample).collect()
}

/// Clicks that ring for a millisecond, `period` samples apart, the first after half of it.
pub(crate) fn castanets(period: usize, samples: usize) -> Vec<f32> {
    let sample = |n: usize| {
        let since = (n + period / 2) % period;
        let time = since as f32 / 48_000.0;
        0.8 * (-time * 900.0).exp() * (TAU * 2_500.0 * time).sin()
    };
    (0..samples)
        .map(|n| if n < period / 2 { 0.0 } else { sample(n) })
        .collect()
}

pub(crate) fn white(seed: u32, level: f32, samples: usize) -> Vec<f32> {
    let mut noise = noise(seed);
    (0..samples).map(|_| level * noise()).collect()
}

pub(crate) fn square(period: usize, samples: usize) -> Vec<f32> {
    (0..samples)
        .map(|n| if n % period < period / 2 { 1.0 } else { -1.0 })
        .collect()
}

/// All signals by name.
pub(crate) fn all(samples: usize) -> Vec<(&'static str, Vec<f32>)> {
    vec![
        ("silence", vec![0.0; samples]),
        ("speech", speech_like(1, samples)),
        ("noise", white(2, 0.5, samples)),
        ("loud noise", white(3, 1.0, samples)),
        ("faint noise", white(4, 1e-5, samples)),
        ("sine", sine(997.0, 0.9, samples)),
        ("low sine", sine(41.0, 0.9, samples)),
        ("high sine", sine(15_000.0, 0.9, samples)),
        ("sweep", sweep(samples)),
        ("castanets", castanets(7_000, samples)),
        ("square", square(109, samples)),
        ("alternating", square(2, samples)),
    ]
}
