//! The transcoder of an encoder's AAC to Opus.

use bytes::Bytes;
use shardcast_core::{
    codec::aac::AacConfig,
    io::{AudioJob, AudioTranscoderId},
};
use shardcast_media::{AacToOpus, AudioReport, MediaError, limits::FILL_SAMPLES_MAX};

use crate::limits::{AUDIO_OWED_FRAMES_PER_JOB, AUDIO_OWED_SAMPLES_PER_JOB};

/// See the module's documentation.
pub(super) struct ToOpus(AacToOpus);

impl ToOpus {
    pub(super) fn open(config: AacConfig, audio_bps: u32) -> Result<Self, MediaError> {
        let bps = i32::try_from(audio_bps).unwrap_or(i32::MAX);
        let codec = AacToOpus::new(
            config.specific_config(),
            config.sample_rate,
            config.channels,
            bps,
        )?;
        Ok(Self(codec))
    }

    pub(super) fn report(&self) -> AudioReport {
        self.0.report()
    }

    /// Does one job; what is owed comes first, in silence.
    pub(super) fn run(
        &mut self,
        id: AudioTranscoderId,
        job: &AudioJob,
        owed_samples: &mut u64,
        owed_frames: &mut u64,
        out: &mut Vec<Bytes>,
    ) {
        let samples = (*owed_samples).min(AUDIO_OWED_SAMPLES_PER_JOB.into());
        *owed_samples -= samples;
        self.silence(id, samples as u32, out);
        let frames = (*owed_frames).min(AUDIO_OWED_FRAMES_PER_JOB);
        *owed_frames -= frames;
        (0..frames).for_each(|_| self.0.skip(out));
        match job {
            AudioJob::DecodeAac {
                frame,
                stretch_samples,
                ..
            } => {
                if let Err(error) = self.0.decode(frame, *stretch_samples, out) {
                    tracing::debug!(transcoder = %id, "an AAC frame is replaced by silence: {error}");
                }
            }
            AudioJob::Silence { samples, .. } => self.silence(id, *samples, out),
            // Of the other direction.
            _ => {}
        }
    }

    fn silence(&mut self, id: AudioTranscoderId, samples: u32, out: &mut Vec<Bytes>) {
        let mut left = samples;
        while left > 0 {
            let piece = left.min(FILL_SAMPLES_MAX);
            if let Err(error) = self.0.silence(piece, out) {
                tracing::error!(transcoder = %id, samples = piece, "audio is missing: {error}");
            }
            left -= piece;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codecs::audio::AudioTranscoders;
    use shardcast_media::AacCoder;

    fn jobs(transcoder: AudioTranscoderId, frames: usize) -> Vec<AudioJob> {
        let config = AacConfig::OURS;
        let open = AudioJob::OpenOpus {
            transcoder,
            config,
            audio_bps: 96_000,
        };
        let frame = |_| AudioJob::DecodeAac {
            transcoder,
            frame: config.silence(),
            stretch_samples: 0,
        };
        std::iter::once(open)
            .chain((0..frames).map(frame))
            .collect()
    }

    #[test]
    fn eight_seconds_of_aac_are_four_hundred_packets_of_opus() {
        let mut transcoders = AudioTranscoders::new(AacCoder::default());
        let transcoder = AudioTranscoderId::numbered(1);
        for job in jobs(transcoder, 375) {
            transcoders.run(&job);
        }
        let packets: Vec<_> = std::iter::from_fn(|| transcoders.completion()).collect();
        assert_eq!(packets.len(), 400);
        let lengths = packets
            .iter()
            .map(|(_, it)| shardcast_core::opus::duration_samples(it));
        assert!(lengths.into_iter().all(|samples| samples == Some(960)));
        assert!(transcoders.opus_time() > std::time::Duration::ZERO);
    }

    #[test]
    fn a_transcoder_that_opens_late_has_lost_no_time() {
        let mut transcoders = AudioTranscoders::with_codecs_max(AacCoder::default(), 1);
        let (first, second) = (
            AudioTranscoderId::numbered(1),
            AudioTranscoderId::numbered(2),
        );
        jobs(first, 0).iter().for_each(|job| transcoders.run(job));
        let mut jobs = jobs(second, 375).into_iter();
        jobs.by_ref()
            .take(200)
            .for_each(|job| transcoders.run(&job));
        assert!(transcoders.completion().is_none());
        transcoders.run(&AudioJob::Close { transcoder: first });
        jobs.for_each(|job| transcoders.run(&job));
        assert_eq!(std::iter::from_fn(|| transcoders.completion()).count(), 400);
    }
}
