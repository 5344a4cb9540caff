//! A channel as it is coded: left, right, mid, side or the only one.

use crate::FRAME_SAMPLES;
use crate::bands::{BANDS_MAX, Layout};
use crate::fast_log::{exp2, log2};

/// The lines of a frame in coded order, and what is known of its bands.
#[derive(Debug)]
pub(crate) struct CodedChannel {
    /// Lines of the transform.
    pub(crate) lines: [f32; FRAME_SAMPLES],
    /// Their magnitudes to the power of 3/4, which is what quantisation counts in.
    pub(crate) powers: [f32; FRAME_SAMPLES],
    /// Lines, quantised.
    pub(crate) quantised: [i16; FRAME_SAMPLES],
    /// Energy of each band.
    pub(crate) energies: [f32; BANDS_MAX],
    /// Noise that each band masks.
    pub(crate) thresholds: [f32; BANDS_MAX],
    /// Sum of the square roots of a band's magnitudes: noise at a given step grows with it.
    pub(crate) form_factors: [f32; BANDS_MAX],
    /// Largest power of each band.
    pub(crate) peaks: [f32; BANDS_MAX],
    /// How many lines of a band really need bits: all if they are alike, few if some stand out.
    pub(crate) active_lines: [f32; BANDS_MAX],
    /// Scale factor of each band, [`CodedChannel::NO_SCALE_FACTOR`] if all lines are zero.
    pub(crate) scale_factors: [i16; BANDS_MAX],
    /// Codebook of each band.
    pub(crate) books: [u8; BANDS_MAX],
}

impl CodedChannel {
    /// Marks a band that is not coded.
    pub(crate) const NO_SCALE_FACTOR: i16 = i16::MAX;

    /// An empty channel.
    pub(crate) fn new() -> Self {
        Self {
            lines: [0.0; FRAME_SAMPLES],
            powers: [0.0; FRAME_SAMPLES],
            quantised: [0; FRAME_SAMPLES],
            energies: [0.0; BANDS_MAX],
            thresholds: [0.0; BANDS_MAX],
            form_factors: [0.0; BANDS_MAX],
            peaks: [0.0; BANDS_MAX],
            active_lines: [0.0; BANDS_MAX],
            scale_factors: [Self::NO_SCALE_FACTOR; BANDS_MAX],
            books: [0; BANDS_MAX],
        }
    }

    /// Measures the lines, once they are what is coded.
    pub(crate) fn measure(&mut self, layout: &Layout) {
        for band in 0..layout.bands {
            let range = layout.range(band);
            let width = range.len() as f32;
            let lines = self.lines[range.clone()].as_chunks::<4>().0;
            let powers = self.powers[range].as_chunks_mut::<4>().0;
            let (mut energy, mut form, mut peak) = ([0.0_f32; 4], [0.0_f32; 4], [0.0_f32; 4]);
            for (lines, powers) in lines.iter().zip(powers) {
                for lane in 0..4 {
                    let magnitude = lines[lane].abs();
                    let root = magnitude.sqrt();
                    let power = (magnitude * root).sqrt();
                    powers[lane] = power;
                    energy[lane] += magnitude * magnitude;
                    form[lane] += root;
                    peak[lane] = if power > peak[lane] {
                        power
                    } else {
                        peak[lane]
                    };
                }
            }
            let energy: f32 = energy.iter().sum();
            let form: f32 = form.iter().sum();
            self.energies[band] = energy;
            self.form_factors[band] = form;
            self.peaks[band] = peak.iter().copied().fold(0.0, f32::max);
            let mean = (energy / width).max(f32::MIN_POSITIVE);
            self.active_lines[band] = form * exp2(-0.25 * log2(mean));
        }
    }
}
