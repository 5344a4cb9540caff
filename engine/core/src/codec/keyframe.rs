//! Whether a decoder can begin at a frame of VP8, VP9 or AV1, told by its first bytes. Such frames
//! are never looked at any closer here: they are decoded and encoded anew elsewhere. For H.264 see
//! [`h264`](crate::h264).

use shardcast_link::VideoCodec;

use crate::codec::h264::{NalType, nal_type};

/// `obu_type` of a sequence header, which stands before every keyframe (AV1 specification, 6.2.2).
const OBU_SEQUENCE_HEADER: u8 = 1;
/// OBUs of one frame that are looked at; real ones have three or four.
const OBUS_MAX: usize = 32;
/// `start_code` of a VP8 keyframe (RFC 6386, 9.1).
const VP8_START_CODE: [u8; 3] = [0x9D, 0x01, 0x2A];
/// `frame_marker` of VP9 (bitstream specification, 6.2).
const VP9_FRAME_MARKER: u8 = 0b10;

/// Whether decoding can begin with this access unit. H.264 comes as NAL units behind lengths of four
/// bytes, the others as RTP carries them. What is damaged is no keyframe.
pub fn is_keyframe(codec: VideoCodec, unit: &[u8]) -> bool {
    match codec {
        VideoCodec::H264 => h264(unit),
        VideoCodec::Vp8 => vp8(unit),
        VideoCodec::Vp9 => vp9(unit),
        VideoCodec::Av1 => av1(unit),
    }
}

fn h264(mut unit: &[u8]) -> bool {
    while let Some((length, rest)) = unit.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((nal, rest)) = rest.split_at_checked(length) else {
            return false;
        };
        if nal_type(nal) == Some(NalType::Idr) {
            return true;
        }
        unit = rest;
    }
    false
}

/// The lowest bit of a frame tag is 0 for a keyframe.
fn vp8(frame: &[u8]) -> bool {
    matches!(frame, [tag, _, _, a, b, c, ..] if tag & 1 == 0 && [*a, *b, *c] == VP8_START_CODE)
}

fn vp9(frame: &[u8]) -> bool {
    let Some(&first) = frame.first() else {
        return false;
    };
    let mut bits = (0..8).rev().map(|bit| first >> bit & 1);
    let mut next = || bits.next().unwrap_or(1);
    let marker = next() << 1 | next();
    let profile = next() | next() << 1;
    if profile == 3 {
        next(); // reserved_zero
    }
    let show_existing_frame = next() == 1;
    let frame_type = next();
    marker == VP9_FRAME_MARKER && !show_existing_frame && frame_type == 0
}

fn av1(unit: &[u8]) -> bool {
    sequence_header(unit).is_some()
}

/// What stands in the sequence header OBU of a temporal unit of AV1, if it has one and is not cut
/// off in front of it.
pub(crate) fn sequence_header(mut unit: &[u8]) -> Option<&[u8]> {
    for _ in 0..OBUS_MAX {
        let (&header, rest) = unit.split_first()?;
        let rest = if header & 0b100 == 0 {
            rest
        } else {
            rest.get(1..).unwrap_or_default()
        };
        // Without a size it is the last one.
        let (size, rest) = match header & 0b10 {
            0 => (rest.len(), rest),
            _ => leb128(rest).unwrap_or_default(),
        };
        if header >> 3 & 0xF == OBU_SEQUENCE_HEADER {
            return Some(rest.get(..size).unwrap_or(rest));
        }
        unit = rest.get(size..).unwrap_or_default();
    }
    None
}

/// A number in groups of seven bits (AV1 specification, 4.10.5), and what comes behind it.
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(4) {
        value |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(index + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyframes_are_told_from_others_by_their_first_bytes() {
        let cases: [(VideoCodec, &[u8], bool); 14] = [
            (VideoCodec::H264, &[0, 0, 0, 2, 0x65, 1], true),
            (
                VideoCodec::H264,
                &[0, 0, 0, 2, 6, 1, 0, 0, 0, 1, 0x65],
                true,
            ),
            (VideoCodec::H264, &[0, 0, 0, 2, 0x41, 1], false),
            (VideoCodec::H264, &[0, 0, 0, 9, 0x65, 1], false),
            (VideoCodec::Vp8, &[0x10, 2, 0, 0x9D, 1, 0x2A, 0, 5], true),
            (VideoCodec::Vp8, &[0x11, 2, 0, 0x9D, 1, 0x2A, 0, 5], false),
            (VideoCodec::Vp8, &[0x10, 2, 0, 1, 1, 1, 0, 5], false),
            // 10, profile 0, not an existing frame, keyframe, shown.
            (VideoCodec::Vp9, &[0b1000_0010, 0x49], true),
            (VideoCodec::Vp9, &[0b1000_0110, 0x49], false),
            (VideoCodec::Vp9, &[0b1000_1000], false),
            // Temporal delimiter, then a sequence header of one byte.
            (VideoCodec::Av1, &[0x12, 0, 0x0A, 1, 0], true),
            (VideoCodec::Av1, &[0x12, 0, 0x32, 1, 0], false),
            (VideoCodec::Av1, &[0x32, 0xFF, 0xFF, 0xFF, 0xFF], false),
            (VideoCodec::Av1, &[], false),
        ];
        for (codec, unit, key) in cases {
            assert_eq!(is_keyframe(codec, unit), key, "{codec:?} {unit:?}");
        }
    }
}
