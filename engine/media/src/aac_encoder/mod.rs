//! Samples into AAC-LC frames, by one of two encoders.
//!
//! ```text
//!  decoded samples ──────► two planes of 1024 ──► silent for long?  ──yes──► the last frame again
//!                                                      │ no
//!                                                      └──► encoder ──► frame
//! ```
//!
//! Both encoders look one frame ahead: the first call gives nothing, and frame number *k* (from 0)
//! decodes to the samples (*k* − 1) × 1024 … *k* × 1024.

mod libavcodec;

use std::time::Instant;

use bytes::Bytes;
use shardcast_aac::Encoder as Shardcast;

use self::libavcodec::Libavcodec;
pub(crate) use self::libavcodec::silence_library_log;
use crate::limits::AAC_BITRATES_BPS;
use crate::{AAC_SAMPLES_PER_FRAME, AudioReport, CHANNELS, MediaError};

const FRAME_SAMPLES: usize = AAC_SAMPLES_PER_FRAME as usize;

/// Samples of one channel and one frame.
type Plane = [f32; FRAME_SAMPLES];

/// Samples below this (−120 dB of full scale) are silence. A decoder of Opus does not fall to zero
/// exactly when its packets say silence.
pub(crate) const SILENCE_MAX: f32 = 1e-6;

/// After so many silent frames in a row (170 ms) the frames that an encoder makes do not change any
/// more: the last one is sent again for as long as it is silent. An AAC-LC frame needs none of the
/// frames before it but the overlap with the last one, which is silent as well.
const SILENT_FRAMES_UNTIL_REPEATED: u32 = 8;

/// Who encodes AAC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AacCoder {
    /// `shardcast-aac`: a sixth of the other's price, and two thirds of that for mono.
    #[default]
    Shardcast,
    /// The libavcodec of this machine, with its `fast` coder. Mono costs as much as stereo.
    Libavcodec,
}

/// An encoder that is open.
enum Coder {
    Shardcast(Box<Shardcast>),
    Libavcodec(Libavcodec),
}

impl Coder {
    fn open(coder: AacCoder, bitrate_bps: usize) -> Result<Self, MediaError> {
        match coder {
            AacCoder::Shardcast => {
                let refused = || MediaError::AacBitRate { bitrate_bps };
                let bps = u32::try_from(bitrate_bps).map_err(|_| refused())?;
                let encoder = Shardcast::new(bps).map_err(|_| refused())?;
                Ok(Self::Shardcast(Box::new(encoder)))
            }
            AacCoder::Libavcodec => Libavcodec::new(bitrate_bps).map(Self::Libavcodec),
        }
    }

    /// Encodes one frame and appends what comes out; true unless nothing does.
    fn encode(
        &mut self,
        [left, right]: &[Plane; CHANNELS],
        is_mono: bool,
        out: &mut Vec<u8>,
    ) -> Result<bool, MediaError> {
        match self {
            Self::Shardcast(encoder) => Ok(encoder.encode(left, (!is_mono).then_some(right), out)),
            Self::Libavcodec(encoder) => encoder.encode([left, right], out),
        }
    }
}

/// Takes mono or interleaved stereo of any length, gives frames of exactly 1024 samples.
pub(crate) struct AacEncoder {
    coder: Coder,
    /// The frame that is being filled.
    planes: Box<[Plane; CHANNELS]>,
    /// Samples (per channel) of it that are there, always below 1024.
    filled: usize,
    /// Bits in which the channels of it differ.
    difference: u32,
    /// The largest magnitude in it, as the bits of a float that is not negative: those are in the order
    /// of their values, and several are compared at once.
    peak: i32,
    silent_frames: u32,
    /// The frame that stands for silence, while nothing else came.
    silence: Option<Bytes>,
    /// What the encoder put out, before it is given away at its own length.
    coded: Vec<u8>,
    report: AudioReport,
}

impl AacEncoder {
    pub(crate) fn new(coder: AacCoder, bitrate_bps: usize) -> Result<Self, MediaError> {
        if !AAC_BITRATES_BPS.contains(&bitrate_bps) {
            return Err(MediaError::AacBitRate { bitrate_bps });
        }
        Ok(Self {
            coder: Coder::open(coder, bitrate_bps)?,
            planes: Box::new([[0.0; FRAME_SAMPLES]; CHANNELS]),
            filled: 0,
            difference: 0,
            peak: 0,
            silent_frames: 0,
            silence: None,
            coded: Vec::new(),
            report: AudioReport::default(),
        })
    }

    /// What was encoded so far; nothing is said of decoding.
    pub(crate) fn report(&self) -> AudioReport {
        self.report
    }

    /// Appends samples of one channel, or of two interleaved; frames that became whole go to `out`.
    pub(crate) fn push(
        &mut self,
        pcm: &[f32],
        channels: usize,
        out: &mut Vec<Bytes>,
    ) -> Result<(), MediaError> {
        let mut rest = pcm;
        while !rest.is_empty() {
            let free = (FRAME_SAMPLES - self.filled) * channels;
            let (now, later) = rest.split_at(free.min(rest.len()));
            match channels {
                1 => self.write_mono(now),
                _ => self.write_stereo(now),
            }
            self.advance(now.len() / channels.max(1), out)?;
            rest = later;
        }
        Ok(())
    }

    /// Appends so many samples of silence.
    pub(crate) fn push_silence(
        &mut self,
        samples: usize,
        out: &mut Vec<Bytes>,
    ) -> Result<(), MediaError> {
        let mut rest = samples;
        while rest > 0 {
            let now = rest.min(FRAME_SAMPLES - self.filled);
            for plane in self.planes.iter_mut() {
                let free = plane.iter_mut().skip(self.filled).take(now);
                free.for_each(|sample| *sample = 0.0);
            }
            self.advance(now, out)?;
            rest -= now;
        }
        Ok(())
    }

    /// Copies interleaved samples into the planes, and looks at them on the way.
    fn write_stereo(&mut self, interleaved: &[f32]) {
        let [left, right] = self.free();
        let (mut difference, mut peak) = (0, 0);
        let pairs = interleaved.as_chunks::<CHANNELS>().0;
        let free = left.iter_mut().zip(right);
        for ((left, right), [from_left, from_right]) in free.zip(pairs) {
            let (from_left, from_right) = (in_range(*from_left), in_range(*from_right));
            (*left, *right) = (from_left, from_right);
            difference |= from_left.to_bits() ^ from_right.to_bits();
            peak = peak.max(magnitude(from_left)).max(magnitude(from_right));
        }
        self.difference |= difference;
        self.peak = self.peak.max(peak);
    }

    /// The same of samples that are those of both channels.
    fn write_mono(&mut self, pcm: &[f32]) {
        let [left, right] = self.free();
        let mut peak = 0;
        for ((left, right), from) in left.iter_mut().zip(right).zip(pcm) {
            let from = in_range(*from);
            (*left, *right) = (from, from);
            peak = peak.max(magnitude(from));
        }
        self.peak = self.peak.max(peak);
    }

    /// What is left of both planes.
    fn free(&mut self) -> [&mut [f32]; CHANNELS] {
        let filled = self.filled;
        self.planes
            .each_mut()
            .map(|plane| plane.get_mut(filled..).unwrap_or_default())
    }

    fn advance(&mut self, samples: usize, out: &mut Vec<Bytes>) -> Result<(), MediaError> {
        self.filled += samples;
        debug_assert!(self.filled <= FRAME_SAMPLES, "a frame is never overfilled");
        if self.filled < FRAME_SAMPLES {
            return Ok(());
        }
        self.filled = 0;
        if self.peak < magnitude(SILENCE_MAX) {
            self.planes.iter_mut().for_each(|plane| plane.fill(0.0));
            self.difference = 0;
            self.silent_frames = self.silent_frames.saturating_add(1);
        } else {
            self.silent_frames = 0;
            self.silence = None;
        }
        let frame = match &self.silence {
            Some(frame) => {
                self.report.repeated_frames += 1;
                Some(frame.clone())
            }
            None => self.encode()?,
        };
        self.report.mono_frames += u64::from(self.difference == 0);
        (self.peak, self.difference) = (0, 0);
        if let Some(frame) = frame {
            self.report.frames += 1;
            out.push(frame);
        }
        Ok(())
    }

    /// Encodes the frame that is full; what comes out is the one before.
    fn encode(&mut self) -> Result<Option<Bytes>, MediaError> {
        let begun = Instant::now();
        self.coded.clear();
        let is_mono = self.difference == 0;
        let coded = self.coder.encode(&self.planes, is_mono, &mut self.coded)?;
        self.report.aac_time += begun.elapsed();
        if !coded {
            return Ok(None);
        }
        let frame = Bytes::copy_from_slice(&self.coded);
        if self.silent_frames >= SILENT_FRAMES_UNTIL_REPEATED {
            self.silence = Some(frame.clone());
        }
        Ok(Some(frame))
    }
}

/// The bits of a number without its sign.
fn magnitude(sample: f32) -> i32 {
    sample.abs().to_bits().cast_signed()
}

/// Out of range and not-a-number become finite: an encoder refuses a whole frame for one of them.
fn in_range(sample: f32) -> f32 {
    if sample.is_nan() {
        0.0
    } else {
        sample.clamp(-1.0, 1.0)
    }
}
