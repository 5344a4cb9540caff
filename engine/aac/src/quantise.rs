//! Lines to whole numbers (ISO/IEC 14496-3, 4.6.1).

use std::sync::LazyLock;

use crate::bands::Layout;
use crate::channel::CodedChannel;
use crate::huffman::QUANTISED_MAX;
use crate::scale_factors::{ROUNDING, SCALE_FACTOR_OFFSET};

/// `2^(-3 s / 16)` for each scale factor from the lowest on.
static STEPS: LazyLock<[f32; 256]> = LazyLock::new(|| {
    core::array::from_fn(|index| {
        let scale_factor = index as f32 - f32::from(SCALE_FACTOR_OFFSET);
        (-3.0 / 16.0 * scale_factor).exp2()
    })
});

/// Quantises all bands of a channel by their scale factors.
pub(crate) fn quantise(channel: &mut CodedChannel, layout: &Layout) {
    let steps = &*STEPS;
    for band in 0..layout.bands {
        let range = layout.range(band);
        let scale_factor = channel.scale_factors[band];
        let quantised = &mut channel.quantised[range.clone()];
        if scale_factor == CodedChannel::NO_SCALE_FACTOR {
            quantised.fill(0);
            continue;
        }
        let step = steps[(scale_factor + SCALE_FACTOR_OFFSET) as usize];
        let lines = channel.lines[range.clone()].as_chunks::<4>().0;
        let powers = channel.powers[range].as_chunks::<4>().0;
        let quantised = quantised.as_chunks_mut::<4>().0;
        for ((quantised, lines), powers) in quantised.iter_mut().zip(lines).zip(powers) {
            for lane in 0..4 {
                quantised[lane] = quantise_line(lines[lane], powers[lane], step);
            }
        }
    }
}

/// Rounds by adding 2^23, whose last place is one, which takes no conversion.
#[inline]
fn quantise_line(line: f32, power: f32, step: f32) -> i16 {
    const WHOLE: f32 = 8_388_608.0;
    let scaled = power * step;
    let limited = if scaled < QUANTISED_MAX as f32 {
        scaled
    } else {
        QUANTISED_MAX as f32
    };
    let magnitude = (limited - (0.5 - ROUNDING) + WHOLE).to_bits() & 0xffff;
    let sign = line.to_bits() as i32 >> 31;
    ((magnitude as i32 ^ sign) - sign) as i16
}
