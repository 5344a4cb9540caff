//! Wakes an executor that sleeps although it has work.
//!
//! glommio 0.9.0 parks when its preemption timer fires before the first task queue has run: it
//! takes "nothing has run" for "nothing is to run", and sleeps with runnable tasks until some I/O
//! completes (`run_task_queues` returns false for both). On a machine that takes the core away
//! for longer than [`PREEMPT_TIMER`](crate::limits::PREEMPT_TIMER) this happens within
//! minutes and lasts for seconds, with every broadcast of the shard. A wake from another thread
//! ends it, so one thread looks whether each shard has run when it said it would.
//!
//! A shard that does not run for [`SHARD_STALL`] in spite of that hangs, and everybody on it with
//! it. The engine ends then, and is started again; the publishers come back by themselves.

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
use shardcast_link::Silence;

use crate::limits::{PACE_ACTIVE, PACE_IDLE, PACE_LATE, PACE_NEAR, SHARD_STALL};

/// What a shard tells the pacemaker: when it will have run again at the latest.
#[derive(Debug)]
pub(crate) struct Beat {
    epoch: Instant,
    /// In microseconds since the epoch.
    due_us: AtomicU64,
    /// How often that task has run: it does whenever the shard is woken and not hanging.
    rounds: AtomicU64,
    /// Of a task of the shard that does nothing but be woken.
    waker: Mutex<Option<Waker>>,
}

impl Beat {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            epoch: Instant::now(),
            due_us: AtomicU64::new(u64::MAX),
            rounds: AtomicU64::new(0),
            waker: Mutex::new(None),
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
            self.rounds.fetch_add(1, Ordering::Relaxed);
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

/// Starts the thread, which ends with the process. `hangs` is told once of each shard that does not
/// run any more, by its index.
pub(crate) fn start(
    beats: Vec<Arc<Beat>>,
    mut hangs: impl FnMut(usize) + Send + 'static,
) -> std::io::Result<()> {
    let watch = move || {
        let mut pulses: Vec<(usize, Pulse)> = beats.iter().map(Pulse::new).enumerate().collect();
        loop {
            thread::sleep(look(&beats));
            let now = Instant::now();
            pulses.retain_mut(|(index, pulse)| {
                let is_hung = pulse.is_hung(now);
                if is_hung {
                    hangs(*index);
                }
                !is_hung
            });
        }
    };
    thread::Builder::new()
        .name("pacemaker".into())
        .spawn(watch)
        .map(drop)
}

/// Whether one shard runs at all.
struct Pulse {
    beat: Arc<Beat>,
    /// At the last look.
    rounds: u64,
    silence: Silence,
}

impl Pulse {
    fn new(beat: &Arc<Beat>) -> Self {
        // A process that was stopped has its watch stopped too, and finds all shards late at once.
        let silence = Silence::new(Instant::now(), 2 * PACE_IDLE);
        Self {
            beat: Arc::clone(beat),
            rounds: 0,
            silence,
        }
    }

    fn is_hung(&mut self, now: Instant) -> bool {
        let rounds = self.beat.rounds.load(Ordering::Relaxed);
        let is_silent = rounds == self.rounds && self.beat.slack_us() < 0;
        self.rounds = rounds;
        self.silence.look(now, is_silent) >= SHARD_STALL
    }
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
    fn a_shard_that_is_late_for_long_hangs_unless_it_runs_or_the_watch_was_stopped_itself() {
        let (beat, _) = attended();
        let start = Instant::now();
        beat.runs_by(Some(start));
        thread::sleep(PACE_LATE);
        let looks = |pulse: &mut Pulse, seconds: u32, runs: bool| {
            let mut hangs = false;
            for n in 0..4 * seconds {
                if runs {
                    // It is always late, as under overload, and gets on.
                    beat.rounds.fetch_add(1, Ordering::Relaxed);
                }
                hangs = pulse.is_hung(start + PACE_IDLE * (n + 1));
            }
            hangs
        };
        let seconds = u32::try_from(SHARD_STALL.as_secs()).unwrap();
        assert!(!looks(&mut Pulse::new(&beat), seconds - 1, false));
        assert!(looks(&mut Pulse::new(&beat), seconds + 1, false));
        assert!(!looks(&mut Pulse::new(&beat), 10 * seconds, true));
        let mut stopped = Pulse::new(&beat);
        assert!(!stopped.is_hung(start + PACE_IDLE));
        assert!(!stopped.is_hung(start + 100 * SHARD_STALL));
        beat.runs_by(None);
        assert!(!looks(&mut Pulse::new(&beat), 10 * seconds, false));
    }

    #[test]
    fn shards_with_nothing_to_do_are_looked_at_seldom() {
        let (beat, wakes) = attended();
        assert_eq!(look(&[beat]), PACE_IDLE);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
    }
}
