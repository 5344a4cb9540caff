//! Slice data in CABAC of a P slice that skips every macroblock (clause 9.3).
//!
//! Two decisions are coded for each macroblock: `mb_skip_flag`, always 1 and always in the same
//! context, since the neighbours are skipped or not there; and `end_of_slice_flag`. So this is an
//! arithmetic encoder with one context that only ever sees its more probable symbol.

use super::bits::BitWriter;

/// `cabac_init_idc` of the slice.
pub(super) const INIT_IDC: u32 = 0;

/// Slice QP that the context is set up for: from 22 on, "skipped" is the more probable symbol from
/// the first macroblock. A picture without residual is the same at any QP.
pub(super) const SLICE_QP: i32 = 26;

/// `pStateIdx` of `mb_skip_flag` at the beginning: ctxIdx 11 has m = 23 and n = 33 for
/// `cabac_init_idc` 0 (table 9-13), so preCtxState is (23 × 26 >> 4) + 33 = 70, which is valMPS 1
/// (clause 9.3.1.1).
const FIRST_STATE: usize = 70 - 64;

/// `rangeTabLPS` from [`FIRST_STATE`] to state 62, where a context that sees no other symbol stays
/// (table 9-44).
const RANGE_LPS: [[u32; 4]; 57] = [
    [105, 128, 152, 175],
    [100, 122, 144, 166],
    [95, 116, 137, 158],
    [90, 110, 130, 150],
    [85, 104, 123, 142],
    [81, 99, 117, 135],
    [77, 94, 111, 128],
    [73, 89, 105, 122],
    [69, 85, 100, 116],
    [66, 80, 95, 110],
    [62, 76, 90, 104],
    [59, 72, 86, 99],
    [56, 69, 81, 94],
    [53, 65, 77, 89],
    [51, 62, 73, 85],
    [48, 59, 69, 80],
    [46, 56, 66, 76],
    [43, 53, 63, 72],
    [41, 50, 59, 69],
    [39, 48, 56, 65],
    [37, 45, 54, 62],
    [35, 43, 51, 59],
    [33, 41, 48, 56],
    [32, 39, 46, 53],
    [30, 37, 43, 50],
    [29, 35, 41, 48],
    [27, 33, 39, 45],
    [26, 31, 37, 43],
    [24, 30, 35, 41],
    [23, 28, 33, 39],
    [22, 27, 32, 37],
    [21, 26, 30, 35],
    [20, 24, 29, 33],
    [19, 23, 27, 31],
    [18, 22, 26, 30],
    [17, 21, 25, 28],
    [16, 20, 23, 27],
    [15, 19, 22, 25],
    [14, 18, 21, 24],
    [14, 17, 20, 23],
    [13, 16, 19, 22],
    [12, 15, 18, 21],
    [12, 14, 17, 20],
    [11, 14, 16, 19],
    [11, 13, 15, 18],
    [10, 12, 15, 17],
    [10, 12, 14, 16],
    [9, 11, 13, 15],
    [9, 11, 12, 14],
    [8, 10, 12, 14],
    [8, 9, 11, 13],
    [7, 9, 11, 12],
    [7, 9, 10, 12],
    [7, 8, 10, 11],
    [6, 8, 9, 11],
    [6, 7, 9, 10],
    [6, 7, 8, 9],
];

/// The slice data for so many macroblocks, trailing bits included. It stands behind the alignment
/// bits of the header, so it is the same whatever the header says.
pub(super) fn slice_data(macroblocks: u32) -> Vec<u8> {
    let mut encoder = Encoder {
        low: 0,
        range: 510,
        outstanding: 0,
        first: true,
        out: BitWriter::default(),
    };
    let mut state = FIRST_STATE;
    for left in (0..macroblocks).rev() {
        encoder.more_probable(state);
        state = (state + 1).min(62);
        encoder.end_of_slice(left == 0);
    }
    encoder.out.align(false);
    encoder.out.into_bytes()
}

/// The encoder of clause 9.3.4.2.
struct Encoder {
    low: u32,
    range: u32,
    outstanding: u32,
    first: bool,
    out: BitWriter,
}

impl Encoder {
    fn more_probable(&mut self, state: usize) {
        let quarter = (self.range >> 6 & 3) as usize;
        let lps = RANGE_LPS
            .get(state - FIRST_STATE)
            .and_then(|row| row.get(quarter))
            .copied()
            .unwrap_or_default();
        self.range -= lps;
        self.renormalise();
    }

    /// `EncodeDecisionTerminate`, and at the end the flush, whose last bit is the stop bit.
    fn end_of_slice(&mut self, end: bool) {
        self.range -= 2;
        if !end {
            self.renormalise();
            return;
        }
        self.low += self.range;
        self.range = 2;
        self.renormalise();
        self.put(self.low >> 9 & 1 == 1);
        self.out.bits(self.low >> 7 & 3 | 1, 2);
    }

    fn renormalise(&mut self) {
        while self.range < 256 {
            if self.low < 256 {
                self.put(false);
            } else if self.low >= 512 {
                self.low -= 512;
                self.put(true);
            } else {
                self.low -= 256;
                self.outstanding += 1;
            }
            self.range <<= 1;
            self.low <<= 1;
        }
    }

    fn put(&mut self, bit: bool) {
        // The register has one bit more than the decoder's; it is never written.
        if self.first {
            self.first = false;
        } else {
            self.out.flag(bit);
        }
        while self.outstanding > 0 {
            self.out.flag(!bit);
            self.outstanding -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skipped_picture_of_3600_macroblocks_takes_a_few_dozen_bytes() {
        let data = slice_data(3_600);
        assert!((10..60).contains(&data.len()), "{} bytes", data.len());
        assert_ne!(data.last(), Some(&0));
    }
}
