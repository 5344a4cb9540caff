//! The spatial layers of one VP9 frame as a decoder takes them.

use std::sync::Arc;

use str0m::format::{CodecExtra, Vp9CodecExtra};

/// Frames of one superframe (VP9 bitstream specification, annex B: three bits).
const FRAMES_MAX: usize = 8;
/// Bytes of each size in the index.
const SIZE_BYTES: u8 = 4;

/// The frame as one unit for a decoder. RTP carries the layers of a frame one behind the other and
/// tells them apart by packets (RFC 9628, 4.2), which are gone here. A decoder goes by an index at the
/// end of the unit (annex B); without one it takes the lowest layer for the whole.
pub(super) fn with_index(frame: Arc<[u8]>, extra: &CodecExtra) -> Arc<[u8]> {
    let CodecExtra::Vp9(Vp9CodecExtra { layers_scheme, .. }) = extra else {
        return frame;
    };
    let mut sizes = Vec::with_capacity(layers_scheme.len());
    let mut begin = 0;
    for end in layers_scheme.iter().flatten() {
        let Some(size) = end.checked_sub(begin).filter(|_| *end <= frame.len()) else {
            return frame;
        };
        // A layer that was left out of the frame ends where it begins.
        if size > 0 {
            sizes.push(size);
        }
        begin = *end;
    }
    if begin != frame.len() || !(2..=FRAMES_MAX).contains(&sizes.len()) {
        return frame;
    }
    let marker = 0b1100_0000 | (SIZE_BYTES - 1) << 3 | (sizes.len() - 1) as u8;
    let mut unit = Vec::with_capacity(frame.len() + 2 + sizes.len() * usize::from(SIZE_BYTES));
    unit.extend_from_slice(&frame);
    unit.push(marker);
    for size in sizes {
        unit.extend_from_slice(&u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes());
    }
    unit.push(marker);
    unit.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indexed(frame: &[u8], ends: [Option<usize>; 3]) -> Vec<u8> {
        let extra = CodecExtra::Vp9(Vp9CodecExtra {
            layers_scheme: ends,
            ..Vp9CodecExtra::default()
        });
        with_index(frame.into(), &extra).to_vec()
    }

    #[test]
    fn the_layers_of_a_picture_are_told_apart_behind_them() {
        let frame = [7; 700];
        let unit = indexed(&frame, [Some(100), Some(400), Some(700)]);
        assert_eq!(unit[..700], frame);
        // Three frames, sizes of four bytes.
        let index = [
            0b1101_1010,
            100,
            0,
            0,
            0,
            44,
            1,
            0,
            0,
            44,
            1,
            0,
            0,
            0b1101_1010,
        ];
        assert_eq!(unit[700..], index);
        let unit = indexed(&frame, [Some(100), None, Some(700)]);
        assert_eq!(unit[700], 0b1101_1001);
    }

    #[test]
    fn a_picture_of_one_layer_and_one_whose_layers_are_not_known_stay_as_they_are() {
        let frame = [7; 700];
        for ends in [
            [None, None, None],
            [Some(700), None, None],
            [Some(0), Some(700), None],
            [Some(100), Some(600), None],
            [Some(100), Some(900), None],
            [Some(500), Some(100), Some(700)],
        ] {
            assert_eq!(indexed(&frame, ends), frame, "{ends:?}");
        }
        let unit = with_index(frame[..].into(), &CodecExtra::None);
        assert_eq!(*unit, frame);
    }
}
