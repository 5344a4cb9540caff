//! Splits the byte stream of x264 (H.264 annex B) into frames.

use bytes::Bytes;
use shardcast_core::h264::{NalType, annex_b, nal_type};

use super::{EncodedFrame, TestClipFormat, unexpected};
use crate::BenchError;

/// The parts of the encoder's output that a clip keeps.
pub(super) struct Split {
    pub(super) sps: Bytes,
    pub(super) pps: Bytes,
    pub(super) frames: Vec<Vec<EncodedFrame>>,
}

/// Splits the stream into parameter sets and the frames of each phase.
pub(super) fn split(format: &TestClipFormat, stream: Vec<u8>) -> Result<Split, BenchError> {
    let stream = Bytes::from(stream);
    let mut split = Split {
        sps: Bytes::new(),
        pps: Bytes::new(),
        frames: Vec::new(),
    };
    for nal in nal_units(&stream) {
        match nal_type(&nal) {
            Some(NalType::Sps) => split.sps = nal,
            Some(NalType::Pps) => split.pps = nal,
            Some(NalType::Idr) => split.frames.push(vec![EncodedFrame {
                data: nal,
                key: true,
            }]),
            Some(NalType::Slice) => {
                if let Some(phase) = split.frames.last_mut() {
                    phase.push(EncodedFrame {
                        data: nal,
                        key: false,
                    });
                }
            }
            _ => {}
        }
    }
    let whole = split
        .frames
        .iter()
        .all(|phase| phase.len() == format.loop_frames() as usize);
    let phases = format.phases() as usize;
    if split.frames.len() != phases || !whole || split.sps.is_empty() || split.pps.is_empty() {
        return Err(unexpected(format, split.frames.len()));
    }
    Ok(split)
}

/// The NAL units of the stream as slices of it, without copies.
fn nal_units(stream: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    annex_b(stream).map(|nal| stream.slice_ref(nal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_cut_at_start_codes_of_either_length() {
        let stream = Bytes::from_static(&[0, 0, 0, 1, 0x67, 9, 0, 0, 1, 0x68, 0, 7, 0, 0, 0, 1, 5]);
        let units: Vec<Bytes> = nal_units(&stream).collect();
        assert_eq!(units, [&[0x67, 9][..], &[0x68, 0, 7], &[5]]);
        assert_eq!(nal_units(&Bytes::from_static(&[1, 2, 3])).count(), 0);
    }
}
