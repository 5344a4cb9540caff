//! The modified discrete cosine transform (ISO/IEC 14496-3, 4.6.11), by a complex FFT of a quarter
//! of its length.

use core::f64::consts::PI;
use std::sync::{Arc, LazyLock};

use rustfft::{Fft, FftPlanner, num_complex::Complex32};

use crate::FRAME_SAMPLES;
use crate::bands::SHORT_LINES;

/// Twice full scale of 16 bits: the decoder's scale factors count in samples of 16 bits, and the
/// standard's forward transform has a factor of two.
const SCALE: f64 = 2.0 * 32_768.0;

/// Points of the FFT of a long window; eight short ones have as many.
const POINTS: usize = FRAME_SAMPLES / 2;

/// What a transform of one length needs, shared by all encoders of the process.
struct Plan {
    fft: Arc<dyn Fft<f32>>,
    /// `exp(-i pi (8 n + 1) / (8 lines))`, times the scale's root.
    twiddle: Vec<Complex32>,
}

impl Plan {
    fn new(lines: usize) -> Self {
        let root = SCALE.sqrt();
        let twiddle = (0..lines / 2)
            .map(|n| {
                let angle = -PI * (8.0 * n as f64 + 1.0) / (8.0 * lines as f64);
                Complex32::new((root * angle.cos()) as f32, (root * angle.sin()) as f32)
            })
            .collect();
        Self {
            fft: FftPlanner::new().plan_fft_forward(lines / 2),
            twiddle,
        }
    }
}

static LONG: LazyLock<Plan> = LazyLock::new(|| Plan::new(FRAME_SAMPLES));
static SHORT: LazyLock<Plan> = LazyLock::new(|| Plan::new(SHORT_LINES));

/// The transform with the memory it works in.
pub(crate) struct Mdct {
    buffer: [Complex32; POINTS],
    scratch: Vec<Complex32>,
}

impl core::fmt::Debug for Mdct {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Mdct").finish_non_exhaustive()
    }
}

impl Mdct {
    /// Work memory for both lengths.
    pub(crate) fn new() -> Self {
        let long = LONG.fft.get_inplace_scratch_len();
        let scratch = long.max(SHORT.fft.get_inplace_scratch_len());
        Self {
            buffer: [Complex32::ZERO; POINTS],
            scratch: vec![Complex32::ZERO; scratch],
        }
    }

    /// 1024 lines of 2048 windowed samples.
    pub(crate) fn long(
        &mut self,
        windowed: &[f32; 2 * FRAME_SAMPLES],
        lines: &mut [f32; FRAME_SAMPLES],
    ) {
        let plan = &*LONG;
        fold(windowed, &plan.twiddle, &mut self.buffer);
        plan.fft
            .process_with_scratch(&mut self.buffer, &mut self.scratch);
        unfold(&self.buffer, &plan.twiddle, lines);
    }

    /// Eight times 128 lines of 256 windowed samples.
    pub(crate) fn short(
        &mut self,
        windowed: &[[f32; 2 * SHORT_LINES]; 8],
        lines: &mut [f32; FRAME_SAMPLES],
    ) {
        let plan = &*SHORT;
        let buffers = self.buffer.chunks_exact_mut(SHORT_LINES / 2);
        for (window, buffer) in windowed.iter().zip(buffers) {
            fold(window, &plan.twiddle, buffer);
        }
        plan.fft
            .process_with_scratch(&mut self.buffer, &mut self.scratch);
        let buffers = self.buffer.chunks_exact(SHORT_LINES / 2);
        for (lines, buffer) in lines.chunks_exact_mut(SHORT_LINES).zip(buffers) {
            unfold(buffer, &plan.twiddle, lines);
        }
    }
}

/// Folds the quarters (a, b, c, d) to (-c' - d, a - b'), which a DCT-IV turns into the MDCT, and
/// packs them for the FFT.
fn fold(windowed: &[f32], twiddle: &[Complex32], buffer: &mut [Complex32]) {
    let quarter = windowed.len() / 4;
    let half = quarter / 2;
    let (a, rest) = windowed.split_at(quarter);
    let (b, rest) = rest.split_at(quarter);
    let (c, d) = rest.split_at(quarter);
    // Point n takes entry 2n of the folded sequence and entry `lines - 1 - 2n`.
    for n in 0..half {
        let (low, high) = (2 * n, quarter - 1 - 2 * n);
        let re = -c[high] - d[low];
        let im = a[high] - b[low];
        buffer[n] = Complex32::new(re, im) * twiddle[n];
        let re = a[low] - b[high];
        let im = -c[low] - d[high];
        buffer[half + n] = Complex32::new(re, im) * twiddle[half + n];
    }
}

/// The lines of the FFT's points.
fn unfold(buffer: &[Complex32], twiddle: &[Complex32], lines: &mut [f32]) {
    let last = lines.len() - 1;
    for (n, (point, twiddle)) in buffer.iter().zip(twiddle).enumerate() {
        let turned = point * twiddle;
        lines[2 * n] = turned.re;
        lines[last - 2 * n] = -turned.im;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<f32> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state as f32 / u32::MAX as f32 - 0.5
        };
        (0..length).map(|_| next()).collect()
    }

    fn by_definition(windowed: &[f32]) -> Vec<f64> {
        let n = windowed.len() as f64;
        let line = |k: usize| -> f64 {
            let term = |(i, z): (usize, &f32)| {
                let phase = 2.0 * PI / n * (i as f64 + 0.5 + n / 4.0) * (k as f64 + 0.5);
                f64::from(*z) * phase.cos()
            };
            SCALE * windowed.iter().enumerate().map(term).sum::<f64>()
        };
        (0..windowed.len() / 2).map(line).collect()
    }

    fn assert_near(lines: &[f32], expected: &[f64]) {
        for (line, expected) in lines.iter().zip(expected) {
            assert!(
                (f64::from(*line) - expected).abs() < 1.0,
                "{line} {expected}"
            );
        }
    }

    #[test]
    fn the_long_transform_is_the_definition() {
        let input: [f32; 2048] = noise(2048).try_into().unwrap();
        let mut lines = [0.0; 1024];
        Mdct::new().long(&input, &mut lines);
        assert_near(&lines, &by_definition(&input));
    }

    #[test]
    fn the_short_transforms_are_the_definition() {
        let input = noise(2048);
        let mut windows = [[0.0; 256]; 8];
        for (window, input) in windows.iter_mut().zip(input.chunks_exact(256)) {
            window.copy_from_slice(input);
        }
        let mut lines = [0.0; 1024];
        Mdct::new().short(&windows, &mut lines);
        for (window, lines) in windows.iter().zip(lines.chunks_exact(128)) {
            assert_near(lines, &by_definition(window));
        }
    }
}
