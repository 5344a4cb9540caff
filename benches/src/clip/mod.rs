//! Two seconds of picture and sound, made once, from which publishers send forever.
//!
//! The picture is encoded many times over, each time beginning with an IDR at another place of the
//! loop. A publisher that is asked for a keyframe jumps to the encoding that begins where it is:
//! what it sends is a valid stream at any moment, as from a live encoder, at no cost.
//!
//! ```text
//! place in the loop   0 1 2 3 4 5 … 59
//! encoding 0          I P P P P P … P
//! encoding 1          P P I P P P … P      (begins at 2, ends at 1)
//! encoding 2          P P P P I P … P
//! ```
//!
//! At places 0 and half-way, once a second, the picture is white and the sound beeps for 50 ms.

mod cache;
mod sound;
mod video;

use std::sync::Arc;

use bytes::Bytes;

use crate::BenchError;
use crate::limits::{CLIP_FPS_MAX, CLIP_SIDE_MAX};

/// Length of the loop, and distance of two IDRs nobody asked for.
pub const LOOP_SECONDS: u32 = 2;
/// Distance of two beeps.
pub const BEEP_INTERVAL_MS: u32 = 1_000;
/// Opus packets of 20 ms.
pub const AUDIO_PACKETS_PER_SECOND: u32 = 50;
/// An encoding begins at every second place: a keyframe comes at most one frame late.
pub(crate) const PHASE_FRAMES: u32 = 2;

/// What a clip looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClipFormat {
    pub width: u32,
    pub height: u32,
    pub fps: u32,
    pub video_kbps: u32,
    pub audio_kbps: u32,
}

impl Default for ClipFormat {
    /// 720p30 at 2.5 Mbit/s with 96 kbit/s of sound: a studio's picture.
    fn default() -> Self {
        Self {
            width: 1_280,
            height: 720,
            fps: 30,
            video_kbps: 2_500,
            audio_kbps: 96,
        }
    }
}

impl ClipFormat {
    /// 320×180 at 300 kbit/s: for tests that measure something else than load.
    pub fn small() -> Self {
        Self {
            width: 320,
            height: 180,
            fps: 30,
            video_kbps: 300,
            audio_kbps: 64,
        }
    }

    /// Frames of the loop.
    pub fn loop_frames(&self) -> u32 {
        LOOP_SECONDS * self.fps
    }

    /// Whether this place of the loop flashes.
    pub fn flashes(&self, place: u32) -> bool {
        place.is_multiple_of(self.fps)
    }

    fn check(&self) -> Result<(), BenchError> {
        let side = |side: u32| (64..=CLIP_SIDE_MAX).contains(&side) && side.is_multiple_of(2);
        if !side(self.width) || !side(self.height) {
            return Err(BenchError::Argument(format!(
                "size {}x{}: sides are even and from 64 to {CLIP_SIDE_MAX}",
                self.width, self.height
            )));
        }
        if !(2..=CLIP_FPS_MAX).contains(&self.fps) || !self.fps.is_multiple_of(2) {
            return Err(BenchError::Argument(format!(
                "{} frames a second: even and from 2 to {CLIP_FPS_MAX}",
                self.fps
            )));
        }
        Ok(())
    }
}

/// One encoded picture: a single slice.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    /// NAL unit without start code.
    pub(crate) slice: Bytes,
    pub(crate) key: bool,
}

/// Everything a publisher sends. Shared by all of them.
#[derive(Debug)]
pub struct Clip {
    pub format: ClipFormat,
    /// Parameter sets without start codes; sent in front of every IDR, as browsers do.
    pub(crate) sps: Bytes,
    pub(crate) pps: Bytes,
    /// `pictures[phase][n]` is place `phase × PHASE_FRAMES + n` of the loop.
    pictures: Vec<Vec<Picture>>,
    /// The Opus packets of the loop.
    pub(crate) sound: Vec<Bytes>,
}

impl Clip {
    /// Makes the clip with ffmpeg, or takes it from the cache of an earlier run.
    ///
    /// # Errors
    /// When ffmpeg is missing or fails, or the format makes no sense.
    pub fn load(format: ClipFormat) -> Result<Arc<Self>, BenchError> {
        format.check()?;
        let video::Split { sps, pps, pictures } = video::split(&format, cache::video(&format)?)?;
        let sound = sound::make(&format)?;
        Ok(Arc::new(Self {
            format,
            sps,
            pps,
            pictures,
            sound,
        }))
    }

    /// Picture number `n` of the encoding that begins at `phase`.
    pub(crate) fn picture(&self, phase: u32, n: u32) -> Option<&Picture> {
        self.pictures.get(phase as usize)?.get(n as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_has_an_idr_at_every_phase_and_a_packet_for_every_20_ms() {
        let format = ClipFormat::small();
        let clip = Clip::load(format).unwrap();
        assert_eq!(
            clip.pictures.len(),
            (format.loop_frames() / PHASE_FRAMES) as usize
        );
        for (phase, pictures) in clip.pictures.iter().enumerate() {
            assert_eq!(
                pictures.len(),
                format.loop_frames() as usize,
                "phase {phase}"
            );
            let keys: Vec<bool> = pictures.iter().map(|p| p.key).collect();
            assert!(
                keys[0] && !keys[1..].contains(&true),
                "phase {phase}: {keys:?}"
            );
        }
        assert_eq!(
            clip.sound.len(),
            (LOOP_SECONDS * AUDIO_PACKETS_PER_SECOND) as usize
        );
        let bytes: usize = clip.pictures.iter().flatten().map(|p| p.slice.len()).sum();
        let seconds = LOOP_SECONDS as usize * clip.pictures.len();
        let kbps = bytes * 8 / 1_000 / seconds;
        assert!(
            (200..400).contains(&kbps),
            "{kbps} kbit/s instead of {}",
            format.video_kbps
        );
    }

    #[test]
    fn a_format_that_makes_no_sense_is_refused_in_words() {
        for format in [
            ClipFormat {
                width: 0,
                ..ClipFormat::small()
            },
            ClipFormat {
                height: 181,
                ..ClipFormat::small()
            },
            ClipFormat {
                fps: 0,
                ..ClipFormat::small()
            },
            ClipFormat {
                fps: 25,
                ..ClipFormat::small()
            },
        ] {
            assert!(
                matches!(Clip::load(format), Err(BenchError::Argument(_))),
                "{format:?}"
            );
        }
    }
}
