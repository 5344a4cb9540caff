//! Splits an IVF file, which ffmpeg writes for VP8, VP9 and AV1, into frames.
//!
//! A header of 32 bytes, then for each frame its length in four bytes, its time in eight bytes and its
//! data, little endian (<https://wiki.multimedia.cx/index.php/Duck_IVF>).

use bytes::Bytes;
use shardcast_core::is_keyframe;
use shardcast_link::VideoCodec;

use super::{EncodedFrame, TestClipFormat, unexpected};
use crate::BenchError;

const FILE_HEADER_BYTES: usize = 32;
const TIME_BYTES: usize = 8;

/// Splits the file into the frames of each phase.
pub(super) fn split(
    format: &TestClipFormat,
    file: Vec<u8>,
) -> Result<Vec<Vec<EncodedFrame>>, BenchError> {
    let frames = frames(&Bytes::from(file));
    let encoded: Vec<EncodedFrame> = frames
        .into_iter()
        .map(|data| EncodedFrame {
            key: is_keyframe(format.codec, &data),
            data,
        })
        .collect();
    let groups: Vec<Vec<EncodedFrame>> = encoded
        .chunks(format.loop_frames() as usize)
        .map(<[EncodedFrame]>::to_vec)
        .collect();
    // The encoder of VP9 adds a keyframe at each flash, in browsers too, so only the first is checked.
    let closed = |group: &Vec<EncodedFrame>| {
        let is_whole = group.len() == format.loop_frames() as usize;
        is_whole && group.first().is_some_and(|frame| frame.key)
    };
    if groups.len() != format.phases() as usize || !groups.iter().all(closed) {
        return Err(unexpected(
            format,
            groups.iter().filter(|g| closed(g)).count(),
        ));
    }
    Ok(groups)
}

/// All complete frames of the file.
fn frames(file: &Bytes) -> Vec<Bytes> {
    let mut frames = Vec::new();
    let mut at = FILE_HEADER_BYTES;
    while let Some((length, _)) = file.get(at..).and_then(<[u8]>::split_first_chunk::<4>) {
        let start = at + 4 + TIME_BYTES;
        let end = start + u32::from_le_bytes(*length) as usize;
        if end > file.len() {
            break;
        }
        frames.push(file.slice(start..end));
        at = end;
    }
    frames
}

/// Writes frames as an IVF file.
pub(super) fn file<'a>(
    format: &TestClipFormat,
    encoded: impl Iterator<Item = &'a EncodedFrame>,
) -> Vec<u8> {
    let four_letters = match format.codec {
        VideoCodec::H264 => b"H264",
        VideoCodec::Vp8 => b"VP80",
        VideoCodec::Vp9 => b"VP90",
        VideoCodec::Av1 => b"AV01",
    };
    let mut file = b"DKIF\0\0\x20\0".to_vec();
    file.extend_from_slice(four_letters);
    for side in [format.width, format.height] {
        // A side is at most `CLIP_SIDE_MAX`, which fits.
        file.extend_from_slice(&(side as u16).to_le_bytes());
    }
    file.extend_from_slice(&format.fps.to_le_bytes());
    file.extend_from_slice(&1_u32.to_le_bytes());
    // The number of frames, which readers ignore, and four unused bytes.
    file.extend_from_slice(&[0; 8]);
    for (time, frame) in (0_u64..).zip(encoded) {
        file.extend_from_slice(&(frame.data.len() as u32).to_le_bytes());
        file.extend_from_slice(&time.to_le_bytes());
        file.extend_from_slice(&frame.data);
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_is_split_into_the_same_frames() {
        let format = TestClipFormat::small();
        let encoded = [&b"one"[..], b"", b"three"].map(|data| EncodedFrame {
            data: Bytes::from_static(data),
            key: false,
        });
        let file = Bytes::from(file(&format, encoded.iter()));
        assert_eq!(frames(&file), [&b"one"[..], b"", b"three"]);
    }

    #[test]
    fn frames_are_split_by_their_lengths_and_a_truncated_one_is_left_out() {
        let mut file = vec![0; FILE_HEADER_BYTES];
        for frame in [&[1, 2, 3][..], &[], &[9]] {
            file.extend_from_slice(&(frame.len() as u32).to_le_bytes());
            file.extend_from_slice(&[7; TIME_BYTES]);
            file.extend_from_slice(frame);
        }
        file.extend_from_slice(&[5, 0, 0, 0, 0, 0]);
        assert_eq!(frames(&Bytes::from(file)), [&[1, 2, 3][..], &[], &[9]]);
        assert!(frames(&Bytes::from_static(b"DKIF")).is_empty());
    }
}
