//! Whether a decoder can begin with an access unit, as far as its first bytes tell.
//!
//! Only headers are looked at, and nothing is believed of them but this: a unit that is wrongly
//! taken for a keyframe costs an error of the decoder.

use shardcast_core::h264::{NalType, nal_type};
use shardcast_link::VideoCodec;

/// Bytes of the length before each NAL unit.
const LENGTH_BYTES: usize = 4;

/// Type of an AV1 sequence header (AV1 specification §6.2.2).
const OBU_SEQUENCE_HEADER: u8 = 1;

/// Whether decoding can begin with this unit.
pub(super) fn is_keyframe(codec: VideoCodec, unit: &[u8]) -> bool {
    match codec {
        VideoCodec::H264 => has_idr(unit),
        // RFC 6386 §9.1: the lowest bit of the frame tag is set for interframes.
        VideoCodec::Vp8 => unit.first().is_some_and(|tag| tag & 1 == 0),
        VideoCodec::Vp9 => unit.first().is_some_and(|&byte| is_vp9_key(byte)),
        VideoCodec::Av1 => has_sequence_header(unit),
    }
}

fn has_idr(mut unit: &[u8]) -> bool {
    while let Some((length, rest)) = unit.split_first_chunk::<LENGTH_BYTES>() {
        let length = u32::from_be_bytes(*length) as usize;
        match nal_type(rest) {
            Some(NalType::Idr) => return true,
            // The slices of a picture are of one kind.
            Some(NalType::Slice) => return false,
            _ => unit = rest.get(length..).unwrap_or_default(),
        }
    }
    false
}

/// The first byte of the uncompressed header (VP9 bitstream specification §6.2): two bits of
/// marker, the profile with a reserved bit behind profile 3, `show_existing_frame`, `frame_type`.
fn is_vp9_key(byte: u8) -> bool {
    let profile_3 = byte & 0b0011_0000 == 0b0011_0000;
    let header = if profile_3 { byte << 1 } else { byte };
    let shows_existing = header & 0b0000_1000 != 0;
    let interframe = header & 0b0000_0100 != 0;
    byte >> 6 == 0b10 && !shows_existing && !interframe
}

/// Encoders put a sequence header before each keyframe, and nowhere else (AV1 specification §7.5).
fn has_sequence_header(mut unit: &[u8]) -> bool {
    while let Some((&header, rest)) = unit.split_first() {
        if header >> 3 & 0b1111 == OBU_SEQUENCE_HEADER {
            return true;
        }
        let (extended, sized) = (header & 0b100 != 0, header & 0b10 != 0);
        let rest = rest.get(usize::from(extended)..).unwrap_or_default();
        // Without a size it is the last one.
        let Some((size, rest)) = leb128(rest).filter(|_| sized) else {
            return false;
        };
        unit = rest.get(size..).unwrap_or_default();
    }
    false
}

/// A number of at most eight bytes (AV1 specification §4.10.5), and what follows it.
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(8) {
        value |= u64::from(byte & 0x7F) << (index * 7);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, bytes.get(index + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nals(nals: &[&[u8]]) -> Vec<u8> {
        let mut unit = Vec::new();
        for nal in nals {
            unit.extend(u32::try_from(nal.len()).unwrap().to_be_bytes());
            unit.extend_from_slice(nal);
        }
        unit
    }

    #[test]
    fn h264_begins_at_an_idr_whatever_is_before_its_slices() {
        let is = |unit: &[u8]| is_keyframe(VideoCodec::H264, unit);
        assert!(is(&nals(&[&[0x65, 1, 2]])));
        assert!(is(&nals(&[&[0x06, 5, 5, 5], &[0x67], &[0x68], &[0x65, 1]])));
        assert!(!is(&nals(&[&[0x06, 5], &[0x41, 1, 2], &[0x65]])));
        assert!(!is(&[]) && !is(&[0, 0, 0, 9, 6, 1]) && !is(&[0xFF, 0xFF, 0xFF, 0xFF, 6, 1]));
    }

    #[test]
    fn the_first_byte_of_vp8_and_vp9_tells() {
        assert!(is_keyframe(VideoCodec::Vp8, &[0x10, 2]));
        assert!(!is_keyframe(VideoCodec::Vp8, &[0x11, 2]) && !is_keyframe(VideoCodec::Vp8, &[]));
        let is = |byte: u8| is_keyframe(VideoCodec::Vp9, &[byte]);
        assert!(is(0b1000_0000) && is(0b1000_0010) && is(0b1001_0000));
        assert!(!is(0b1000_0100), "an interframe");
        assert!(!is(0b1000_1000), "an earlier frame shown again");
        assert!(!is(0b0000_0000), "no marker");
        assert!(
            is(0b1011_0000) && !is(0b1011_0010),
            "profile 3 has a bit more"
        );
    }

    #[test]
    fn av1_begins_where_a_sequence_header_is() {
        let is = |unit: &[u8]| is_keyframe(VideoCodec::Av1, unit);
        let (delimiter, frame) = ([0x12, 0], [0x32, 2, 9, 9]);
        assert!(is(&[&[0x0A, 1, 7][..], &frame].concat()));
        assert!(is(&[&delimiter[..], &[0x0A, 1, 7], &frame].concat()));
        assert!(!is(&[&delimiter[..], &frame].concat()));
        assert!(
            !is(&[0x30, 0x0A, 1]),
            "an OBU without a size goes to the end"
        );
        assert!(
            is(&[0x36, 0x20, 1, 9, 0x0E, 0x20, 1, 7]),
            "with an extension byte"
        );
        assert!(!is(&[
            0x32, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1
        ]));
    }
}
