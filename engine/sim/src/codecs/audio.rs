//! The fake audio transcoder: counts samples and makes AAC frames of 1024, each with the bit rate of
//! its transcoder in it.

use std::collections::BTreeMap;

use bytes::Bytes;
use shardcast_core::{
    io::{AudioJob, AudioTranscoderId},
    opus,
};

/// AAC frames have this many samples.
const AAC_SAMPLES: u64 = 1_024;

/// All audio transcoders that are open.
#[derive(Debug, Default)]
pub(crate) struct FakeAudioTranscoders(BTreeMap<AudioTranscoderId, Transcoder>);

#[derive(Debug)]
struct Transcoder {
    frame: Bytes,
    /// Samples that are not enough for a frame.
    pending: u64,
}

impl FakeAudioTranscoders {
    /// How many are open.
    pub(crate) fn open(&self) -> usize {
        self.0.len()
    }

    /// Does a job; the frames that come of it. An error for a transcoder that is not open.
    pub(crate) fn run(
        &mut self,
        job: &AudioJob,
    ) -> Result<Option<(AudioTranscoderId, Vec<Bytes>)>, String> {
        let (id, samples) = match job {
            AudioJob::Open {
                transcoder,
                audio_bps,
            } => {
                let kbps = u8::try_from(audio_bps / 1_000).unwrap();
                let frame = Bytes::copy_from_slice(&[0x21, 0x10, 0x04, kbps]);
                self.0.insert(*transcoder, Transcoder { frame, pending: 0 });
                return Ok(None);
            }
            AudioJob::Close { transcoder } => {
                let known = self.0.remove(transcoder).is_some();
                let error = || format!("{transcoder:?} is closed and was not open");
                return known.then_some(None).ok_or_else(error);
            }
            AudioJob::Decode { transcoder, packet } => (
                *transcoder,
                opus::duration_samples(packet).unwrap_or_default(),
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
            } => (*transcoder, *samples),
        };
        let found = self.0.get_mut(&id);
        let to = found.ok_or_else(|| format!("{job:?}, and it is not open"))?;
        to.pending += u64::from(samples);
        let count = usize::try_from(to.pending / AAC_SAMPLES).unwrap();
        to.pending %= AAC_SAMPLES;
        Ok((count > 0).then(|| (id, vec![to.frame.clone(); count])))
    }
}

/// The bit rate that a frame was made with, in kbit/s.
pub(crate) fn kbps_of(frame: &[u8]) -> Option<u8> {
    frame.get(3).copied()
}
