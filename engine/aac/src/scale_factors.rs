//! From the noise that a band gets to its scale factor (ISO/IEC 14496-3, 4.6.2).

use crate::bands::Layout;
use crate::channel::CodedChannel;
use crate::fast_log::log2;
use crate::huffman::{QUANTISED_MAX, SCALE_FACTOR_STEP_MAX};

/// Added before rounding down, so that a line has to reach 0.605 to become 1: for the same bits,
/// noise is least when small values are rounded towards zero.
pub(crate) const ROUNDING: f32 = 0.395;
/// What is written is the scale factor and so much (ISO/IEC 14496-3, 4.6.2.3.3, SF_OFFSET).
pub(crate) const SCALE_FACTOR_OFFSET: i16 = 100;
/// A band is left out if its noise would be so many times its energy.
const VANISHING: f32 = 4.0;
const LOWEST: i16 = -SCALE_FACTOR_OFFSET;
const HIGHEST: i16 = 255 - SCALE_FACTOR_OFFSET;

/// Sets the scale factor of each band so that its noise is `thresholds`, plus `coarser` steps.
///
/// A step `d` of the powers makes noise of `4/27 d^2` times the sum of the square roots of all
/// magnitudes, and a scale factor `s` makes a step of `2^(3 s / 16)`.
pub(crate) fn set_scale_factors(
    channel: &mut CodedChannel,
    layout: &Layout,
    thresholds: &[f32],
    coarser: i16,
) {
    for (band, &threshold) in thresholds[..layout.bands].iter().enumerate() {
        let peak = channel.peaks[band];
        if channel.energies[band] <= channel.thresholds[band].min(threshold)
            || VANISHING * channel.energies[band] <= threshold
            || peak <= 0.0
        {
            channel.scale_factors[band] = CodedChannel::NO_SCALE_FACTOR;
            continue;
        }
        let wanted = 8.0 / 3.0 * log2(6.75 * threshold / channel.form_factors[band]);
        // The largest line stays at least 1, and fits.
        let peak_steps = 16.0 / 3.0 * log2(peak);
        let coarsest = peak_steps - 16.0 / 3.0 * log2(1.0 - ROUNDING);
        let finest = peak_steps - 16.0 / 3.0 * log2(QUANTISED_MAX as f32);
        let scale_factor = wanted.round().min(coarsest.floor()).max(finest.ceil()) as i16;
        channel.scale_factors[band] = (scale_factor + coarser).clamp(LOWEST, HIGHEST);
    }
    limit_range(&mut channel.scale_factors[..layout.bands]);
}

/// Brings all within the largest difference that can be written: any of them may turn out to be
/// neighbours once bands between them are all zeros.
fn limit_range(scale_factors: &mut [i16]) {
    let coded = |scale_factor: &&mut i16| **scale_factor != CodedChannel::NO_SCALE_FACTOR;
    let highest = scale_factors
        .iter_mut()
        .filter(coded)
        .map(|scale_factor| *scale_factor)
        .max();
    let Some(highest) = highest else { return };
    let lowest = highest - SCALE_FACTOR_STEP_MAX as i16;
    for scale_factor in scale_factors.iter_mut().filter(coded) {
        *scale_factor = (*scale_factor).max(lowest);
    }
}
