//! Pictures that no encoder makes: cut off, with bits turned over, of absurd or ever-changing size,
//! of another codec, or none at all; and good ones among them, so that decoders get into work.
//!
//! What carries them is valid: damage of the transport is another matter, and a packetiser would
//! refuse to send it. So NAL units and OBUs stay what they are outside, and are spoilt inside.

mod absurd;
mod parts;

use std::sync::Arc;

use rand::{Rng, SeedableRng, rngs::StdRng};
use shardcast_link::VideoCodec;

use crate::clip::Clip;

/// A deed lasts at most so many pictures. Decoders that gave up get into work again meanwhile.
const DEED_FRAMES_MAX: u32 = 12;
/// Bytes of a picture of nothing but garbage.
const GARBAGE_BYTES_MAX: usize = 4_000;

/// What a hostile publisher needs.
#[derive(Clone, Debug)]
pub struct Hostility {
    /// Decides everything: the same seed, the same pictures.
    pub seed: u64,
    /// Clips of the same codec in other sizes: for another size with each picture.
    pub sizes: Vec<Arc<Clip>>,
    /// A clip of another codec.
    pub foreign: Option<Arc<Clip>>,
}

/// What is done to a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Honest,
    CutOff,
    BitsTurned,
    AbsurdSize,
    OtherSizeEach,
    Garbage,
    Foreign,
    Nothing,
}

const DEEDS: [Deed; 8] = [
    Deed::Honest,
    Deed::CutOff,
    Deed::BitsTurned,
    Deed::AbsurdSize,
    Deed::OtherSizeEach,
    Deed::Garbage,
    Deed::Foreign,
    Deed::Nothing,
];

/// Spoils the pictures of one publisher.
#[derive(Debug)]
pub(super) struct Spoiler {
    codec: VideoCodec,
    hostility: Hostility,
    random: StdRng,
    deed: Deed,
    frames_left: u32,
    frames: usize,
}

impl Spoiler {
    pub(super) fn new(codec: VideoCodec, hostility: Hostility) -> Self {
        Self {
            codec,
            random: StdRng::seed_from_u64(hostility.seed),
            hostility,
            deed: Deed::Honest,
            // The server is to be in the middle of its work before anything goes wrong.
            frames_left: 2 * DEED_FRAMES_MAX,
            frames: 0,
        }
    }

    /// What is sent in place of this picture. Never empty.
    pub(super) fn spoil(&mut self, honest: Vec<u8>, key: bool) -> Vec<u8> {
        self.frames += 1;
        self.frames_left = match self.frames_left.checked_sub(1) {
            Some(left) => left,
            None => {
                let choice = self.random.random_range(0..DEEDS.len());
                self.deed = DEEDS.get(choice).copied().unwrap_or(Deed::Honest);
                self.random.random_range(0..DEED_FRAMES_MAX)
            }
        };
        // A decoder that never gets a keyframe is never tried.
        if key && self.deed != Deed::AbsurdSize && self.random.random_bool(0.5) {
            return honest;
        }
        let spoilt = self.do_deed(&honest);
        if spoilt.is_empty() { honest } else { spoilt }
    }

    fn do_deed(&mut self, honest: &[u8]) -> Vec<u8> {
        let codec = self.codec;
        match self.deed {
            Deed::Honest => Vec::new(),
            Deed::CutOff => {
                let mut parts = parts::cut(codec, honest);
                if let Some(last) = parts.last_mut() {
                    // A NAL unit of one byte ends the session at the receiver's packet layer, and
                    // nothing more would get to its decoder.
                    let left = self.random.random_range(2..=last.len().max(2));
                    last.truncate(left);
                }
                parts::join(codec, parts)
            }
            Deed::BitsTurned => {
                let mut parts = parts::cut(codec, honest);
                for part in &mut parts {
                    self.turn_bits(part);
                }
                parts::join(codec, parts)
            }
            Deed::AbsurdSize => absurd::size(codec, honest, &mut self.random),
            Deed::OtherSizeEach => self.other_size(),
            Deed::Garbage => {
                let length = self.random.random_range(1..GARBAGE_BYTES_MAX);
                parts::join(codec, vec![self.garbage(length)])
            }
            Deed::Foreign => {
                let foreign = self.hostility.foreign.as_ref();
                let picture = foreign.and_then(|clip| clip.keyframe(self.frames));
                let part = picture.map(|picture| self.disguised(&picture));
                parts::join(codec, part.into_iter().collect())
            }
            Deed::Nothing => parts::join(codec, vec![self.garbage(1)]),
        }
    }

    /// Some bits, anywhere but in the header, which says what the part is.
    fn turn_bits(&mut self, part: &mut [u8]) {
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
        let sizes = &self.hostility.sizes;
        let clip = sizes.get(self.frames % sizes.len().max(1));
        clip.and_then(|clip| clip.keyframe(self.frames))
            .unwrap_or_default()
    }

    fn garbage(&mut self, length: usize) -> Vec<u8> {
        let garbage: Vec<u8> = (0..length).map(|_| self.random.random()).collect();
        self.disguised(&garbage)
    }

    /// Behind the header of a picture where the codec has one.
    fn disguised(&mut self, bytes: &[u8]) -> Vec<u8> {
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
    use crate::clip::ClipFormat;

    #[test]
    fn every_deed_gives_something_and_the_same_seed_the_same() {
        for codec in VideoCodec::ALL {
            let format = ClipFormat {
                codec,
                ..ClipFormat::small()
            };
            let clip = Clip::load(format).unwrap();
            let honest = clip.keyframe(0).unwrap();
            let hostility = Hostility {
                seed: 7,
                sizes: vec![Arc::clone(&clip)],
                foreign: Some(Arc::clone(&clip)),
            };
            let mut one = Spoiler::new(codec, hostility.clone());
            let mut other = Spoiler::new(codec, hostility);
            let mut changed = 0;
            for _ in 0..500 {
                let spoilt = one.spoil(honest.clone(), false);
                assert!(!spoilt.is_empty());
                assert_eq!(spoilt, other.spoil(honest.clone(), false));
                changed += usize::from(spoilt != honest);
            }
            assert!(changed > 250, "{changed} of 500 {codec:?} were changed");
        }
    }
}
