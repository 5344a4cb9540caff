//! The test clip: a loop of two seconds of video and audio that is encoded once and sent forever.
//!
//! The video of the loop is encoded several times, each time beginning with an IDR at another place.
//! On a keyframe request, a publisher jumps to the encoding that begins at its place. It sends a
//! valid stream at any moment, like a live encoder, without the CPU time of one.
//!
//! ```text
//! place in the loop   0 1 2 3 4 5 … 59
//! encoding 0          I P P P P P … P
//! encoding 1          P P I P P P … P      (begins at 2, ends at 1)
//! encoding 2          P P P P I P … P
//! ```
//!
//! Once a second, at the beginning and in the middle of the loop, one frame is white and the audio
//! beeps for 50 ms.

mod annex_b;
mod audio;
mod cache;
mod encoder;
mod ivf;

use std::sync::Arc;

pub(crate) use audio::{AAC_FRAME_SAMPLES, AUDIO_RATE_HZ, aac_config};
use bytes::Bytes;
use shardcast_core::h264::ParameterSets;
use shardcast_link::VideoCodec;

use crate::BenchError;
use crate::limits::{CLIP_FPS_MAX, CLIP_SIDE_MAX};

/// Length of the loop, and distance of IDRs without a keyframe request, in seconds.
pub const LOOP_SECONDS: u32 = 2;
/// Distance of two beeps in milliseconds.
pub const BEEP_INTERVAL_MS: u32 = 1_000;
/// Opus packets a second, of 20 ms each.
pub const AUDIO_PACKETS_PER_SECOND: u32 = 50;
/// Distance of the places at which encodings of H.264 begin: a keyframe is at most one frame late.
const H264_PHASE_FRAMES: u32 = 2;
/// The same for other codecs, whose encodings take ffmpeg several times as long.
const PHASE_FRAMES: u32 = 6;

/// Channels of the Opus audio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AudioChannels {
    /// One, as browsers send of a microphone unless `stereo=1` is in the answer.
    #[default]
    Mono,
    /// Two that differ.
    Stereo,
}

/// Codec, size and rates of a test clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TestClipFormat {
    /// Video codec.
    pub codec: VideoCodec,
    /// Width in pixels: even, 64 to [`CLIP_SIDE_MAX`].
    pub width: u32,
    /// Height in pixels: even, 64 to [`CLIP_SIDE_MAX`].
    pub height: u32,
    /// Frames a second: 2 to [`CLIP_FPS_MAX`].
    pub fps: u32,
    /// Bit rate of the video in kbit/s.
    pub video_kbps: u32,
    /// Bit rate of the Opus audio in kbit/s.
    pub audio_kbps: u32,
    /// Channels of the Opus audio; the TOC byte of each packet says the same.
    pub channels: AudioChannels,
}

impl Default for TestClipFormat {
    /// 720p30 at 2.5 Mbit/s with 96 kbit/s of mono audio, as a studio sends.
    fn default() -> Self {
        Self {
            codec: VideoCodec::H264,
            width: 1_280,
            height: 720,
            fps: 30,
            video_kbps: 2_500,
            audio_kbps: 96,
            channels: AudioChannels::Mono,
        }
    }
}

impl TestClipFormat {
    /// 320×180 at 300 kbit/s, for tests that do not measure load.
    pub fn small() -> Self {
        Self {
            codec: VideoCodec::H264,
            width: 320,
            height: 180,
            fps: 30,
            video_kbps: 300,
            audio_kbps: 64,
            channels: AudioChannels::Stereo,
        }
    }

    /// Number of frames in the loop.
    pub fn loop_frames(&self) -> u32 {
        LOOP_SECONDS * self.fps
    }

    /// Frames between the places at which encodings begin.
    pub(crate) fn phase_frames(&self) -> u32 {
        match self.codec {
            VideoCodec::H264 => H264_PHASE_FRAMES,
            VideoCodec::Vp8 | VideoCodec::Vp9 | VideoCodec::Av1 => PHASE_FRAMES,
        }
    }

    /// Number of encodings of the loop.
    fn phases(&self) -> u32 {
        self.loop_frames().div_ceil(self.phase_frames())
    }

    /// Whether the frame at this place of the loop is white.
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

/// One encoded frame.
#[derive(Clone, Debug)]
pub(crate) struct EncodedFrame {
    /// H.264: the only slice, as a NAL unit without start code. Other codecs: the frame as RTP
    /// carries it.
    pub(crate) data: Bytes,
    pub(crate) key: bool,
}

/// The encoded video and audio, shared by all publishers.
#[derive(Debug)]
pub struct TestClip {
    /// Size, codec and rates.
    pub format: TestClipFormat,
    /// Parameter sets of H.264; sent before every IDR, as browsers do.
    pub(crate) sets: Option<ParameterSets>,
    /// `frames[phase][n]` is place `phase × phase_frames + n` of the loop.
    frames: Vec<Vec<EncodedFrame>>,
    /// The Opus packets of the loop.
    pub(crate) audio: Vec<Bytes>,
}

impl TestClip {
    /// Makes the clip with ffmpeg, or reads it from the cache of an earlier run.
    ///
    /// # Errors
    /// When ffmpeg is missing or fails, or the format is outside its limits.
    pub fn load(format: TestClipFormat) -> Result<Arc<Self>, BenchError> {
        format.check()?;
        let stream = cache::video(&format)?;
        let (sets, frames) = match format.codec {
            VideoCodec::H264 => {
                let annex_b::Split { sps, pps, frames } = annex_b::split(&format, stream)?;
                let sets = ParameterSets::new(&sps, &[pps]);
                (Some(sets.map_err(|e| refused(&e.to_string()))?), frames)
            }
            VideoCodec::Vp8 | VideoCodec::Vp9 | VideoCodec::Av1 => {
                (None, ivf::split(&format, stream)?)
            }
        };
        let audio = audio::make(&format)?;
        Ok(Arc::new(Self {
            format,
            sets,
            frames,
            audio,
        }))
    }

    /// The first encoding of the loop, repeated without end, as a decoder takes it: H.264 as NAL
    /// units with lengths of four bytes (AVCC), without parameter sets.
    pub fn units(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        let is_h264 = self.format.codec == VideoCodec::H264;
        let first = self.frames.first().into_iter();
        first
            .flat_map(|frames| frames.iter().cycle())
            .map(move |frame| {
                let mut unit = Vec::with_capacity(frame.data.len() + 4);
                if is_h264 {
                    unit.extend_from_slice(&(frame.data.len() as u32).to_be_bytes());
                }
                unit.extend_from_slice(&frame.data);
                unit
            })
    }

    /// The first `count` frames of the first encoding as a file for ffmpeg, after the value of `-f`.
    pub fn file(&self, count: usize) -> (&'static str, Vec<u8>) {
        let first = self.frames.first().into_iter();
        let frames = first.flat_map(|group| group.iter().cycle()).take(count);
        let bytes = match &self.sets {
            Some(_) => frames.flat_map(|frame| self.annex_b(frame)).collect(),
            None => ivf::file(&self.format, frames),
        };
        (encoder::file_format(self.format.codec), bytes)
    }

    /// A frame of H.264 with start codes; a keyframe after its parameter sets.
    fn annex_b(&self, frame: &EncodedFrame) -> Vec<u8> {
        let sets = self.sets.iter().filter(|_| frame.key);
        let nals = sets.flat_map(|sets| [sets.sps_nal()].into_iter().chain(sets.pps_nals()));
        annex_b(nals.chain([&frame.data]))
    }

    /// A keyframe with its parameter sets, as a packetiser takes it: H.264 with start codes.
    pub(crate) fn keyframe(&self, number: usize) -> Option<Vec<u8>> {
        let phase = self.frames.get(number % self.frames.len().max(1))?;
        let frame = phase.first()?;
        Some(match self.sets {
            Some(_) => self.annex_b(frame),
            None => frame.data.to_vec(),
        })
    }

    /// The `AVCDecoderConfigurationRecord` of H.264 (ISO/IEC 14496-15 5.3.3.1); `None` for other
    /// codecs.
    pub fn record(&self) -> Option<&Bytes> {
        self.sets.as_ref().map(ParameterSets::record)
    }

    /// The audio as AAC-LC in stereo, for publishers that send RTMP: a loop of whole frames.
    ///
    /// # Errors
    /// When the bit rate is outside of the encoder's limits.
    pub(crate) fn aac(&self) -> Result<Vec<Bytes>, BenchError> {
        audio::aac(&self.format)
    }

    /// EncodedFrame number `n` of the encoding that begins at `phase`.
    pub(crate) fn frame(&self, phase: u32, n: u32) -> Option<&EncodedFrame> {
        self.frames.get(phase as usize)?.get(n as usize)
    }
}

/// Joins NAL units with start codes (H.264 annex B).
pub(crate) fn annex_b<'a>(nals: impl IntoIterator<Item = &'a Bytes>) -> Vec<u8> {
    let mut stream = Vec::new();
    for nal in nals {
        stream.extend_from_slice(&[0, 0, 0, 1]);
        stream.extend_from_slice(nal);
    }
    stream
}

/// The error for an output of ffmpeg that cannot be used.
fn refused(reason: &str) -> BenchError {
    BenchError::Program {
        program: "ffmpeg".to_owned(),
        reason: reason.to_owned(),
    }
}

fn unexpected(format: &TestClipFormat, groups: usize) -> BenchError {
    refused(&format!(
        "it made {groups} closed groups of {} frames of {} instead of {}",
        format.loop_frames(),
        format.codec.name(),
        format.phases()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_of_any_codec_has_a_keyframe_at_every_phase_and_its_bit_rate() {
        for codec in VideoCodec::ALL {
            let format = TestClipFormat {
                codec,
                ..TestClipFormat::small()
            };
            let clip = TestClip::load(format).unwrap();
            assert_eq!(clip.frames.len(), format.phases() as usize);
            for (phase, frames) in clip.frames.iter().enumerate() {
                let keys: Vec<bool> = frames.iter().map(|frame| frame.key).collect();
                assert_eq!(keys.len(), format.loop_frames() as usize);
                assert!(
                    keys[0] && !keys[1..].contains(&true),
                    "phase {phase}: {keys:?}"
                );
            }
            let bytes: usize = clip.frames.iter().flatten().map(|p| p.data.len()).sum();
            let seconds = LOOP_SECONDS as usize * clip.frames.len();
            let kbps = bytes * 8 / 1_000 / seconds;
            assert!(
                (200..600).contains(&kbps),
                "{codec:?}: {kbps} kbit/s instead of {}",
                format.video_kbps
            );
        }
    }

    #[test]
    fn a_clip_has_an_audio_packet_for_every_20_ms() {
        let clip = TestClip::load(TestClipFormat::small()).unwrap();
        let packets = LOOP_SECONDS * AUDIO_PACKETS_PER_SECOND;
        assert_eq!(clip.audio.len(), packets as usize);
    }

    #[test]
    fn a_format_outside_its_limits_is_refused() {
        for format in [
            TestClipFormat {
                width: 0,
                ..TestClipFormat::small()
            },
            TestClipFormat {
                height: 181,
                ..TestClipFormat::small()
            },
            TestClipFormat {
                fps: 0,
                ..TestClipFormat::small()
            },
            TestClipFormat {
                fps: 61,
                ..TestClipFormat::small()
            },
        ] {
            assert!(
                matches!(TestClip::load(format), Err(BenchError::Argument(_))),
                "{format:?}"
            );
        }
    }
}
