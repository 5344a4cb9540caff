//! Previews: a keyframe decoded, scaled and written as an image file.
//!
//! A shard makes one at a time, at the low priority of codecs. One that does not get its turn soon is left out: then
//! the machine has no time to spare, and the next one shows something newer.

use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;
use shardcast_core::io::{PreviewId, PreviewJob};
use shardcast_media::preview;

use super::{BlockingJobs, JobLimits, on_own_thread};
use crate::{
    completions::Notifier,
    limits::{PREVIEW_AGE_MAX, PREVIEW_BYTES_MAX, PREVIEWS_RUNNING_MAX, PREVIEWS_WAITING_MAX},
};

/// The file, or the reason why there is none.
type Made = Result<Bytes, String>;

/// The previews that a shard has asked for.
pub(crate) struct Previews {
    jobs: BlockingJobs<PreviewId, Bytes>,
    left_out: VecDeque<PreviewId>,
}

impl Previews {
    pub(crate) fn new(notifier: Notifier) -> Self {
        let limits = JobLimits {
            running_max: PREVIEWS_RUNNING_MAX,
            waiting_max: PREVIEWS_WAITING_MAX,
        };
        Self {
            jobs: BlockingJobs::new(limits, notifier),
            left_out: VecDeque::new(),
        }
    }

    /// Asks for a preview; see [`Self::completion`].
    pub(crate) fn ask(&mut self, now: Instant, job: PreviewJob) {
        self.enqueue(now, job);
        self.start(now);
    }

    /// The next preview, or that one is left out, for the shard.
    pub(crate) fn completion(&mut self, now: Instant) -> Option<(PreviewId, Made)> {
        if let Some(preview) = self.left_out.pop_front() {
            let reason = "this machine has no time to spare for it".to_owned();
            return Some((preview, Err(reason)));
        }
        let completion = self.jobs.completion()?;
        self.start(now);
        Some(completion)
    }

    fn enqueue(&mut self, now: Instant, job: PreviewJob) {
        let preview = job.preview;
        let work = move || on_own_thread("preview", move || make(&job));
        if !self.jobs.enqueue(now, preview, work) {
            self.left_out.push_back(preview);
        }
    }

    fn start(&mut self, now: Instant) {
        let left_out = &mut self.left_out;
        self.jobs
            .start(|preview, since| is_timely(now, *preview, since, left_out));
    }
}

/// Whether a job has waited no longer than [`PREVIEW_AGE_MAX`]; otherwise it is left out.
fn is_timely(
    now: Instant,
    preview: PreviewId,
    since: Instant,
    left_out: &mut VecDeque<PreviewId>,
) -> bool {
    let timely = now.duration_since(since) <= PREVIEW_AGE_MAX;
    if !timely {
        left_out.push_back(preview);
    }
    timely
}

fn make(job: &PreviewJob) -> Made {
    let PreviewJob {
        record,
        keyframe,
        height,
        format,
        ..
    } = job;
    let file = preview::make(record, keyframe, *height, *format);
    let file = file.map_err(|error| error.to_string())?;
    if file.len() > PREVIEW_BYTES_MAX {
        return Err(format!("a file of {} bytes is too long", file.len()));
    }
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shardcast_link::PreviewFormat;

    use super::*;

    fn job(id: u64) -> PreviewJob {
        PreviewJob {
            preview: PreviewId::numbered(id),
            record: Bytes::new(),
            keyframe: Bytes::new(),
            height: 480,
            format: PreviewFormat::Png,
        }
    }

    fn next(previews: &mut Previews, now: Instant) -> Option<u64> {
        let left_out = &mut previews.left_out;
        let next = previews
            .jobs
            .begin_next(|preview, since| is_timely(now, *preview, since, left_out));
        next.map(PreviewId::number)
    }

    #[test]
    fn one_is_made_at_a_time_and_those_beyond_the_queue_or_too_late_are_left_out() {
        let mut previews = Previews::new(Notifier::default());
        let start = Instant::now();
        previews.enqueue(start, job(0));
        assert_eq!(next(&mut previews, start), Some(0));
        let beyond = PREVIEWS_WAITING_MAX as u64 + 1;
        for id in 1..=beyond {
            previews.enqueue(start, job(id));
        }
        let (left_out, made) = previews.completion(start).unwrap();
        assert_eq!(left_out.number(), beyond);
        assert!(made.unwrap_err().contains("no time"));
        assert_eq!(next(&mut previews, start), None, "one is being made");
        previews
            .jobs
            .end(PreviewId::numbered(0), Err(String::new()));
        assert!(previews.jobs.completion().is_some());
        let late = start + PREVIEW_AGE_MAX + Duration::from_millis(1);
        assert_eq!(next(&mut previews, late), None);
        assert_eq!(previews.left_out.len(), PREVIEWS_WAITING_MAX);
        previews.enqueue(late, job(1_000));
        assert_eq!(next(&mut previews, late), Some(1_000));
    }

    #[test]
    fn what_cannot_be_decoded_is_told() {
        assert!(make(&job(1)).is_err());
    }
}
