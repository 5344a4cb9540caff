//! Still pictures, made beside the executor: tens of milliseconds of decoding and coding.
//!
//! A shard makes one at a time, so that many broadcasts that lose their publishers in one moment
//! cost it no more than one does. Each is made on a thread of its own at a low priority, which ends
//! with it: what that costs is nothing beside the picture, a panic takes nothing else along, and
//! none of the memory of the codecs stays.

use std::{
    collections::VecDeque,
    panic::{self, AssertUnwindSafe},
    thread,
    time::Instant,
};

use futures_lite::{FutureExt, future::yield_now};
use shardcast_core::io::{StillId, StillJob, StillPicture, StillSource, StillTarget};
use shardcast_media::{self as media, still};

use crate::{
    limits::{STILL_AGE_MAX, STILLS_RUNNING_MAX, STILLS_WAITING_MAX},
    sched,
    shell::ShellHandle,
};

/// The picture, or in words why there is none.
pub(crate) type Made = Result<StillPicture, String>;

const DEFECT: &str = "a defect of this server; its log has the details";

/// The still pictures that a shard has asked for.
#[derive(Default)]
pub(crate) struct Stills {
    /// Each with the time at which it was asked for, the oldest first.
    waiting: VecDeque<(Instant, StillJob)>,
    running: usize,
    answers: VecDeque<(StillId, Made)>,
}

impl Stills {
    /// Asks for a picture; see [`Self::answer`].
    pub(crate) fn ask(&mut self, handle: &ShellHandle, job: StillJob) {
        let now = Instant::now();
        self.enter(now, job);
        self.start(now, handle);
    }

    /// The next answer that the shard has not been told.
    pub(crate) fn answer(&mut self) -> Option<(StillId, Made)> {
        self.answers.pop_front()
    }

    fn enter(&mut self, now: Instant, job: StillJob) {
        if self.waiting.len() < STILLS_WAITING_MAX {
            self.waiting.push_back((now, job));
            return;
        }
        let words = format!(
            "{STILLS_WAITING_MAX} pictures wait to be made already: this machine is too slow for \
             as many publishers that are away"
        );
        self.answers.push_back((job.still, Err(words)));
    }

    fn start(&mut self, now: Instant, handle: &ShellHandle) {
        while let Some(job) = self.next(now) {
            glommio::spawn_local(run(handle.clone(), job)).detach();
        }
    }

    /// The next picture to make, if it is its turn. Those that nobody waits for any more are passed
    /// over, so that the ones behind do not come as late.
    fn next(&mut self, now: Instant) -> Option<StillJob> {
        while self.running < STILLS_RUNNING_MAX {
            let (asked, job) = self.waiting.pop_front()?;
            if now.duration_since(asked) <= STILL_AGE_MAX {
                self.running += 1;
                return Some(job);
            }
            let words = format!(
                "its turn to be made did not come within {} s: this machine is too slow for as \
                 many publishers that are away",
                STILL_AGE_MAX.as_secs()
            );
            self.answers.push_back((job.still, Err(words)));
        }
        None
    }

    fn finish(&mut self, still: StillId, made: Made) {
        self.running -= 1;
        self.answers.push_back((still, made));
    }
}

async fn run(handle: ShellHandle, job: StillJob) {
    // glommio runs a new task at once, while the shell is still borrowed by whoever asked.
    yield_now().await;
    let still = job.still;
    // The thread of glommio only waits: it serves others too, and a thread that has lowered its
    // priority may not raise it again.
    let work = move || panic::catch_unwind(AssertUnwindSafe(|| apart(move || make(&job))));
    let answer = AssertUnwindSafe(glommio::executor().spawn_blocking(work))
        .catch_unwind()
        .await
        .and_then(|answer| answer)
        .unwrap_or_else(|_| Err(DEFECT.to_owned()));
    handle.with(|shell| {
        let now = Instant::now();
        shell.stills.finish(still, answer);
        shell.stills.start(now, &handle);
        shell.drive(now);
    });
}

/// Does something on a thread of its own, behind the shards.
fn apart(work: impl FnOnce() -> Made + Send + 'static) -> Made {
    let work = || {
        if let Err(error) = sched::step_behind() {
            tracing::debug!("a picture is made at the priority of the shards: {error}");
        }
        work()
    };
    thread::Builder::new()
        .name("still".to_owned())
        .spawn(work)
        .map_err(|error| format!("no thread to make the picture on: {error}"))?
        .join()
        .unwrap_or_else(|_| Err(DEFECT.to_owned()))
}

fn make(job: &StillJob) -> Made {
    let source = match &job.source {
        StillSource::LastOf {
            record,
            access_units,
        } => media::StillSource::LastOf {
            record,
            access_units,
        },
        StillSource::Image(file) => media::StillSource::Image(file),
    };
    let media::StillNals { sps, pps, slices } =
        still::make(source, &target(&job.target)).map_err(|error| error.to_string())?;
    Ok(StillPicture { sps, pps, slices })
}

/// Profile and level follow from the tools, as far as slices show them.
fn target(target: &StillTarget) -> media::StillTarget {
    let StillTarget {
        width,
        height,
        profile: _,
        level: _,
        cabac,
        transform_8x8,
        chroma_qp_offset,
        full_range,
    } = *target;
    media::StillTarget {
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

    fn job(id: u64) -> StillJob {
        StillJob {
            still: StillId(id),
            source: StillSource::Image(Bytes::new()),
            target: StillTarget {
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

    #[test]
    fn a_picture_too_many_is_refused_in_words_and_room_comes_back() {
        let mut stills = Stills::default();
        let now = Instant::now();
        stills.enter(now, job(0));
        assert_eq!(stills.next(now).map(|job| job.still), Some(StillId(0)));
        for id in 1..=STILLS_WAITING_MAX as u64 + 1 {
            stills.enter(now, job(id));
        }
        let Some((StillId(refused), Err(words))) = stills.answer() else {
            panic!("nothing is refused");
        };
        assert_eq!(refused, STILLS_WAITING_MAX as u64 + 1);
        assert!(words.contains("too slow"), "{words}");
        assert!(stills.next(now).is_none() && stills.answer().is_none());
        stills.finish(StillId(0), Err("no".to_owned()));
        assert_eq!(stills.next(now).map(|job| job.still), Some(StillId(1)));
        assert!(matches!(stills.answer(), Some((StillId(0), Err(_)))));
    }

    #[test]
    fn a_picture_that_nobody_waits_for_any_more_is_not_made_and_its_asker_is_told() {
        let mut stills = Stills::default();
        let start = Instant::now();
        for id in 0..3 {
            stills.enter(start, job(id));
        }
        assert_eq!(stills.next(start).map(|job| job.still), Some(StillId(0)));
        let later = start + STILL_AGE_MAX + Duration::from_millis(1);
        stills.enter(later, job(3));
        assert!(stills.next(later).is_none() && stills.answer().is_none());

        stills.finish(StillId(0), Err("no".to_owned()));
        assert_eq!(stills.next(later).map(|job| job.still), Some(StillId(3)));
        let answers: Vec<_> = std::iter::from_fn(|| stills.answer()).collect();
        let told: Vec<_> = answers.iter().map(|(StillId(id), _)| *id).collect();
        assert_eq!(told, [0, 1, 2]);
        for (_, made) in answers.iter().skip(1) {
            let words = made.as_ref().unwrap_err();
            assert!(words.contains("within 20 s"), "{words}");
        }
    }

    #[test]
    fn a_panic_of_one_picture_is_an_answer() {
        assert_eq!(apart(|| panic!("on purpose")), Err(DEFECT.to_owned()));
        assert!(make(&job(1)).unwrap_err().contains("PNG"));
    }
}
