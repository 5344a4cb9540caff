//! What the ear does not hear: how much noise each scale factor band masks.
//!
//! A band masks noise 11 dB below its energy, itself and, less the further away, its neighbours
//! (steeply downwards, gently upwards, in Bark); nothing is heard below the threshold in quiet. At
//! most bit rates there are too few bits for all of that; [`crate::allocation`] shares out the
//! shortage.

use std::sync::LazyLock;

use crate::bands::{BANDS_MAX, LONG_BANDS, LONG_OFFSETS, Layout, SHORT_BANDS, SHORT_OFFSETS};
use crate::{FRAME_SAMPLES, SAMPLE_RATE};

/// Noise that a band masks in itself, as a part of its energy: -11 dB. Chosen by ViSQOL and by
/// noise-to-mask ratio at 64 kbit/s, where it decides how a shortage is shared out, among 9 to 29.
const MASKED_RATIO: f32 = 0.08;
/// How much masking falls per Bark towards low and towards high frequencies, in dB.
const SLOPE_DOWN_DB: f32 = 30.0;
const SLOPE_UP_DB: f32 = 15.0;
/// How fast a threshold may rise from frame to frame, so that noise does not come ahead of the
/// sound that masks it.
const RISE_MAX: f32 = 2.0;
/// However fast it rose, this part of a threshold counts.
const RISE_REST: f32 = 0.01;
/// Sound pressure of a full scale sine that the threshold in quiet assumes, in dB. It is 40 dB more
/// than a listener has, because players turn quiet passages up: a fricative at the usual 96 dB is
/// cut off audibly.
const FULL_SCALE_DB: f32 = 136.0;
/// `10 log10` of what [`crate::mdct`] makes of a full scale sine in a long window and in a short.
const SINE_LONG_DB: f32 = 150.5;
const SINE_SHORT_DB: f32 = 132.5;

/// What the model knows of each band of one kind of window.
#[derive(Debug)]
pub(crate) struct BandTable<const N: usize> {
    /// What is left of masking one band lower, and one band higher.
    down: [f32; N],
    up: [f32; N],
    /// Energy that is not heard in quiet.
    quiet: [f32; N],
    /// Width in Bark.
    pub(crate) bark: [f32; N],
}

impl<const N: usize> BandTable<N> {
    fn new(offsets: &[u16], lines: usize, sine_db: f32) -> Self {
        let hertz = |line: f32| line * SAMPLE_RATE as f32 / 2.0 / lines as f32;
        let edge = |band: usize| f32::from(offsets[band]);
        let centre = |band: usize| bark(hertz(0.5 * (edge(band) + edge(band + 1))));
        let fall = |distance: f32, slope_db: f32| 10_f32.powf(-0.1 * distance * slope_db);
        Self {
            down: core::array::from_fn(|band| match band {
                0 => 0.0,
                _ => fall(centre(band) - centre(band - 1), SLOPE_DOWN_DB),
            }),
            up: core::array::from_fn(|band| match band {
                0 => 0.0,
                _ => fall(centre(band) - centre(band - 1), SLOPE_UP_DB),
            }),
            quiet: core::array::from_fn(|band| {
                let from = offsets[band];
                let lowest = (from..offsets[band + 1])
                    .map(|line| quiet_db(hertz(f32::from(line) + 0.5)))
                    .fold(f32::INFINITY, f32::min);
                10_f32.powf(0.1 * (lowest - FULL_SCALE_DB + sine_db))
            }),
            bark: core::array::from_fn(|band| {
                bark(hertz(edge(band + 1))) - bark(hertz(edge(band)))
            }),
        }
    }

    /// The thresholds of `energies`, each the sum over `windows` windows.
    fn thresholds(&self, windows: f32, energies: &[f32], thresholds: &mut [f32]) {
        let bands = energies.len();
        for (threshold, energy) in thresholds.iter_mut().zip(energies) {
            *threshold = energy * MASKED_RATIO;
        }
        for band in 1..bands {
            thresholds[band] = thresholds[band].max(thresholds[band - 1] * self.up[band]);
        }
        for band in (1..bands).rev() {
            thresholds[band - 1] = thresholds[band - 1].max(thresholds[band] * self.down[band]);
        }
        for (threshold, quiet) in thresholds.iter_mut().zip(&self.quiet) {
            *threshold = threshold.max(quiet * windows);
        }
    }
}

/// Bands of long windows.
pub(crate) static LONG: LazyLock<BandTable<LONG_BANDS>> =
    LazyLock::new(|| BandTable::new(&LONG_OFFSETS, FRAME_SAMPLES, SINE_LONG_DB));
/// Bands of short windows.
pub(crate) static SHORT: LazyLock<BandTable<SHORT_BANDS>> =
    LazyLock::new(|| BandTable::new(&SHORT_OFFSETS, FRAME_SAMPLES / 8, SINE_SHORT_DB));

/// The critical band rate of Zwicker and Terhardt.
fn bark(hertz: f32) -> f32 {
    13.0 * (0.000_76 * hertz).atan() + 3.5 * (hertz / 7_500.0).powi(2).atan()
}

/// Terhardt's threshold in quiet, in dB of sound pressure.
fn quiet_db(hertz: f32) -> f32 {
    let khz = hertz.max(20.0) / 1_000.0;
    let rise = 3.64 * khz.powf(-0.8) + 0.001 * khz.powi(4);
    (rise - 6.5 * (-0.6 * (khz - 3.3).powi(2)).exp()).min(60.0)
}

/// What one channel's thresholds depend on from frame to frame.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Psychoacoustics {
    /// The thresholds of the frame before, if it had a long window.
    previous: [f32; LONG_BANDS],
    /// Bands of them that count.
    previous_bands: usize,
}

impl Psychoacoustics {
    /// Nothing heard yet.
    pub(crate) fn new() -> Self {
        Self {
            previous: [0.0; LONG_BANDS],
            previous_bands: 0,
        }
    }

    /// The frame has no sound, so what it masks is what is not heard in quiet.
    pub(crate) fn silence(&mut self) {
        self.previous = LONG.quiet;
        self.previous_bands = LONG_BANDS;
    }

    /// The thresholds of a frame's bands.
    pub(crate) fn thresholds(
        &mut self,
        layout: &Layout,
        energies: &[f32; BANDS_MAX],
        thresholds: &mut [f32; BANDS_MAX],
    ) {
        let max_sfb = layout.max_sfb;
        if layout.is_short() {
            self.previous_bands = 0;
            for (group, &windows) in layout.grouping.windows[..layout.grouping.count]
                .iter()
                .enumerate()
            {
                let bands = group * max_sfb..(group + 1) * max_sfb;
                let windows = f32::from(windows);
                SHORT.thresholds(windows, &energies[bands.clone()], &mut thresholds[bands]);
            }
            return;
        }
        LONG.thresholds(1.0, &energies[..max_sfb], &mut thresholds[..max_sfb]);
        let previous_bands = core::mem::replace(&mut self.previous_bands, max_sfb);
        for (band, threshold) in thresholds[..max_sfb].iter_mut().enumerate() {
            let full = *threshold;
            if band < previous_bands {
                let risen = full.min(RISE_MAX * self.previous[band]);
                *threshold = risen.max(RISE_REST * full);
            }
            self.previous[band] = full;
        }
    }
}

/// Energy of each band of a frame in coded order.
pub(crate) fn band_energies(
    layout: &Layout,
    lines: &[f32; FRAME_SAMPLES],
    energies: &mut [f32; BANDS_MAX],
) {
    for (band, energy) in energies[..layout.bands].iter_mut().enumerate() {
        let mut sums = [0.0_f32; 4];
        for lines in lines[layout.range(band)].as_chunks::<4>().0 {
            for (sum, line) in sums.iter_mut().zip(lines) {
                *sum += line * line;
            }
        }
        *energy = sums.iter().sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bands::{Grouping, WindowSequence};

    #[test]
    fn what_was_loud_before_a_silence_masks_nothing_after_it() {
        let layout = Layout::new(WindowSequence::OnlyLong, Grouping::new(&[4, 4]), 20_000);
        let energies = [1e12; BANDS_MAX];
        let mut model = Psychoacoustics::new();
        let thresholds = |model: &mut Psychoacoustics| {
            let mut thresholds = [0.0; BANDS_MAX];
            model.thresholds(&layout, &energies, &mut thresholds);
            thresholds[20]
        };
        let first = thresholds(&mut model);
        assert_eq!(thresholds(&mut model), first);
        model.silence();
        let after = thresholds(&mut model);
        assert!(after <= 0.02 * first, "{after} of {first}");
        assert_eq!(thresholds(&mut model), first);
    }
}
