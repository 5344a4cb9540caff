//! Mid/side coding, decided band by band (ISO/IEC 14496-3, 4.6.8.1).

use crate::FRAME_SAMPLES;
use crate::bands::{BANDS_MAX, Layout};

/// Noise of mid and of side each, as a part of what the better masking channel allows. Somewhat more
/// than the half that adds up: what both channels have in common masks it better.
const MID_SIDE_NOISE: f32 = 0.85;
/// Mid and side are chosen down to this part of what left and right save: they also keep the image.
const MID_SIDE_ADVANTAGE: f32 = 0.5;

/// Which bands are coded as mid and side.
#[derive(Debug, Clone)]
pub(crate) struct MidSide {
    /// For each band in coded order.
    pub(crate) bands: [bool; BANDS_MAX],
    /// How many bands are.
    pub(crate) count: usize,
}

impl MidSide {
    /// No band.
    pub(crate) const NONE: Self = Self {
        bands: [false; BANDS_MAX],
        count: 0,
    };
}

/// One channel as the decision sees it.
pub(crate) struct StereoChannel<'a> {
    /// Lines in coded order.
    pub(crate) lines: &'a mut [f32; FRAME_SAMPLES],
    /// Energy of each band.
    pub(crate) energies: &'a [f32; BANDS_MAX],
    /// Noise that each band masks.
    pub(crate) thresholds: &'a mut [f32; BANDS_MAX],
}

/// Turns left and right into mid and side in each band that then needs fewer bits: bits grow with
/// the logarithm of energy over threshold, so the products of both channels are compared.
pub(crate) fn code_mid_side(
    layout: &Layout,
    left: &mut StereoChannel<'_>,
    right: &mut StereoChannel<'_>,
) -> MidSide {
    let mut chosen = MidSide::NONE;
    for band in 0..layout.bands {
        let range = layout.range(band);
        let (l, r) = (&mut left.lines[range.clone()], &mut right.lines[range]);
        let (energy_left, energy_right) = (left.energies[band], right.energies[band]);
        let correlation = 0.5 * dot(l, r);
        let half = 0.25 * (energy_left + energy_right);
        let energies = [half + correlation, (half - correlation).max(0.0)];
        let (threshold_left, threshold_right) = (left.thresholds[band], right.thresholds[band]);
        // Noise of mid and of side comes out in both channels.
        let threshold = MID_SIDE_NOISE * threshold_left.min(threshold_right);
        let apart = (threshold_left / energy_left.max(threshold_left))
            * (threshold_right / energy_right.max(threshold_right));
        let together =
            (threshold / energies[0].max(threshold)) * (threshold / energies[1].max(threshold));
        if together > MID_SIDE_ADVANTAGE * apart {
            chosen.bands[band] = true;
            chosen.count += 1;
            left.thresholds[band] = threshold;
            right.thresholds[band] = threshold;
            for (l, r) in l.iter_mut().zip(r) {
                (*l, *r) = (0.5 * (*l + *r), 0.5 * (*l - *r));
            }
        }
    }
    chosen
}

fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 4];
    let pairs = left.as_chunks::<4>().0.iter().zip(right.as_chunks::<4>().0);
    for (left, right) in pairs {
        for ((sum, left), right) in sums.iter_mut().zip(left).zip(right) {
            *sum += left * right;
        }
    }
    sums.iter().sum()
}
