//! What the lines of a band cost in every codebook, by tables of all books side by side.

use std::sync::LazyLock;

use super::{ESCAPE_BOOK, LARGEST, SPECTRUM_BOOKS};

/// Codebooks with that of zeros, and none of intensity or noise.
pub(crate) const BOOKS: usize = 12;

/// Lanes of a table row: a codebook each, and rest that makes a row two vector registers.
const LANES: usize = 16;
type Row = [u16; LANES];

/// Bits of a band in each codebook.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BandCost {
    /// Bits by codebook, [`BandCost::NEVER`] where a value does not fit.
    pub(crate) bits: [u32; BOOKS],
}

impl BandCost {
    /// More bits than any frame has.
    pub(crate) const NEVER: u32 = 1 << 20;

    /// Whether the book can code the band.
    #[cfg(test)]
    pub(crate) fn fits(&self, book: usize) -> bool {
        self.bits[book] < Self::NEVER
    }

    fn new(row: &Row, first_book: usize) -> Self {
        let mut bits = [Self::NEVER; BOOKS];
        for book in first_book..BOOKS {
            bits[book] = u32::from(row[book]);
        }
        Self { bits }
    }
}

/// Costs in all codebooks, with the bits of signs.
struct Tables {
    /// Four values within -1..=1: index 27 a + 9 b + 3 c + d + 40. All books.
    ones: [Row; 81],
    /// Four magnitudes within 0..=2: index 27 a + 9 b + 3 c + d. Books 3 and 4.
    twos: [Row; 81],
    /// Two values within -4..=4: index 9 a + b + 40. Books 5 to 11.
    fours: [Row; 81],
    /// Two magnitudes within 0..=16: index 17 a + b. Books 7 to 11 where they fit.
    pairs: [Row; 289],
}

static TABLES: LazyLock<Box<Tables>> = LazyLock::new(|| {
    let signed_digits =
        |index: usize| -> [i32; 4] { [27, 9, 3, 1].map(|place| (index / place % 3) as i32 - 1) };
    let pair_row = |a: i32, b: i32| row(5, &[a, b]);
    Box::new(Tables {
        ones: core::array::from_fn(|index| {
            let [a, b, c, d] = signed_digits(index);
            let mut sum = row(1, &[a, b, c, d]);
            add(&mut sum, &pair_row(a, b));
            add(&mut sum, &pair_row(c, d));
            sum
        }),
        twos: core::array::from_fn(|index| row(3, &signed_digits(index).map(|digit| digit + 1))),
        fours: core::array::from_fn(|index| pair_row(index as i32 / 9 - 4, index as i32 % 9 - 4)),
        pairs: core::array::from_fn(|index| pair_row(index as i32 / 17, index as i32 % 17)),
    })
});

/// Bits of a codeword for `values` in all books from `first_book` on that take as many values.
fn row(first_book: usize, values: &[i32]) -> Row {
    let mut row = [0; LANES];
    for (number, book) in (1..).zip(&SPECTRUM_BOOKS) {
        let fits = values.iter().all(|value| value.abs() <= LARGEST[number]);
        if number < first_book || book.values != values.len() || !fits {
            continue;
        }
        let mut index = 0;
        let mut bits = 0;
        for value in values {
            let digit = if book.signed { *value } else { value.abs() };
            index = index * book.radix + (digit + book.offset) as usize;
            bits += u16::from(!book.signed && *value != 0);
        }
        row[number] = bits + u16::from(book.lengths[index]);
    }
    row
}

#[inline]
fn add(sum: &mut Row, row: &Row) {
    for (sum, bits) in sum.iter_mut().zip(row) {
        *sum += bits;
    }
}

/// What a band costs. Its length is a multiple of four and at most that of a frame.
pub(crate) fn band_cost(lines: &[i16]) -> BandCost {
    let largest = lines.iter().fold(0, |most, value| value.abs().max(most));
    let tables = &**TABLES;
    let mut sum = [0; LANES];
    let first_book = match largest {
        0 => return zeros_cost(lines.len()),
        1 => {
            for value in lines.as_chunks::<4>().0 {
                let [a, b, c, d] = value.map(i32::from);
                add(
                    &mut sum,
                    &tables.ones[(27 * a + 9 * b + 3 * c + d + 40) as usize],
                );
            }
            1
        }
        2 => {
            for value in lines.as_chunks::<4>().0 {
                let [a, b, c, d] = value.map(i32::from);
                let magnitudes = 27 * a.abs() + 9 * b.abs() + 3 * c.abs() + d.abs();
                add(&mut sum, &tables.twos[magnitudes as usize]);
                add(&mut sum, &tables.fours[(9 * a + b + 40) as usize]);
                add(&mut sum, &tables.fours[(9 * c + d + 40) as usize]);
            }
            3
        }
        3..=4 => {
            for value in lines.as_chunks::<2>().0 {
                let [a, b] = value.map(i32::from);
                add(&mut sum, &tables.fours[(9 * a + b + 40) as usize]);
            }
            5
        }
        5..=16 => {
            for value in lines.as_chunks::<2>().0 {
                let [a, b] = value.map(|value| usize::from(value.unsigned_abs()));
                add(&mut sum, &tables.pairs[17 * a + b]);
            }
            sum[ESCAPE_BOOK] += escape_bits(lines);
            match largest {
                5..=7 => 7,
                8..=12 => 9,
                _ => ESCAPE_BOOK,
            }
        }
        _ => {
            for value in lines.as_chunks::<2>().0 {
                let [a, b] = value.map(|value| usize::from(value.unsigned_abs().min(16)));
                sum[ESCAPE_BOOK] += tables.pairs[17 * a + b][ESCAPE_BOOK];
            }
            sum[ESCAPE_BOOK] += escape_bits(lines);
            ESCAPE_BOOK
        }
    };
    BandCost::new(&sum, first_book)
}

/// What a band of zeros costs in every codebook.
pub(crate) fn zeros_cost(lines: usize) -> BandCost {
    let quads = (lines / 4) as u16;
    let mut sum = TABLES.ones[40];
    for bits in &mut sum {
        *bits *= quads;
    }
    BandCost::new(&sum, 0)
}

/// Bits of the escape sequences of all values.
fn escape_bits(lines: &[i16]) -> u16 {
    let mut bits = 0;
    for value in lines {
        let magnitude = value.unsigned_abs();
        if magnitude >= 16 {
            bits += 2 * magnitude.ilog2() as u16 - 3;
        }
    }
    bits
}
