//! Windows of the transform (ISO/IEC 14496-3, 4.6.11.3.2): long slopes are Kaiser-Bessel derived,
//! short slopes are sines.

use core::f64::consts::PI;
use std::sync::LazyLock;

use crate::FRAME_SAMPLES;
use crate::bands::{SHORT_LINES, SHORT_WINDOWS, WindowSequence};

/// Where the short slope of a start or stop window begins, and the first short window.
const FLAT: usize = (FRAME_SAMPLES - SHORT_LINES) / 2;

/// Rising slopes.
struct Slopes {
    long: [f32; FRAME_SAMPLES],
    short: [f32; SHORT_LINES],
}

static SLOPES: LazyLock<Slopes> = LazyLock::new(|| Slopes {
    long: kaiser_bessel(4.0),
    short: sine(),
});

/// The window_shape bit of a frame: the shape of its right half. The left half has the shape that
/// the frame before announced, which is the same for a slope of the same length.
pub(crate) fn shape_bit(sequence: WindowSequence) -> u32 {
    match sequence {
        WindowSequence::OnlyLong | WindowSequence::LongStop => 1,
        WindowSequence::LongStart | WindowSequence::EightShort => 0,
    }
}

fn sine<const N: usize>() -> [f32; N] {
    core::array::from_fn(|n| ((n as f64 + 0.5) * PI / (2 * N) as f64).sin() as f32)
}

fn kaiser_bessel<const N: usize>(alpha: f64) -> [f32; N] {
    let kernel = |n: usize| {
        let x = 4.0 * n as f64 / (2 * N) as f64 - 1.0;
        bessel_i0(PI * alpha * (1.0 - x * x).sqrt())
    };
    let total: f64 = (0..=N).map(kernel).sum();
    let mut sum = 0.0;
    core::array::from_fn(|n| {
        sum += kernel(n);
        (sum / total).sqrt() as f32
    })
}

/// The modified Bessel function of the first kind of order zero.
fn bessel_i0(x: f64) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    for k in 1..60 {
        term *= (x / (2.0 * f64::from(k))).powi(2);
        sum += term;
    }
    sum
}

/// Windows two blocks for one long transform.
pub(crate) fn long(
    sequence: WindowSequence,
    [first, second]: [&[f32]; 2],
    windowed: &mut [f32; 2 * FRAME_SAMPLES],
) {
    let slopes = &*SLOPES;
    let (left, right) = windowed.split_at_mut(FRAME_SAMPLES);
    let slope = FLAT..FLAT + SHORT_LINES;
    if sequence == WindowSequence::LongStop {
        left[..slope.start].fill(0.0);
        multiply(
            &mut left[slope.clone()],
            &first[slope.clone()],
            slopes.short.iter(),
        );
        left[slope.end..].copy_from_slice(&first[slope.end..]);
    } else {
        multiply(left, first, slopes.long.iter());
    }
    if sequence == WindowSequence::LongStart {
        right[..slope.start].copy_from_slice(&second[..slope.start]);
        let falling = slopes.short.iter().rev();
        multiply(&mut right[slope.clone()], &second[slope.clone()], falling);
        right[slope.end..].fill(0.0);
    } else {
        multiply(right, second, slopes.long.iter().rev());
    }
}

/// Windows two blocks for eight short transforms.
pub(crate) fn short(
    [first, second]: [&[f32]; 2],
    windowed: &mut [[f32; 2 * SHORT_LINES]; SHORT_WINDOWS],
) {
    let slope = &SLOPES.short;
    let mut samples = [0.0; 2 * FRAME_SAMPLES];
    samples[..FRAME_SAMPLES].copy_from_slice(first);
    samples[FRAME_SAMPLES..].copy_from_slice(second);
    for (index, window) in windowed.iter_mut().enumerate() {
        let (left, right) = window.split_at_mut(SHORT_LINES);
        let middle = FLAT + (index + 1) * SHORT_LINES;
        multiply(left, &samples[middle - SHORT_LINES..middle], slope.iter());
        multiply(
            right,
            &samples[middle..middle + SHORT_LINES],
            slope.iter().rev(),
        );
    }
}

fn multiply<'a>(out: &mut [f32], samples: &[f32], slope: impl Iterator<Item = &'a f32>) {
    for ((out, sample), slope) in out.iter_mut().zip(samples).zip(slope) {
        *out = sample * slope;
    }
}
