//! The raw data block (ISO/IEC 14496-3, 4.4.2): one channel pair element, fill, end.

use crate::bands::{Layout, WindowSequence};
use crate::bitstream::BitWriter;
use crate::channel::CodedChannel;
use crate::huffman::{ZERO_BOOK, put_lines, put_scale_factor};
use crate::scale_factors::SCALE_FACTOR_OFFSET;
use crate::sections::{first_scale_factor, length_bits};
use crate::stereo::MidSide;
use crate::window;

/// Identifiers of syntactic elements (ISO/IEC 14496-3, Table 4.85).
const ID_CPE: u32 = 1;
const ID_FIL: u32 = 6;
const ID_END: u32 = 7;
const ID_BITS: u32 = 3;
/// The smallest fill element.
const FILL_BITS: u32 = 7;
/// The most bytes that one fill element takes: an escape of 255, which counts from 15.
const FILL_BYTES_MAX: u32 = 270;

/// The channels of a frame.
#[derive(Debug)]
pub(crate) enum Pair<'a> {
    /// No line at all in either channel.
    Silence,
    /// Both channels are this one.
    Mono(&'a CodedChannel),
    /// Left and right, or mid and side where it says so.
    Stereo(&'a [CodedChannel; 2], &'a MidSide),
}

/// Bits of everything but section data, scale factors and lines.
pub(crate) fn side_bits(layout: &Layout, pair: &Pair<'_>) -> u32 {
    let info = if layout.is_short() { 15 } else { 11 };
    let mask = match pair {
        Pair::Stereo(_, mid_side) if mask_is_written(layout, mid_side) => layout.bands as u32,
        _ => 0,
    };
    // A channel without books still has sections of zeros to name.
    let empty = match pair {
        Pair::Mono(_) => empty_section_bits(layout),
        _ => 0,
    };
    (ID_BITS + 4) + 1 + info + 2 + mask + 2 * (8 + 3) + empty + ID_BITS
}

fn empty_section_bits(layout: &Layout) -> u32 {
    let field = length_bits(layout);
    let escape = (1 << field) - 1;
    let fields = layout.max_sfb as u32 / escape + 1;
    layout.grouping.count as u32 * (4 + fields * field)
}

/// Whether ms_used has to say band by band which are mid and side.
fn mask_is_written(layout: &Layout, mid_side: &MidSide) -> bool {
    (1..layout.bands).contains(&mid_side.count)
}

/// Appends a raw data block of at least `least` bits, filled up if need be, and says how many bits
/// it has.
pub(crate) fn write(out: &mut Vec<u8>, layout: &Layout, pair: &Pair<'_>, least: u32) -> u32 {
    let mut writer = BitWriter::new(out);
    writer.put(ID_CPE, ID_BITS);
    writer.put(0, 4); // element_instance_tag
    writer.put(1, 1); // common_window
    let silent = matches!(pair, Pair::Silence);
    write_info(&mut writer, layout, if silent { 0 } else { layout.max_sfb });
    match pair {
        Pair::Silence => {
            writer.put(0, 2);
            write_empty(&mut writer, layout, 0);
            write_empty(&mut writer, layout, 0);
        }
        Pair::Mono(channel) => {
            writer.put(2, 2);
            write_channel(&mut writer, layout, channel);
            write_empty(&mut writer, layout, layout.max_sfb);
        }
        Pair::Stereo(channels, mid_side) => {
            write_mask(&mut writer, layout, mid_side);
            for channel in *channels {
                write_channel(&mut writer, layout, channel);
            }
        }
    }
    fill(&mut writer, least);
    writer.put(ID_END, ID_BITS);
    let bits = writer.bits().next_multiple_of(8) as u32;
    writer.finish();
    bits
}

/// ics_info() of both channels.
fn write_info(writer: &mut BitWriter<'_>, layout: &Layout, max_sfb: usize) {
    writer.put(0, 1); // ics_reserved_bit
    writer.put(layout.sequence as u32, 2);
    writer.put(window::shape_bit(layout.sequence), 1);
    if layout.sequence == WindowSequence::EightShort {
        writer.put(max_sfb as u32, 4);
        // scale_factor_grouping: a bit for each window after the first, set if it is in the group
        // of the window before.
        let mut bits = 0;
        for &windows in &layout.grouping.windows[..layout.grouping.count] {
            bits = bits << windows | ((1 << (windows - 1)) - 1);
        }
        writer.put(bits, 7);
    } else {
        writer.put(max_sfb as u32, 6);
        writer.put(0, 1); // predictor_data_present
    }
}

/// ms_mask_present and ms_used.
fn write_mask(writer: &mut BitWriter<'_>, layout: &Layout, mid_side: &MidSide) {
    if mask_is_written(layout, mid_side) {
        writer.put(1, 2);
        for used in &mid_side.bands[..layout.bands] {
            writer.put(u32::from(*used), 1);
        }
    } else {
        writer.put(if mid_side.count == 0 { 0 } else { 2 }, 2);
    }
}

/// individual_channel_stream() of a channel without lines.
fn write_empty(writer: &mut BitWriter<'_>, layout: &Layout, max_sfb: usize) {
    writer.put(0, 8); // global_gain
    if max_sfb > 0 {
        for _ in 0..layout.grouping.count {
            write_section(writer, layout, ZERO_BOOK, max_sfb);
        }
    }
    writer.put(0, 3); // no pulses, no noise shaping, no gain control
}

/// individual_channel_stream().
fn write_channel(writer: &mut BitWriter<'_>, layout: &Layout, channel: &CodedChannel) {
    let scale_factors = &channel.scale_factors[..layout.bands];
    let books = &channel.books[..layout.bands];
    let mut previous = first_scale_factor(scale_factors);
    writer.put((previous + SCALE_FACTOR_OFFSET) as u32, 8); // global_gain
    for group in books.chunks_exact(layout.max_sfb) {
        for section in group.chunk_by(|a, b| a == b) {
            write_section(writer, layout, section[0], section.len());
        }
    }
    for (scale_factor, book) in scale_factors.iter().zip(books) {
        if *book != ZERO_BOOK {
            put_scale_factor(writer, i32::from(scale_factor - previous));
            previous = *scale_factor;
        }
    }
    writer.put(0, 3); // no pulses, no noise shaping, no gain control
    for (band, book) in books.iter().enumerate() {
        put_lines(writer, *book, &channel.quantised[layout.range(band)]);
    }
}

/// One section of section_data().
fn write_section(writer: &mut BitWriter<'_>, layout: &Layout, book: u8, bands: usize) {
    let field = length_bits(layout);
    let escape = (1 << field) - 1;
    writer.put(u32::from(book), 4);
    let mut left = bands as u32;
    while left >= escape {
        writer.put(escape, field);
        left -= escape;
    }
    writer.put(left, field);
}

/// Fill elements up to `least` bits with the end (ISO/IEC 14496-3, 4.5.2.8).
fn fill(writer: &mut BitWriter<'_>, least: u32) {
    loop {
        let missing = least.saturating_sub(writer.bits() as u32 + ID_BITS);
        if missing < FILL_BITS {
            return;
        }
        let bytes = ((missing - FILL_BITS) / 8).min(FILL_BYTES_MAX);
        writer.put(ID_FIL, ID_BITS);
        writer.put(bytes.min(15), 4);
        if bytes < 15 {
            writer.put_zeros(bytes as usize);
        } else {
            // The byte with the escape is one of those that are filled.
            writer.put(bytes - 15, 8);
            writer.put_zeros(bytes as usize - 1);
        }
    }
}
