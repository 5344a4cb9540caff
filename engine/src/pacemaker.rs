//! Wakes an executor that sleeps although it has work.
//!
//! glommio 0.9.0 parks when its preemption timer fires before the first task queue has run: it
//! takes "nothing has run" for "nothing is to run", and sleeps with runnable tasks until some I/O
//! completes (`run_task_queues` returns false for both). On a machine that takes the core away
//! for longer than [`PREEMPT_TIMER`](crate::limits::PREEMPT_TIMER) this happens within
//! minutes and lasts for seconds, with every broadcast of the shard. A wake from another thread
//! ends it, so one thread looks whether each shard has run when it said it would.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use futures_lite::future::poll_fn;

use crate::limits::{PACE_ACTIVE, PACE_IDLE, PACE_LATE, PACE_NEAR};

/// What a shard tells the pacemaker: when it will have run again at the latest.
#[derive(Debug)]
pub(crate) struct Beat {
    epoch: Instant,
    /// In microseconds since the epoch.
    due_us: AtomicU64,
    /// Of a task of the shard that does nothing but be woken.
    waker: Mutex<Option<Waker>>,
}

impl Beat {
    pub(crate) fn new() -> Arc<Self> {
        let (due_us, waker) = (AtomicU64::new(u64::MAX), Mutex::new(None));
        Arc::new(Self {
            epoch: Instant::now(),
            due_us,
            waker,
        })
    }

    /// The shard will run again at `due` or before.
    pub(crate) fn runs_by(&self, due: Option<Instant>) {
        let us = due.map_or(u64::MAX, |due| {
            let since = due.saturating_duration_since(self.epoch);
            u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
        });
        self.due_us.store(us, Ordering::Relaxed);
    }

    /// Runs on the shard for as long as it lives.
    pub(crate) async fn attend(self: Arc<Self>) {
        poll_fn(|cx| {
            *self.waker() = Some(cx.waker().clone());
            Poll::<()>::Pending
        })
        .await;
    }

    /// How long until it is due; negative once it is late.
    fn slack_us(&self) -> i64 {
        let now = u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX);
        let due = self.due_us.load(Ordering::Relaxed);
        i64::try_from(i128::from(due) - i128::from(now)).unwrap_or(i64::MAX)
    }

    fn kick(&self) {
        if let Some(waker) = &*self.waker() {
            waker.wake_by_ref();
        }
    }

    fn waker(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the thread; it ends with the process.
pub(crate) fn start(beats: Vec<Arc<Beat>>) -> std::io::Result<()> {
    let watch = move || {
        loop {
            thread::sleep(look(&beats));
        }
    };
    thread::Builder::new()
        .name("pacemaker".into())
        .spawn(watch)
        .map(drop)
}

/// Wakes who is late; how long to wait before the next look.
fn look(beats: &[Arc<Beat>]) -> Duration {
    let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    let mut pace = PACE_IDLE;
    for beat in beats {
        let slack_us = beat.slack_us();
        if slack_us < -micros(PACE_LATE) {
            tracing::debug!(
                late_us = -slack_us,
                "a shard slept through its timer and is woken"
            );
            beat.kick();
        }
        if slack_us < micros(PACE_NEAR) {
            pace = PACE_ACTIVE;
        }
    }
    pace
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicUsize, task::Wake};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn attended() -> (Arc<Beat>, Arc<Count>) {
        let (beat, count) = (Beat::new(), Arc::new(Count::default()));
        *beat.waker() = Some(Waker::from(Arc::clone(&count)));
        (beat, count)
    }

    #[test]
    fn a_shard_that_is_late_is_woken_and_one_on_time_is_left_alone() {
        let (late, late_wakes) = attended();
        let (timely, timely_wakes) = attended();
        let now = Instant::now();
        late.runs_by(Some(now));
        timely.runs_by(Some(now + Duration::from_secs(60)));
        thread::sleep(PACE_LATE * 2);
        assert_eq!(look(&[late, timely]), PACE_ACTIVE);
        assert_eq!(late_wakes.0.load(Ordering::Relaxed), 1);
        assert_eq!(timely_wakes.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn shards_with_nothing_to_do_are_looked_at_seldom() {
        let (beat, wakes) = attended();
        assert_eq!(look(&[beat]), PACE_IDLE);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
    }
}
