//! The parts of a frame: NAL units, OBUs, or the frame itself.

use shardcast_core::h264::annex_b;
use shardcast_link::VideoCodec;

const START_CODE: [u8; 4] = [0, 0, 0, 1];
/// `obu_has_size_field` (AV1 specification, 5.3.2).
const OBU_HAS_SIZE: u8 = 0b10;

/// Splits a frame into parts, each with its header and without its length.
pub(super) fn cut(codec: VideoCodec, unit: &[u8]) -> Vec<Vec<u8>> {
    match codec {
        VideoCodec::H264 => annex_b(unit).map(<[u8]>::to_vec).collect(),
        VideoCodec::Av1 => obus(unit),
        VideoCodec::Vp8 | VideoCodec::Vp9 => vec![unit.to_vec()],
    }
}

/// Joins parts into a frame. Empty parts are left out.
pub(super) fn join(codec: VideoCodec, parts: Vec<Vec<u8>>) -> Vec<u8> {
    let mut unit = Vec::new();
    for part in parts {
        match (codec, part.split_first()) {
            (_, None) => {}
            (VideoCodec::H264, _) => {
                unit.extend_from_slice(&START_CODE);
                unit.extend_from_slice(&part);
            }
            (VideoCodec::Av1, Some((header, payload))) => {
                unit.push(header | OBU_HAS_SIZE);
                write_leb128(payload.len(), &mut unit);
                unit.extend_from_slice(payload);
            }
            (VideoCodec::Vp8 | VideoCodec::Vp9, _) => unit.extend_from_slice(&part),
        }
    }
    unit
}

/// Header bytes that make a receiver parse what follows.
pub(super) fn headers(codec: VideoCodec) -> &'static [u8] {
    match codec {
        // A slice, a slice of an IDR, SEI, SPS, PPS.
        VideoCodec::H264 => &[0x41, 0x65, 0x06, 0x67, 0x68],
        // A sequence header, a frame header, a tile group, a frame.
        VideoCodec::Av1 => &[1 << 3, 3 << 3, 4 << 3, 6 << 3],
        VideoCodec::Vp8 | VideoCodec::Vp9 => &[],
    }
}

/// Splits OBUs with size fields, as encoders write them; empty OBUs are left out.
fn obus(unit: &[u8]) -> Vec<Vec<u8>> {
    let mut obus = Vec::new();
    let mut rest = unit;
    while let Some((header, behind)) = rest.split_first() {
        let Some((length, behind)) = read_leb128(behind) else {
            break;
        };
        let Some((payload, behind)) = behind.split_at_checked(length) else {
            break;
        };
        if !payload.is_empty() {
            let mut obu = vec![*header];
            obu.extend_from_slice(payload);
            obus.push(obu);
        }
        rest = behind;
    }
    obus
}

/// AV1 specification, 4.10.5.
fn read_leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (n, byte) in bytes.iter().enumerate().take(4) {
        value |= usize::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(n + 1..)?));
        }
    }
    None
}

fn write_leb128(mut value: usize, out: &mut Vec<u8>) {
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clip::{TestClip, TestClipFormat};

    #[test]
    fn parts_that_were_cut_can_be_joined_again() {
        for codec in VideoCodec::ALL {
            let format = TestClipFormat {
                codec,
                ..TestClipFormat::small()
            };
            let unit = TestClip::load(format).unwrap().keyframe(0).unwrap();
            let parts = cut(codec, &unit);
            assert!(parts.iter().all(|part| !part.is_empty()), "{codec:?}");
            let joined = join(codec, parts.clone());
            assert_eq!(cut(codec, &joined), parts);
            // AV1 loses its temporal delimiter, which RTP does not carry.
            assert!(unit.ends_with(&joined), "{codec:?}");
        }
    }
}
