//! Which codebook each band is coded in: neighbours in the same book share a section (ISO/IEC
//! 14496-3, 4.6.3.2), so that a band may be cheaper in a book that is not its own best.

use crate::bands::{LONG_BANDS, Layout};
use crate::channel::CodedChannel;
use crate::huffman::{BOOKS, BandCost, ZERO_BOOK, band_cost, scale_factor_bits};

/// Bits of a section's codebook number.
const BOOK_BITS: u32 = 4;

/// Bits of a section's length field (ISO/IEC 14496-3, Table 4.52, sect_esc_val).
pub(crate) fn length_bits(layout: &Layout) -> u32 {
    if layout.is_short() { 3 } else { 5 }
}

/// Chooses the books of all bands and gives the bits of section data, scale factors and lines.
pub(crate) fn choose_books(channel: &mut CodedChannel, layout: &Layout) -> u32 {
    let mut bits = 0;
    for group in 0..layout.grouping.count {
        bits += choose_group(channel, layout, group * layout.max_sfb);
    }
    bits + spread_scale_factors(channel, layout)
}

/// The cheapest way through one group, by dynamic programming over bands and books.
fn choose_group(channel: &mut CodedChannel, layout: &Layout, first: usize) -> u32 {
    let header = BOOK_BITS + length_bits(layout);
    let bands = layout.max_sfb;
    // Bits up to the band before, for each book that it may have.
    let mut totals = [BandCost::NEVER; BOOKS];
    let mut cheapest = 0;
    // For each band: the best book of the band before it, and which books start a section here.
    let mut trace = [(0_u8, 0_u16); LONG_BANDS];
    let mut cheapest_book = 0;
    for (index, trace) in trace[..bands].iter_mut().enumerate() {
        let band = first + index;
        let cost = if channel.scale_factors[band] == CodedChannel::NO_SCALE_FACTOR {
            zeros_with_scale_factor(layout.range(band).len())
        } else {
            let cost = band_cost(&channel.quantised[layout.range(band)]);
            if cost.bits[usize::from(ZERO_BOOK)] == 0 {
                channel.scale_factors[band] = CodedChannel::NO_SCALE_FACTOR;
                zeros_with_scale_factor(layout.range(band).len())
            } else {
                cost
            }
        };
        let started = cheapest + header;
        let mut starts = 0;
        for (book, total) in totals.iter_mut().enumerate() {
            let starts_here = started < *total;
            starts |= u16::from(starts_here) << book;
            *total = started.min(*total) + cost.bits[book];
        }
        *trace = (cheapest_book, starts);
        (cheapest, cheapest_book) = least(&totals);
    }
    let mut book = cheapest_book;
    for (index, (before, starts)) in trace[..bands].iter().enumerate().rev() {
        channel.books[first + index] = book;
        if starts >> book & 1 == 1 {
            book = *before;
        }
    }
    cheapest + long_section_bits(&channel.books[first..first + bands], layout)
}

/// What the search leaves out: further length fields of sections that are too long for one.
fn long_section_bits(books: &[u8], layout: &Layout) -> u32 {
    let field = length_bits(layout);
    let escape = (1 << field) - 1;
    let more = |section: &[u8]| section.len() as u32 / escape * field;
    books.chunk_by(|a, b| a == b).map(more).sum()
}

/// The least of all, and which it is.
fn least(totals: &[u32; BOOKS]) -> (u32, u8) {
    let keyed = (0_u32..).zip(totals).map(|(book, total)| total << 4 | book);
    let least = keyed.min().unwrap_or_default();
    (least >> 4, (least & 15) as u8)
}

/// Zeros in any other book than that of zeros need a scale factor too: the same as the band
/// before, which is one bit.
fn zeros_with_scale_factor(lines: usize) -> BandCost {
    let mut cost = crate::huffman::zeros_cost(lines);
    for bits in &mut cost.bits[1..] {
        *bits += 1;
    }
    cost
}

/// Gives bands of zeros that are in a section of another book the scale factor of the band before
/// them, and counts the bits of all scale factors.
fn spread_scale_factors(channel: &mut CodedChannel, layout: &Layout) -> u32 {
    let books = &channel.books[..layout.bands];
    let scale_factors = &mut channel.scale_factors[..layout.bands];
    let mut previous = first_scale_factor(scale_factors);
    let mut bits = 0;
    for (scale_factor, book) in scale_factors.iter_mut().zip(books) {
        if *book == ZERO_BOOK {
            continue;
        }
        if *scale_factor == CodedChannel::NO_SCALE_FACTOR {
            // The bit of no difference was counted with its lines.
            *scale_factor = previous;
            continue;
        }
        bits += scale_factor_bits(i32::from(*scale_factor - previous));
        previous = *scale_factor;
    }
    bits
}

/// The scale factor that global_gain carries: that of the first band that has one.
pub(crate) fn first_scale_factor(scale_factors: &[i16]) -> i16 {
    let coded = |scale_factor: &&i16| **scale_factor != CodedChannel::NO_SCALE_FACTOR;
    scale_factors.iter().find(coded).copied().unwrap_or(0)
}
