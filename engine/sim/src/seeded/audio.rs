//! The audio transcoders of a seeded run.

use shardcast_core::io::AudioJob;

use super::world::{SimEvent, Verdict, World, ms};

/// What a transcoder takes.
const TRANSCODE_MS: u64 = 2;

impl World {
    pub(super) fn audio(&mut self, job: &AudioJob) -> Verdict {
        // Frames cost most of a run's time, so most runs are without.
        if !self.plan.audio
            && !matches!(
                job,
                AudioJob::Open { .. } | AudioJob::OpenOpus { .. } | AudioJob::Close { .. }
            )
        {
            return Ok(());
        }
        if let Some((transcoder, frames)) = self.audio_transcoders.run(job)? {
            self.after(ms(TRANSCODE_MS), SimEvent::Coded(transcoder, frames));
        }
        Ok(())
    }
}
