//! The fake audio transcoder: counts samples and makes AAC frames of 1024, each with the bit rate of
//! its transcoder and a number in it; or Opus packets of 960, each with the last byte of the AAC frame in which
//! it ends.

use std::collections::BTreeMap;

use bytes::Bytes;
use shardcast_core::{
    io::{AudioJob, AudioTranscoderId},
    opus,
};

/// AAC frames have this many samples.
const AAC_SAMPLES: u64 = 1_024;
/// Opus packets likewise.
const OPUS_SAMPLES: u64 = 960;
/// Parts of a sample at 48 kHz in which frames at 44.1 kHz are whole.
const PARTS: u64 = 147;

/// What an AAC frame begins with; its bit rate in kbit/s and its number follow.
const AAC_HEAD: [u8; 3] = [0x21, 0x10, 0x04];
/// So many bits of a number count the frames of one transcoder.
const NUMBER_BITS: u32 = 20;

/// All audio transcoders that are open.
#[derive(Debug, Default)]
pub(crate) struct FakeAudioTranscoders {
    open: BTreeMap<AudioTranscoderId, Transcoder>,
    opened: u32,
}

/// What a transcoder makes.
#[derive(Debug)]
enum Made {
    Aac { kbps: u8, number: u32 },
    Opus(Bytes),
}

#[derive(Debug)]
struct Transcoder {
    made: Made,
    /// Parts of samples that make a frame.
    frame_parts: u64,
    /// Samples a second of the AAC that it takes.
    rate: u64,
    /// Parts of samples that are not enough for a frame.
    pending: u64,
}

impl FakeAudioTranscoders {
    /// How many are open.
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    fn open_one(&mut self, id: AudioTranscoderId, made: Made, samples: u64, rate: u64) {
        let opened = Transcoder {
            made,
            frame_parts: samples * PARTS,
            rate,
            pending: 0,
        };
        self.open.insert(id, opened);
    }

    /// What the next transcoder to AAC makes.
    fn next_aac(&mut self, audio_bps: u32) -> Made {
        let kbps = u8::try_from(audio_bps / 1_000).unwrap();
        let number = self.opened << NUMBER_BITS;
        self.opened += 1;
        Made::Aac { kbps, number }
    }

    /// Does a job; the frames that come of it. An error for a transcoder that is not open.
    pub(crate) fn run(
        &mut self,
        job: &AudioJob,
    ) -> Result<Option<(AudioTranscoderId, Vec<Bytes>)>, String> {
        let (id, parts) = match job {
            AudioJob::Open {
                transcoder,
                audio_bps,
            } => {
                let made = self.next_aac(*audio_bps);
                self.open_one(*transcoder, made, AAC_SAMPLES, 0);
                return Ok(None);
            }
            AudioJob::OpenOpus {
                transcoder, config, ..
            } => {
                let silence = Bytes::from_static(&[0xFC, 0xFF, 0xFE]);
                let rate = config.sample_rate.into();
                self.open_one(*transcoder, Made::Opus(silence), OPUS_SAMPLES, rate);
                return Ok(None);
            }
            AudioJob::DecodeAac {
                transcoder,
                frame,
                stretch_samples,
            } => {
                let found = self.open.get_mut(transcoder);
                let to = found.ok_or_else(|| format!("{job:?}, and it is not open"))?;
                let last = frame.last().copied().unwrap_or_default();
                to.made = Made::Opus(Bytes::copy_from_slice(&[0xFC, 0xFF, last]));
                let parts = AAC_SAMPLES * 48_000 * PARTS / to.rate;
                let stretched = i64::from(*stretch_samples) * PARTS as i64;
                (*transcoder, parts.saturating_add_signed(stretched))
            }
            AudioJob::Close { transcoder } => {
                let known = self.open.remove(transcoder).is_some();
                let error = || format!("{transcoder:?} is closed and was not open");
                return known.then_some(None).ok_or_else(error);
            }
            AudioJob::Decode { transcoder, packet } => (
                *transcoder,
                PARTS * u64::from(opus::duration_samples(packet).unwrap_or_default()),
            ),
            AudioJob::Recover {
                transcoder,
                samples,
                ..
            }
            | AudioJob::Conceal {
                transcoder,
                samples,
            }
            | AudioJob::Silence {
                transcoder,
                samples,
            } => (*transcoder, PARTS * u64::from(*samples)),
        };
        let found = self.open.get_mut(&id);
        let to = found.ok_or_else(|| format!("{job:?}, and it is not open"))?;
        to.pending += parts;
        let count = usize::try_from(to.pending / to.frame_parts).unwrap();
        to.pending %= to.frame_parts;
        let frames = std::iter::repeat_with(|| to.made.next()).take(count);
        Ok((count > 0).then(|| (id, frames.collect())))
    }
}

impl Made {
    fn next(&mut self) -> Bytes {
        match self {
            Self::Opus(packet) => packet.clone(),
            Self::Aac { kbps, number } => {
                let frame = [&AAC_HEAD[..], &[*kbps], &number.to_be_bytes()].concat();
                *number += 1;
                frame.into()
            }
        }
    }
}

/// The number of a frame that a transcoder has made: which transcoder it was, and how many it had made before.
pub fn aac_frame_number(frame: &[u8]) -> Option<(u32, u32)> {
    let numbered = frame.strip_prefix(&AAC_HEAD)?;
    let (kbps, number) = numbered.split_first()?;
    let number = u32::from_be_bytes(number.try_into().ok()?);
    (*kbps > 0).then_some((number >> NUMBER_BITS, number % (1 << NUMBER_BITS)))
}

/// The bit rate that a frame was made with, in kbit/s.
pub(crate) fn kbps_of(frame: &[u8]) -> Option<u8> {
    frame.get(3).copied()
}
