//! Work that blocks, on threads beside the executor: name look-ups, still frames and previews.

pub(crate) mod lookup;
pub(crate) mod preview;
pub(crate) mod still_frame;

use std::{
    collections::VecDeque,
    panic::{self, AssertUnwindSafe},
    thread,
    time::Instant,
};

use futures_lite::FutureExt;

use crate::{
    completions::{Completions, Notifier},
    os::sched,
};

/// What a job that panicked is answered with.
const DEFECT: &str = "a defect of this server; its log has the details";

/// One job's work: what it gives, or the reason why there is nothing.
type Work<T> = Box<dyn FnOnce() -> Result<T, String> + Send>;

/// How many jobs there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JobLimits {
    /// On threads at a time.
    pub(crate) running_max: usize,
    /// In the queue for a thread.
    pub(crate) waiting_max: usize,
}

/// A bounded queue of blocking work. Jobs start in their order, as many at a time as the limit
/// says; each gives one completion.
pub(crate) struct BlockingJobs<K, T> {
    limits: JobLimits,
    waiting: VecDeque<Waiting<K, T>>,
    running: usize,
    completions: Completions<(K, Result<T, String>)>,
}

struct Waiting<K, T> {
    key: K,
    since: Instant,
    work: Work<T>,
}

impl<K: Clone + 'static, T: Send + 'static> BlockingJobs<K, T> {
    pub(crate) fn new(limits: JobLimits, notifier: Notifier) -> Self {
        Self {
            limits,
            waiting: VecDeque::new(),
            running: 0,
            completions: Completions::new(notifier),
        }
    }

    /// Puts a job at the end of the queue; false when that is full, and the job dropped.
    pub(crate) fn enqueue(
        &mut self,
        now: Instant,
        key: K,
        work: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> bool {
        if self.waiting.len() >= self.limits.waiting_max {
            return false;
        }
        self.waiting.push_back(Waiting {
            key,
            since: now,
            work: Box::new(work),
        });
        true
    }

    /// Starts what has its turn. `wants` is asked of each job before it starts, with the time at
    /// which it was enqueued; those that it does not want any more are dropped.
    pub(crate) fn start(&mut self, mut wants: impl FnMut(&K, Instant) -> bool) {
        while let Some((key, work)) = self.next(&mut wants) {
            let completions = self.completions.clone();
            glommio::spawn_local(async move {
                let work = move || panic::catch_unwind(AssertUnwindSafe(work));
                let result = AssertUnwindSafe(glommio::executor().spawn_blocking(work))
                    .catch_unwind()
                    .await
                    .and_then(|result| result)
                    .unwrap_or_else(|_| Err(DEFECT.to_owned()));
                completions.push((key, result));
            })
            .detach();
        }
    }

    /// What has ended. [`Self::start`] is to be called afterwards.
    pub(crate) fn completion(&mut self) -> Option<(K, Result<T, String>)> {
        let completion = self.completions.take()?;
        debug_assert!(self.running > 0, "a job has ended that was not started");
        self.running -= 1;
        Some(completion)
    }

    /// The next job to run, if there is a thread for it.
    fn next(&mut self, wants: &mut impl FnMut(&K, Instant) -> bool) -> Option<(K, Work<T>)> {
        while self.running < self.limits.running_max {
            let Waiting { key, since, work } = self.waiting.pop_front()?;
            if wants(&key, since) {
                self.running += 1;
                return Some((key, work));
            }
        }
        None
    }
}

/// Does something with pictures on a thread of its own, at a lower priority than the shards. A thread of the
/// executor's pool may only wait for it: look-ups need those too, and a thread that has lowered its priority may
/// not raise it again.
fn on_own_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let work = || {
        if let Err(error) = sched::lower_priority() {
            tracing::debug!("a picture is made at the priority of the shards: {error}");
        }
        work()
    };
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|error| format!("no thread to make the picture on: {error}"))?
        .join()
        .unwrap_or_else(|_| Err(DEFECT.to_owned()))
}

#[cfg(test)]
impl<K: Clone + 'static, T: Send + 'static> BlockingJobs<K, T> {
    /// The key of the next job, which counts as running from now on.
    fn begin_next(&mut self, mut wants: impl FnMut(&K, Instant) -> bool) -> Option<K> {
        self.next(&mut wants).map(|(key, _)| key)
    }

    /// A job that runs has ended.
    fn end(&self, key: K, result: Result<T, String>) {
        self.completions.push((key, result));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn jobs_start_in_their_order_as_many_as_the_limit_says_and_unwanted_ones_do_not() {
        let limits = JobLimits {
            running_max: 2,
            waiting_max: 4,
        };
        let mut jobs = BlockingJobs::<u32, ()>::new(limits, Notifier::default());
        let start = Instant::now();
        let late = start + Duration::from_secs(1);
        for (key, at) in [(1, start), (2, late), (3, start), (4, late)] {
            assert!(jobs.enqueue(at, key, || Ok(())));
        }
        assert!(!jobs.enqueue(late, 5, || Ok(())), "the queue is full");
        let wants = |_: &u32, since| since == late;
        assert_eq!(jobs.begin_next(wants), Some(2));
        assert_eq!(jobs.begin_next(wants), Some(4));
        assert!(jobs.enqueue(late, 6, || Ok(())));
        assert_eq!(jobs.begin_next(wants), None, "two run");
        jobs.end(2, Ok(()));
        assert_eq!(jobs.completion(), Some((2, Ok(()))));
        assert_eq!(jobs.begin_next(wants), Some(6));
        assert_eq!(jobs.completion(), None);
    }
}
