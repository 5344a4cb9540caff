//! Logarithms and powers of two, good to a thousandth, that the compiler can do four at a time.

use core::f32::consts::LN_2;

/// `log2(x)` for positive normal `x`, within 0.001.
#[inline]
pub(crate) fn log2(x: f32) -> f32 {
    let bits = x.to_bits();
    let exponent = ((bits >> 23) as i32 - 127) as f32;
    let mantissa = f32::from_bits(bits & 0x007f_ffff | 0x3f80_0000);
    // Least-squares polynomial of log2 over 1..2.
    exponent
        + (((-0.080_011 * mantissa + 0.635_511) * mantissa - 2.099_402) * mantissa + 4.049_617)
            * mantissa
        - 2.505_615
}

/// `2^x` for `x` within -126..=126, within a thousandth of the result.
#[inline]
pub(crate) fn exp2(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to a whole number without a call.
    let magic = 12_582_912.0;
    let whole = (x + magic) - magic;
    let part = x - whole;
    let power = f32::from_bits(((whole as i32 + 127) << 23) as u32);
    power * (1.0 + part * (LN_2 + part * (0.240_226_5 + part * 0.055_504_1)))
}

#[cfg(test)]
mod tests {
    #[test]
    fn logarithms_and_powers_are_good_to_a_thousandth() {
        for step in 0..4_000 {
            let x = 1e-6 * 1.01_f32.powi(step);
            let difference = (super::log2(x) - x.log2()).abs();
            assert!(difference < 1e-3, "log2({x}) is off by {difference}");
            let y = x.log2();
            if y.abs() < 126.0 {
                let ratio = super::exp2(y) / y.exp2();
                assert!((ratio - 1.0).abs() < 1e-3, "2^{y} is off by {ratio}");
            }
        }
    }
}
