//! Cuts the byte stream of x264 into pictures.

use bytes::Bytes;

use super::{ClipFormat, Picture, unexpected};
use crate::BenchError;

const SLICE: u8 = 1;
const IDR_SLICE: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;

/// What a clip keeps of the encoder's output.
pub(super) struct Split {
    pub(super) sps: Bytes,
    pub(super) pps: Bytes,
    pub(super) pictures: Vec<Vec<Picture>>,
}

/// Parameter sets, and the pictures of every phase.
pub(super) fn split(format: &ClipFormat, annex_b: Vec<u8>) -> Result<Split, BenchError> {
    let stream = Bytes::from(annex_b);
    let mut split = Split {
        sps: Bytes::new(),
        pps: Bytes::new(),
        pictures: Vec::new(),
    };
    for nal in nal_units(&stream) {
        match nal.first().map(|header| header & 0x1f) {
            Some(SPS) => split.sps = nal,
            Some(PPS) => split.pps = nal,
            Some(IDR_SLICE) => split.pictures.push(vec![Picture {
                data: nal,
                key: true,
            }]),
            Some(SLICE) => {
                if let Some(phase) = split.pictures.last_mut() {
                    phase.push(Picture {
                        data: nal,
                        key: false,
                    });
                }
            }
            _ => {}
        }
    }
    let whole = split
        .pictures
        .iter()
        .all(|phase| phase.len() == format.loop_frames() as usize);
    let phases = format.phases() as usize;
    if split.pictures.len() != phases || !whole || split.sps.is_empty() || split.pps.is_empty() {
        return Err(unexpected(format, split.pictures.len()));
    }
    Ok(split)
}

/// NAL units without start codes and trailing zeros (H.264 Annex B.1).
fn nal_units(stream: &Bytes) -> Vec<Bytes> {
    let mut starts = Vec::new();
    let mut at = 0;
    while let Some(window) = stream.get(at..at + 3) {
        at += match window {
            [0, 0, 1] => {
                starts.push(at);
                3
            }
            [_, _, 0 | 1] => 1,
            _ => 3,
        };
    }
    let ends = starts.iter().skip(1).copied().chain([stream.len()]);
    let unit = |(start, end): (&usize, usize)| {
        let nal = stream.slice(start + 3..end);
        let zeros = nal.iter().rev().take_while(|byte| **byte == 0).count();
        nal.slice(..nal.len() - zeros)
    };
    starts.iter().zip(ends).map(unit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_cut_at_start_codes_of_either_length() {
        let stream = Bytes::from_static(&[0, 0, 0, 1, 0x67, 9, 0, 0, 1, 0x68, 0, 7, 0, 0, 0, 1, 5]);
        let units = nal_units(&stream);
        assert_eq!(units, [&[0x67, 9][..], &[0x68, 0, 7], &[5]]);
        assert!(nal_units(&Bytes::from_static(&[1, 2, 3])).is_empty());
    }
}
