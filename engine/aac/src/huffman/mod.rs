//! The codebooks of the standard, and what quantised lines cost in each of them.

mod count;
mod scale_factor;
mod spectrum;

pub(crate) use count::{BOOKS, BandCost, band_cost, zeros_cost};

use crate::bitstream::BitWriter;

/// The codebook number of a band without lines.
pub(crate) const ZERO_BOOK: u8 = 0;
/// The codebook of escapes.
const ESCAPE_BOOK: usize = 11;
/// The largest value that a codebook codes, by its number.
const LARGEST: [i32; BOOKS] = [0, 1, 1, 2, 2, 4, 4, 7, 7, 12, 12, 16];
/// The largest quantised value that may be written (ISO/IEC 14496-3, 4.6.1.3).
pub(crate) const QUANTISED_MAX: i32 = 8191;
/// The largest difference of two scale factors that follow each other.
pub(crate) const SCALE_FACTOR_STEP_MAX: i32 = 60;

/// One codebook of spectral data.
struct Book {
    lengths: &'static [u8],
    codes: &'static [u16],
    /// Values a codeword stands for: 4 or 2.
    values: usize,
    /// Whether the codeword has the signs in it.
    signed: bool,
    /// Values that each digit of the index takes.
    radix: usize,
    /// What is added to a value to make a digit of it.
    offset: i32,
}

macro_rules! book {
    ($lengths:ident, $codes:ident, $values:expr, $signed:expr, $radix:expr, $offset:expr) => {
        Book {
            lengths: &spectrum::$lengths,
            codes: &spectrum::$codes,
            values: $values,
            signed: $signed,
            radix: $radix,
            offset: $offset,
        }
    };
}

/// Codebooks 1 to 11 (ISO/IEC 14496-3, Table 4.151).
static SPECTRUM_BOOKS: [Book; BOOKS - 1] = [
    book!(LENGTHS_1, CODES_1, 4, true, 3, 1),
    book!(LENGTHS_2, CODES_2, 4, true, 3, 1),
    book!(LENGTHS_3, CODES_3, 4, false, 3, 0),
    book!(LENGTHS_4, CODES_4, 4, false, 3, 0),
    book!(LENGTHS_5, CODES_5, 2, true, 9, 4),
    book!(LENGTHS_6, CODES_6, 2, true, 9, 4),
    book!(LENGTHS_7, CODES_7, 2, false, 8, 0),
    book!(LENGTHS_8, CODES_8, 2, false, 8, 0),
    book!(LENGTHS_9, CODES_9, 2, false, 13, 0),
    book!(LENGTHS_10, CODES_10, 2, false, 13, 0),
    book!(LENGTHS_11, CODES_11, 2, false, 17, 0),
];

/// Bits of the difference of two scale factors.
#[inline]
pub(crate) fn scale_factor_bits(difference: i32) -> u32 {
    u32::from(scale_factor::LENGTHS[(difference + SCALE_FACTOR_STEP_MAX) as usize])
}

/// Writes the difference of two scale factors, at most [`SCALE_FACTOR_STEP_MAX`] either way.
pub(crate) fn put_scale_factor(writer: &mut BitWriter<'_>, difference: i32) {
    let index = (difference + SCALE_FACTOR_STEP_MAX) as usize;
    writer.put(
        scale_factor::CODES[index],
        u32::from(scale_factor::LENGTHS[index]),
    );
}

/// Writes the lines of a section in its codebook.
pub(crate) fn put_lines(writer: &mut BitWriter<'_>, book: u8, lines: &[i16]) {
    if book == ZERO_BOOK {
        return;
    }
    let book_number = usize::from(book);
    let book = &SPECTRUM_BOOKS[book_number - 1];
    for values in lines.chunks_exact(book.values) {
        let (mut index, mut signs, mut sign_bits) = (0, 0_u32, 0);
        for &value in values {
            let value = i32::from(value);
            let digit = if book.signed {
                value
            } else {
                value.abs().min(16)
            };
            index = index * book.radix + (digit + book.offset) as usize;
            if !book.signed && value != 0 {
                signs = signs << 1 | u32::from(value < 0);
                sign_bits += 1;
            }
        }
        let (code, length) = (u32::from(book.codes[index]), u32::from(book.lengths[index]));
        writer.put(code << sign_bits | signs, length + sign_bits);
        if book_number == ESCAPE_BOOK {
            for &value in values {
                put_escape(writer, value);
            }
        }
    }
}

/// The escape sequence of a value of 16 or more (ISO/IEC 14496-3, 4.6.3.3): as many ones as the
/// value has bits above five, a zero, and the bits below its highest.
fn put_escape(writer: &mut BitWriter<'_>, value: i16) {
    let magnitude = u32::from(value.unsigned_abs());
    if magnitude < 16 {
        return;
    }
    let bits = magnitude.ilog2();
    let ones = bits - 4;
    writer.put(((1 << ones) - 1) << 1, ones + 1);
    writer.put(magnitude - (1 << bits), bits);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A set of words none of which begins another, and which leaves no bits unused.
    fn assert_complete_prefix_code(words: impl Iterator<Item = (u32, u8)>) {
        let mut words: Vec<(u32, u8)> = words.collect();
        let mut unused = 1_u64 << 32;
        for (code, length) in &words {
            assert!(u64::from(*code) < 1 << *length);
            unused -= 1 << (32 - *length);
        }
        assert_eq!(unused, 0);
        words.sort_by_key(|(code, length)| u64::from(*code) << (32 - length));
        for pair in words.windows(2) {
            let ((short, length), (next, next_length)) = (pair[0], pair[1]);
            assert!(next_length < length || next >> (next_length - length) != short);
        }
    }

    #[test]
    fn the_codebooks_of_spectral_data_are_complete_prefix_codes() {
        for book in &SPECTRUM_BOOKS {
            assert_eq!(book.lengths.len(), book.radix.pow(book.values as u32));
            let codes = book.codes.iter().map(|code| u32::from(*code));
            assert_complete_prefix_code(codes.zip(book.lengths.iter().copied()));
        }
    }

    #[test]
    fn the_codebook_of_scale_factors_is_a_complete_prefix_code() {
        let codes = scale_factor::CODES.iter().copied();
        assert_complete_prefix_code(codes.zip(scale_factor::LENGTHS.iter().copied()));
        assert_eq!(scale_factor_bits(0), 1);
    }

    #[test]
    fn the_count_of_bits_is_what_is_written() {
        let mut state = 7_u32;
        let mut next = |limit: i32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as i32 % (2 * limit + 1) - limit
        };
        for limit in [0, 1, 2, 3, 4, 7, 9, 12, 15, 16, 200, 8191] {
            for _ in 0..50 {
                let lines: Vec<i16> = (0..32).map(|_| next(limit) as i16).collect();
                let cost = band_cost(&lines);
                let largest = lines.iter().map(|value| value.abs()).max();
                for (book, &most) in LARGEST.iter().enumerate() {
                    let fits = book == ESCAPE_BOOK || i32::from(largest.unwrap()) <= most;
                    assert_eq!(cost.fits(book), fits, "book {book}, {largest:?}");
                    if fits {
                        let mut out = Vec::new();
                        let mut writer = BitWriter::new(&mut out);
                        put_lines(&mut writer, book as u8, &lines);
                        assert_eq!(writer.bits(), cost.bits[book] as usize, "book {book}");
                    }
                }
            }
        }
    }
}
