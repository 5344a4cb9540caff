//! Still frames: one picture coded by itself, which takes tens of milliseconds.
//!
//! A shard makes one at a time, so that many broadcasts that lose their publishers in one moment
//! cost it no more than one does. Each is made on a thread of its own at a low priority, which ends
//! with it: a thread costs nothing beside the picture, a panic takes nothing else along, and none
//! of the memory of the codecs stays.

use std::{collections::VecDeque, time::Instant};

use shardcast_core::io::{
    StillFrame, StillFrameId, StillFrameJob, StillFrameSource, StillFrameTarget,
};
use shardcast_media::{self as media, still_frame};

use super::{BlockingJobs, JobLimits, on_own_thread};
use crate::{
    completions::Notifier,
    limits::{STILL_FRAME_AGE_MAX, STILL_FRAMES_RUNNING_MAX, STILL_FRAMES_WAITING_MAX},
};

/// The picture, or the reason why there is none.
pub(crate) type Made = Result<StillFrame, String>;

/// The still frames that a shard has asked for.
pub(crate) struct StillFrames {
    jobs: BlockingJobs<StillFrameId, StillFrame>,
    refused: VecDeque<(StillFrameId, Made)>,
}

impl StillFrames {
    pub(crate) fn new(notifier: Notifier) -> Self {
        let limits = JobLimits {
            running_max: STILL_FRAMES_RUNNING_MAX,
            waiting_max: STILL_FRAMES_WAITING_MAX,
        };
        Self {
            jobs: BlockingJobs::new(limits, notifier),
            refused: VecDeque::new(),
        }
    }

    /// Asks for a picture; see [`Self::completion`].
    pub(crate) fn ask(&mut self, now: Instant, job: StillFrameJob) {
        self.enqueue(now, job);
        self.start(now);
    }

    /// The next picture, or refusal of one, for the shard.
    pub(crate) fn completion(&mut self, now: Instant) -> Option<(StillFrameId, Made)> {
        if let Some(refused) = self.refused.pop_front() {
            return Some(refused);
        }
        let completion = self.jobs.completion()?;
        self.start(now);
        Some(completion)
    }

    fn enqueue(&mut self, now: Instant, job: StillFrameJob) {
        let still = job.still;
        let work = move || on_own_thread("still", move || make(&job));
        if !self.jobs.enqueue(now, still, work) {
            let reason = format!(
                "{STILL_FRAMES_WAITING_MAX} pictures wait to be made already: this machine is too slow \
                 for as many publishers that are away"
            );
            self.refused.push_back((still, Err(reason)));
        }
    }

    /// Starts the picture that has its turn. Those that have waited too long are skipped, so that the
    /// ones behind do not come as late.
    fn start(&mut self, now: Instant) {
        let refused = &mut self.refused;
        self.jobs
            .start(|still, since| is_wanted(now, *still, since, refused));
    }
}

/// Whether a picture has waited no longer than [`STILL_FRAME_AGE_MAX`]; otherwise it is refused.
fn is_wanted(
    now: Instant,
    still: StillFrameId,
    since: Instant,
    refused: &mut VecDeque<(StillFrameId, Made)>,
) -> bool {
    let wanted = now.duration_since(since) <= STILL_FRAME_AGE_MAX;
    if !wanted {
        let reason = format!(
            "its turn to be made did not come within {} s: this machine is too slow for as many \
             publishers that are away",
            STILL_FRAME_AGE_MAX.as_secs()
        );
        refused.push_back((still, Err(reason)));
    }
    wanted
}

fn make(job: &StillFrameJob) -> Made {
    let source = match &job.source {
        StillFrameSource::LastOf {
            record,
            access_units,
        } => media::StillFrameSource::LastOf {
            record,
            access_units,
        },
        StillFrameSource::Image(file) => media::StillFrameSource::Image(file),
    };
    let media::StillFrameNals { sps, pps, slices } =
        still_frame::make(source, &target(&job.target)).map_err(|error| error.to_string())?;
    Ok(StillFrame { sps, pps, slices })
}

/// Profile and level follow from the tools, as far as slices show them.
fn target(target: &StillFrameTarget) -> media::StillFrameTarget {
    let StillFrameTarget {
        width,
        height,
        profile: _,
        level: _,
        cabac,
        transform_8x8,
        chroma_qp_offset,
        full_range,
    } = *target;
    media::StillFrameTarget {
        width,
        height,
        cabac,
        transform_8x8,
        chroma_qp_offset,
        full_range,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    fn job(id: u64) -> StillFrameJob {
        StillFrameJob {
            still: StillFrameId::numbered(id),
            source: StillFrameSource::Image(Bytes::new()),
            target: StillFrameTarget {
                width: 64,
                height: 64,
                profile: 66,
                level: 10,
                cabac: false,
                transform_8x8: false,
                chroma_qp_offset: 0,
                full_range: false,
            },
        }
    }

    /// The next picture to make, which counts as running from now on.
    fn next(frames: &mut StillFrames, now: Instant) -> Option<StillFrameId> {
        let refused = &mut frames.refused;
        frames
            .jobs
            .begin_next(|still, since| is_wanted(now, *still, since, refused))
    }

    /// A picture that is being made ends without one.
    fn end(frames: &mut StillFrames, still: StillFrameId) -> (StillFrameId, Made) {
        frames.jobs.end(still, Err("no".to_owned()));
        frames.jobs.completion().unwrap()
    }

    #[test]
    fn a_picture_too_many_is_refused_with_a_reason_and_later_ones_are_taken() {
        let mut frames = StillFrames::new(Notifier::default());
        let now = Instant::now();
        frames.enqueue(now, job(0));
        assert_eq!(next(&mut frames, now), Some(StillFrameId::numbered(0)));
        for id in 1..=STILL_FRAMES_WAITING_MAX as u64 + 1 {
            frames.enqueue(now, job(id));
        }
        let Some((refused, Err(reason))) = frames.refused.pop_front() else {
            panic!("nothing is refused");
        };
        assert_eq!(refused.number(), STILL_FRAMES_WAITING_MAX as u64 + 1);
        assert!(reason.contains("too slow"), "{reason}");
        assert!(next(&mut frames, now).is_none() && frames.refused.is_empty());
        let first = end(&mut frames, StillFrameId::numbered(0));
        assert_eq!(next(&mut frames, now), Some(StillFrameId::numbered(1)));
        assert!(matches!(first, (still, Err(_)) if still.number() == 0));
    }

    #[test]
    fn a_picture_that_has_waited_too_long_is_refused_with_a_reason() {
        let mut frames = StillFrames::new(Notifier::default());
        let start = Instant::now();
        for id in 0..3 {
            frames.enqueue(start, job(id));
        }
        assert_eq!(next(&mut frames, start), Some(StillFrameId::numbered(0)));
        let later = start + STILL_FRAME_AGE_MAX + Duration::from_millis(1);
        frames.enqueue(later, job(3));
        assert!(next(&mut frames, later).is_none() && frames.refused.is_empty());

        let first = end(&mut frames, StillFrameId::numbered(0));
        assert_eq!(next(&mut frames, later), Some(StillFrameId::numbered(3)));
        let answers: Vec<_> = [first].into_iter().chain(frames.refused).collect();
        let answered: Vec<_> = answers.iter().map(|(still, _)| still.number()).collect();
        assert_eq!(answered, [0, 1, 2]);
        for (_, made) in answers.iter().skip(1) {
            let reason = made.as_ref().unwrap_err();
            assert!(reason.contains("within 20 s"), "{reason}");
        }
    }

    #[test]
    fn a_panic_of_one_picture_is_an_answer() {
        assert_eq!(
            on_own_thread::<()>("still", || panic!("on purpose")),
            Err(super::super::DEFECT.to_owned())
        );
        assert!(make(&job(1)).unwrap_err().contains("PNG"));
    }
}
