//! Corrupts video frames: truncates them, flips bits, declares huge or changing sizes, and sends
//! frames of another codec or garbage. Valid frames in between keep the decoders at work.
//!
//! The transport stays valid, because the packetiser would refuse anything else. NAL units and OBUs
//! therefore keep their headers and are corrupted inside.

mod oversize;
mod parts;

use std::sync::Arc;

use rand::{Rng, SeedableRng, rngs::StdRng};
use shardcast_link::VideoCodec;

use crate::test_clip::TestClip;

/// Longest run of frames with one corruption, short enough for decoders to recover in between.
const CORRUPTION_FRAMES_MAX: u32 = 12;
/// Largest frame of garbage in bytes.
const GARBAGE_BYTES_MAX: usize = 4_000;

/// Inputs of the corruptions.
#[derive(Clone, Debug)]
pub struct CorruptionOptions {
    /// Seed of all choices: the same seed gives the same frames.
    pub seed: u64,
    /// Test clips of the same codec in other sizes, for a size that changes with each frame.
    pub sizes: Vec<Arc<TestClip>>,
    /// A test clip of another codec.
    pub foreign: Option<Arc<TestClip>>,
}

/// A corruption of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Corruption {
    None,
    Truncated,
    BitFlips,
    HugeSize,
    ChangingSize,
    Garbage,
    ForeignCodec,
    HeaderOnly,
}

const CORRUPTIONS: [Corruption; 8] = [
    Corruption::None,
    Corruption::Truncated,
    Corruption::BitFlips,
    Corruption::HugeSize,
    Corruption::ChangingSize,
    Corruption::Garbage,
    Corruption::ForeignCodec,
    Corruption::HeaderOnly,
];

/// Corrupts the frames of one publisher.
#[derive(Debug)]
pub(super) struct FrameCorruptor {
    codec: VideoCodec,
    options: CorruptionOptions,
    random: StdRng,
    corruption: Corruption,
    frames_left: u32,
    frames: usize,
}

impl FrameCorruptor {
    pub(super) fn new(codec: VideoCodec, options: CorruptionOptions) -> Self {
        Self {
            codec,
            random: StdRng::seed_from_u64(options.seed),
            options,
            corruption: Corruption::None,
            // The server shall be decoding before the first corruption.
            frames_left: 2 * CORRUPTION_FRAMES_MAX,
            frames: 0,
        }
    }

    /// Returns the frame to send in place of `valid`; never empty.
    pub(super) fn corrupt(&mut self, valid: Vec<u8>, key: bool) -> Vec<u8> {
        self.frames += 1;
        self.frames_left = match self.frames_left.checked_sub(1) {
            Some(left) => left,
            None => {
                let choice = self.random.random_range(0..CORRUPTIONS.len());
                self.corruption = CORRUPTIONS.get(choice).copied().unwrap_or(Corruption::None);
                self.random.random_range(0..CORRUPTION_FRAMES_MAX)
            }
        };
        // A decoder needs a valid keyframe now and then, or it would never start to decode.
        if key && self.corruption != Corruption::HugeSize && self.random.random_bool(0.5) {
            return valid;
        }
        let corrupted = self.apply(&valid);
        if corrupted.is_empty() {
            valid
        } else {
            corrupted
        }
    }

    fn apply(&mut self, valid: &[u8]) -> Vec<u8> {
        let codec = self.codec;
        match self.corruption {
            Corruption::None => Vec::new(),
            Corruption::Truncated => {
                let mut parts = parts::cut(codec, valid);
                if let Some(last) = parts.last_mut() {
                    // A NAL unit of one byte ends the session in the receiver's depacketiser, and
                    // nothing more would reach its decoder.
                    let left = self.random.random_range(2..=last.len().max(2));
                    last.truncate(left);
                }
                parts::join(codec, parts)
            }
            Corruption::BitFlips => {
                let mut parts = parts::cut(codec, valid);
                for part in &mut parts {
                    self.flip_bits(part);
                }
                parts::join(codec, parts)
            }
            Corruption::HugeSize => oversize::size(codec, valid, &mut self.random),
            Corruption::ChangingSize => self.other_size(),
            Corruption::Garbage => {
                let length = self.random.random_range(1..GARBAGE_BYTES_MAX);
                parts::join(codec, vec![self.garbage(length)])
            }
            Corruption::ForeignCodec => {
                let foreign = self.options.foreign.as_ref();
                let frame = foreign.and_then(|clip| clip.keyframe(self.frames));
                let part = frame.map(|frame| self.with_header(&frame));
                parts::join(codec, part.into_iter().collect())
            }
            Corruption::HeaderOnly => parts::join(codec, vec![self.garbage(1)]),
        }
    }

    /// Flips up to seven bits outside the first byte, which is the header.
    fn flip_bits(&mut self, part: &mut [u8]) {
        for _ in 0..self.random.random_range(1..8) {
            let at = self.random.random_range(0..part.len().max(1));
            let bit = 1 << self.random.random_range(0..8);
            if let Some(byte) = part.get_mut(at).filter(|_| at > 0) {
                *byte ^= bit;
            }
        }
    }

    /// A keyframe of the next other size.
    fn other_size(&self) -> Vec<u8> {
        let sizes = &self.options.sizes;
        let clip = sizes.get(self.frames % sizes.len().max(1));
        clip.and_then(|clip| clip.keyframe(self.frames))
            .unwrap_or_default()
    }

    fn garbage(&mut self, length: usize) -> Vec<u8> {
        let garbage: Vec<u8> = (0..length).map(|_| self.random.random()).collect();
        self.with_header(&garbage)
    }

    /// Puts the bytes after a valid header where the codec has one.
    fn with_header(&mut self, bytes: &[u8]) -> Vec<u8> {
        let headers = parts::headers(self.codec);
        let choice = self.random.random_range(0..headers.len().max(1));
        let mut part: Vec<u8> = headers.get(choice).copied().into_iter().collect();
        part.extend_from_slice(bytes);
        part
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clip::TestClipFormat;

    #[test]
    fn every_corruption_gives_a_frame_and_the_same_seed_the_same_frames() {
        for codec in VideoCodec::ALL {
            let format = TestClipFormat {
                codec,
                ..TestClipFormat::small()
            };
            let clip = TestClip::load(format).unwrap();
            let valid = clip.keyframe(0).unwrap();
            let options = CorruptionOptions {
                seed: 7,
                sizes: vec![Arc::clone(&clip)],
                foreign: Some(Arc::clone(&clip)),
            };
            let mut one = FrameCorruptor::new(codec, options.clone());
            let mut other = FrameCorruptor::new(codec, options);
            let mut changed = 0;
            for _ in 0..500 {
                let corrupted = one.corrupt(valid.clone(), false);
                assert!(!corrupted.is_empty());
                assert_eq!(corrupted, other.corrupt(valid.clone(), false));
                changed += usize::from(corrupted != valid);
            }
            assert!(changed > 250, "{changed} of 500 {codec:?} were changed");
        }
    }
}
