//! Samples at another rate as samples at 48 kHz: a windowed sinc, at exact places.
//!
//! Time is counted in parts of a sample, [`PARTS`] of them, so that a frame at 44.1 kHz is a whole number. Each
//! frame of 1024 samples becomes those samples at 48 kHz that lie in its time, and that time may be stretched
//! by some samples: the clock of an encoder is not ours.
//!
//! ```text
//!  input       │ past │        window of 1024        │ future │
//!  output      ────────────·─·─·─·─·─·─·─·─·─·────────────────   each from 16 samples on either side
//! ```

use crate::{AAC_SAMPLES_PER_FRAME, SAMPLE_RATE_HZ};

/// Parts of a sample at 48 kHz: 1024 samples at 44.1 kHz are 163 840 of them.
pub(crate) const PARTS: u64 = 147;
/// Samples on either side of a place that it is made of.
pub(crate) const HALF: usize = 16;
/// Places between two samples for which there is a kernel; others lie between two kernels.
const PHASES: usize = 256;
const TAPS: usize = 2 * HALF;
const FRAME: usize = AAC_SAMPLES_PER_FRAME as usize;
/// Where the kernel falls to half, of half the sample rate: 20.3 kHz at 44.1 kHz.
const CUTOFF: f32 = 0.92;

/// See the module's documentation. One channel after the other is given; both have the same places.
pub(crate) struct Resampler {
    /// Parts of a frame that is not stretched.
    frame_parts: u64,
    /// One kernel for each phase, and one more.
    kernels: Vec<[f32; TAPS]>,
    /// The last input of each channel.
    past: [[f32; TAPS]; 2],
    /// Parts from the beginning of the next window to the first sample in it.
    offset: u64,
}

impl Resampler {
    /// For input at this rate in hertz: 44 100 or 48 000.
    pub(crate) fn new(rate_hz: u32) -> Self {
        let frame_parts = FRAME as u64 * u64::from(SAMPLE_RATE_HZ) * PARTS / u64::from(rate_hz);
        Self {
            frame_parts,
            kernels: (0..=PHASES).map(kernel).collect(),
            past: [[0.0; TAPS]; 2],
            offset: 0,
        }
    }

    /// Appends a frame to `out`, left and right in turns, made `stretch` samples longer.
    pub(crate) fn push(&mut self, frame: [&[f32; FRAME]; 2], stretch: i32, out: &mut Vec<f32>) {
        let stretched = i64::from(stretch) * PARTS as i64;
        let parts = self.frame_parts.saturating_add_signed(stretched).max(PARTS);
        let begin = out.len();
        let count = parts.saturating_sub(self.offset).div_ceil(PARTS) as usize;
        out.resize(begin + 2 * count, 0.0);
        let made = out.get_mut(begin..).unwrap_or_default();
        let step = FRAME as f64 / parts as f64;
        for (channel, (past, new)) in self.past.iter_mut().zip(frame).enumerate() {
            let mut window = [0.0; TAPS + FRAME];
            let (before, behind) = window.split_at_mut(TAPS);
            before.copy_from_slice(past);
            behind.copy_from_slice(new);
            let places = (0..count).map(|n| self.offset + n as u64 * PARTS);
            let samples = made.iter_mut().skip(channel).step_by(2);
            for (sample, place) in samples.zip(places) {
                *sample = at(&self.kernels, &window, place as f64 * step);
            }
            if let Some(last) = window.last_chunk() {
                *past = *last;
            }
        }
        self.offset = self.offset + count as u64 * PARTS - parts;
    }
}

/// The sample at so many samples of the window.
fn at(kernels: &[[f32; TAPS]], window: &[f32; TAPS + FRAME], place: f64) -> f32 {
    let whole = place as usize;
    let phase = (place - whole as f64) * PHASES as f64;
    let (index, between) = (phase as usize, phase.fract() as f32);
    let taps = window.get(whole + 1..=whole + TAPS).unwrap_or_default();
    let Some([first, second]) = kernels.get(index..index + 2) else {
        return 0.0;
    };
    let kernel = first.iter().zip(second);
    let products = taps.iter().zip(kernel);
    products
        .map(|(tap, (a, b))| tap * (a + between * (b - a)))
        .sum()
}

/// A sinc under a Blackman window, for a place that is `phase` behind the sample in the middle.
fn kernel(phase: usize) -> [f32; TAPS] {
    let behind = phase as f32 / PHASES as f32;
    let mut kernel: [f32; TAPS] = std::array::from_fn(|tap| {
        let distance = tap as f32 - (HALF as f32 - 1.0) - behind;
        let angle = std::f32::consts::PI * distance / HALF as f32;
        let window = 0.42 + 0.5 * angle.cos() + 0.08 * (2.0 * angle).cos();
        let x = std::f32::consts::PI * distance * CUTOFF;
        let sinc = if x.abs() < 1e-4 { 1.0 } else { x.sin() / x };
        sinc * window
    });
    // What does not change stays as it is.
    let sum: f32 = kernel.iter().sum();
    kernel.iter_mut().for_each(|tap| *tap /= sum);
    kernel
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of so many frames of a tone.
    fn resampled(rate_hz: u32, hertz: f32, frames: usize, stretch: i32) -> Vec<f32> {
        let mut resampler = Resampler::new(rate_hz);
        let mut out = Vec::new();
        for number in 0..frames {
            let frame = std::array::from_fn(|n| {
                let t = (number * FRAME + n) as f32 / rate_hz as f32;
                (std::f32::consts::TAU * hertz * t).sin()
            });
            resampler.push([&frame, &frame], stretch, &mut out);
        }
        out
    }

    #[test]
    fn a_tone_keeps_its_pitch_and_its_strength() {
        for rate_hz in [44_100, 48_000] {
            for hertz in [100.0, 1_000.0, 5_000.0, 10_000.0] {
                let out = resampled(rate_hz, hertz, 4, 0);
                let delay = HALF as f32 / rate_hz as f32;
                let mut noise = 0.0_f32;
                let left = out.iter().step_by(2);
                for (n, sample) in left.enumerate().skip(200) {
                    let t = n as f32 / 48_000.0 - delay;
                    let expected = (std::f32::consts::TAU * hertz * t).sin();
                    noise = noise.max((sample - expected).abs());
                }
                assert!(noise < 0.02, "{hertz} Hz at {rate_hz}: {noise}");
            }
        }
    }

    #[test]
    fn no_sample_is_gained_or_lost() {
        for (rate_hz, stretch, samples) in [
            (48_000, 0, 147 * 1_024),
            (44_100, 0, 163_840),
            (48_000, 3, 147 * 1_027),
            (44_100, -4, 163_840 - 4 * 147),
        ] {
            let out = resampled(rate_hz, 440.0, 147, stretch);
            assert_eq!(out.len(), 2 * samples, "{rate_hz} Hz, {stretch}");
        }
    }
}
