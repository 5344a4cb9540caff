//! The audio transcoders of a broadcast: one for each bit rate of AAC that a consumer takes, all fed
//! the same. Frames of a transcoder are placed by counting its samples.

use bytes::Bytes;

use crate::{
    broadcast::ingest::decode_clock::STEP_US_MIN,
    broadcast::ring::{Kind, Unit},
    codec::aac::{AacConfig, FRAME_SAMPLES, SAMPLE_RATE},
    ids::AudioTranscoderId,
    io::AudioJob,
};

/// Bit rate of the AAC beside the publisher's own video, in bits a second.
pub(crate) const AUDIO_BPS_DEFAULT: u32 = 128_000;
/// What the codecs delay: Opus 312 samples of look-ahead, AAC 1024 samples of priming.
const CODEC_DELAY_SAMPLES: i64 = 312 + FRAME_SAMPLES;

/// What the audio transcoders of a broadcast shall do.
#[derive(Clone, Debug)]
pub(crate) enum AudioInput {
    /// An Opus packet of so many samples.
    Packet(Bytes, u32),
    /// So many samples in front of an Opus packet, from the redundancy that it carries.
    Recover(Bytes, u32),
    Conceal(u32),
    Silence(u32),
}

impl AudioInput {
    pub(crate) fn samples(&self) -> u32 {
        match self {
            Self::Packet(_, samples)
            | Self::Recover(_, samples)
            | Self::Conceal(samples)
            | Self::Silence(samples) => *samples,
        }
    }

    /// What `transcoder` is to do.
    pub(crate) fn job(self, transcoder: AudioTranscoderId) -> AudioJob {
        match self {
            Self::Packet(packet, _) => AudioJob::Decode { transcoder, packet },
            Self::Recover(packet, samples) => AudioJob::Recover {
                transcoder,
                packet,
                samples,
            },
            Self::Conceal(samples) => AudioJob::Conceal {
                transcoder,
                samples,
            },
            Self::Silence(samples) => AudioJob::Silence {
                transcoder,
                samples,
            },
        }
    }
}

/// The same with its place.
#[derive(Clone, Debug)]
pub(crate) struct PlacedInput {
    /// Position of its first sample on the media clock, in samples.
    pub(crate) at: i64,
    pub(crate) input: AudioInput,
}

/// One transcoder.
#[derive(Debug)]
pub(crate) struct AudioTranscoder {
    pub(crate) id: AudioTranscoderId,
    pub(crate) audio_bps: u32,
    /// Samples that the broadcast had before the transcoder was opened.
    start_samples: i64,
    frames: i64,
    last_us: Option<i64>,
}

#[derive(Debug, Default)]
pub(crate) struct AudioTranscoders {
    pub(crate) list: Vec<AudioTranscoder>,
    fed_samples: i64,
}

impl AudioTranscoders {
    /// How many samples of silence come first in the new transcoder: its frames then begin where those of
    /// the others do, and a consumer that changes from one to the other misses nothing.
    pub(crate) fn open(&mut self, id: AudioTranscoderId, audio_bps: u32) -> u32 {
        let into_frame = self.fed_samples % FRAME_SAMPLES;
        self.list.push(AudioTranscoder {
            id,
            audio_bps,
            start_samples: self.fed_samples - into_frame,
            frames: 0,
            last_us: None,
        });
        u32::try_from(into_frame).unwrap_or_default()
    }

    pub(crate) fn has(&self, audio_bps: u32) -> bool {
        self.list
            .iter()
            .any(|transcoder| transcoder.audio_bps == audio_bps)
    }

    pub(crate) fn is_open(&self, id: AudioTranscoderId) -> bool {
        self.list.iter().any(|transcoder| transcoder.id == id)
    }

    /// Takes out the transcoders of bit rates that are not wanted.
    pub(crate) fn close_unless(
        &mut self,
        mut wanted: impl FnMut(u32) -> bool,
    ) -> Vec<AudioTranscoderId> {
        let closed = self
            .list
            .extract_if(.., |transcoder| !wanted(transcoder.audio_bps));
        closed.map(|transcoder| transcoder.id).collect()
    }

    /// All transcoders were fed so many samples.
    pub(crate) fn fed(&mut self, samples: u32) {
        self.fed_samples += i64::from(samples);
    }

    /// Off air: the count of samples begins anew.
    pub(crate) fn end(&mut self) -> Vec<AudioTranscoder> {
        self.fed_samples = 0;
        std::mem::take(&mut self.list)
    }

    /// The next AAC frame of a transcoder at its time, and the bit rate that it has. `origin_us` is the
    /// time of the first sample of the broadcast.
    pub(crate) fn place(
        &mut self,
        id: AudioTranscoderId,
        frame: Bytes,
        origin_us: i64,
    ) -> Option<(u32, Unit)> {
        let transcoder = self
            .list
            .iter_mut()
            .find(|transcoder| transcoder.id == id)?;
        Some((transcoder.audio_bps, transcoder.place(frame, origin_us)))
    }
}

impl AudioTranscoder {
    fn place(&mut self, frame: Bytes, origin_us: i64) -> Unit {
        let samples = self.start_samples + self.frames * FRAME_SAMPLES - CODEC_DELAY_SAMPLES;
        self.frames += 1;
        let pts_us = origin_us + samples * 1_000_000 / SAMPLE_RATE;
        let pts_us = step(&mut self.last_us, pts_us);
        Unit {
            kind: Kind::Audio {
                config: AacConfig::OURS,
            },
            pts_us,
            dts_us: pts_us,
            payload: frame,
        }
    }
}

/// Each frame is behind the one before.
fn step(last_us: &mut Option<i64>, pts_us: i64) -> i64 {
    let pts_us = last_us.map_or(pts_us, |last| pts_us.max(last + STEP_US_MIN));
    *last_us = Some(pts_us);
    pts_us
}
