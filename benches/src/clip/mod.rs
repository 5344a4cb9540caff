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
mod encoder;
mod ivf;
mod sound;
mod video;

use std::sync::Arc;

use bytes::Bytes;
use shardcast_core::h264::ParameterSets;
use shardcast_link::VideoCodec;

use crate::BenchError;
use crate::limits::{CLIP_FPS_MAX, CLIP_SIDE_MAX};

/// Length of the loop, and distance of two IDRs nobody asked for.
pub const LOOP_SECONDS: u32 = 2;
/// Distance of two beeps.
pub const BEEP_INTERVAL_MS: u32 = 1_000;
/// Opus packets of 20 ms.
pub const AUDIO_PACKETS_PER_SECOND: u32 = 50;
/// Where encodings of H.264 begin: a keyframe comes at most one frame late.
const H264_PHASE_FRAMES: u32 = 2;
/// Where those of other codecs begin, which take ffmpeg several times as long to make.
const PHASE_FRAMES: u32 = 6;

/// What a clip looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClipFormat {
    pub codec: VideoCodec,
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
            codec: VideoCodec::H264,
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
            codec: VideoCodec::H264,
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

    /// Distance of the places at which an encoding begins.
    pub(crate) fn phase_frames(&self) -> u32 {
        match self.codec {
            VideoCodec::H264 => H264_PHASE_FRAMES,
            VideoCodec::Vp8 | VideoCodec::Vp9 | VideoCodec::Av1 => PHASE_FRAMES,
        }
    }

    /// Encodings of the loop.
    fn phases(&self) -> u32 {
        self.loop_frames().div_ceil(self.phase_frames())
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
        if !(2..=CLIP_FPS_MAX).contains(&self.fps) {
            return Err(BenchError::Argument(format!(
                "{} frames a second: from 2 to {CLIP_FPS_MAX}",
                self.fps
            )));
        }
        Ok(())
    }
}

/// One encoded picture.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    /// H.264: the one slice, a NAL unit without start code. Others: the frame as RTP carries it.
    pub(crate) data: Bytes,
    pub(crate) key: bool,
}

/// Everything a publisher sends. Shared by all of them.
#[derive(Debug)]
pub struct Clip {
    pub format: ClipFormat,
    /// Parameter sets of H.264; sent in front of every IDR, as browsers do.
    pub(crate) sets: Option<ParameterSets>,
    /// `pictures[phase][n]` is place `phase × phase_frames + n` of the loop.
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
        let stream = cache::video(&format)?;
        let (sets, pictures) = match format.codec {
            VideoCodec::H264 => {
                let video::Split { sps, pps, pictures } = video::split(&format, stream)?;
                let sets = ParameterSets::new(&sps, &[pps]);
                (Some(sets.map_err(|e| refused(&e.to_string()))?), pictures)
            }
            VideoCodec::Vp8 | VideoCodec::Vp9 | VideoCodec::Av1 => {
                (None, ivf::split(&format, stream)?)
            }
        };
        let sound = sound::make(&format)?;
        Ok(Arc::new(Self {
            format,
            sets,
            pictures,
            sound,
        }))
    }

    /// The first encoding of the loop, over and over, as a decoder takes it: H.264 as NAL units
    /// behind lengths of four bytes, without parameter sets.
    pub fn units(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        let is_h264 = self.format.codec == VideoCodec::H264;
        let first = self.pictures.first().into_iter();
        first
            .flat_map(|pictures| pictures.iter().cycle())
            .map(move |picture| {
                let mut unit = Vec::with_capacity(picture.data.len() + 4);
                if is_h264 {
                    unit.extend_from_slice(&(picture.data.len() as u32).to_be_bytes());
                }
                unit.extend_from_slice(&picture.data);
                unit
            })
    }

    /// So many pictures of the first encoding as a file that ffmpeg reads, and the `-f` for it.
    pub fn file(&self, pictures: usize) -> (&'static str, Vec<u8>) {
        let first = self.pictures.first().into_iter();
        let frames = first.flat_map(|group| group.iter().cycle()).take(pictures);
        let bytes = match &self.sets {
            Some(_) => frames.flat_map(|picture| self.annex_b(picture)).collect(),
            None => ivf::file(&self.format, frames),
        };
        (encoder::file_format(self.format.codec), bytes)
    }

    /// A picture of H.264 behind its parameter sets, if it needs them.
    fn annex_b(&self, picture: &Picture) -> Vec<u8> {
        let sets = self.sets.iter().filter(|_| picture.key);
        let nals = sets.flat_map(|sets| [sets.sps_nal()].into_iter().chain(sets.pps_nals()));
        annex_b(nals.chain([&picture.data]))
    }

    /// A keyframe with everything that it needs, as a packetiser takes it: H.264 with start codes.
    pub(crate) fn keyframe(&self, number: usize) -> Option<Vec<u8>> {
        let phase = self.pictures.get(number % self.pictures.len().max(1))?;
        let picture = phase.first()?;
        Some(match self.sets {
            Some(_) => self.annex_b(picture),
            None => picture.data.to_vec(),
        })
    }

    /// The `AVCDecoderConfigurationRecord` of H.264 (ISO/IEC 14496-15, 5.3.3.1).
    pub fn record(&self) -> Option<&Bytes> {
        self.sets.as_ref().map(ParameterSets::record)
    }

    /// Picture number `n` of the encoding that begins at `phase`.
    pub(crate) fn picture(&self, phase: u32, n: u32) -> Option<&Picture> {
        self.pictures.get(phase as usize)?.get(n as usize)
    }
}

/// NAL units behind start codes (H.264 annex B).
pub(crate) fn annex_b<'a>(nals: impl IntoIterator<Item = &'a Bytes>) -> Vec<u8> {
    let mut stream = Vec::new();
    for nal in nals {
        stream.extend_from_slice(&[0, 0, 0, 1]);
        stream.extend_from_slice(nal);
    }
    stream
}

/// What ffmpeg made cannot be used.
fn refused(reason: &str) -> BenchError {
    BenchError::Program {
        program: "ffmpeg".to_owned(),
        reason: reason.to_owned(),
    }
}

fn unexpected(format: &ClipFormat, groups: usize) -> BenchError {
    refused(&format!(
        "it made {groups} closed groups of {} pictures of {} instead of {}",
        format.loop_frames(),
        format.codec.name(),
        format.phases()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_of_any_codec_has_a_keyframe_at_every_phase_and_the_bits_it_should() {
        for codec in VideoCodec::ALL {
            let format = ClipFormat {
                codec,
                ..ClipFormat::small()
            };
            let clip = Clip::load(format).unwrap();
            assert_eq!(clip.pictures.len(), format.phases() as usize);
            for (phase, pictures) in clip.pictures.iter().enumerate() {
                let keys: Vec<bool> = pictures.iter().map(|p| p.key).collect();
                assert_eq!(keys.len(), format.loop_frames() as usize);
                assert!(
                    keys[0] && !keys[1..].contains(&true),
                    "phase {phase}: {keys:?}"
                );
            }
            let bytes: usize = clip.pictures.iter().flatten().map(|p| p.data.len()).sum();
            let seconds = LOOP_SECONDS as usize * clip.pictures.len();
            let kbps = bytes * 8 / 1_000 / seconds;
            assert!(
                (200..600).contains(&kbps),
                "{codec:?}: {kbps} kbit/s instead of {}",
                format.video_kbps
            );
        }
    }

    #[test]
    fn a_clip_has_a_packet_of_sound_for_every_20_ms() {
        let clip = Clip::load(ClipFormat::small()).unwrap();
        let packets = LOOP_SECONDS * AUDIO_PACKETS_PER_SECOND;
        assert_eq!(clip.sound.len(), packets as usize);
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
                fps: 61,
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
