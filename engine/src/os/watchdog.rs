//! Notices a shard that hangs, with everybody on it.
//!
//! A shard that has not run when it promised to is woken first: its executor may sleep with work to do,
//! which the guard of its loop ends within milliseconds nearly always, and this thread in the end.
//! One that does not run for [`SHARD_STALL`] in spite of that hangs. The engine ends then, and is started
//! again; the publishers come back by themselves.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Poll, Waker},
    thread,
    time::Instant,
};

use futures_lite::future::poll_fn;
use shardcast_link::Silence;

use crate::limits::{SHARD_STALL, WATCHDOG_LATE, WATCHDOG_LOOK};

/// A shard's promise to the watchdog: when it will have run again at the latest.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    epoch: Instant,
    /// In microseconds since the epoch.
    due_us: AtomicU64,
    /// How often the shard has run: each promise says so, and that task, which runs whenever the shard is woken and not
    /// hanging.
    rounds: AtomicU64,
    /// Of a task of the shard that does nothing but be woken.
    waker: Mutex<Option<Waker>>,
}

impl Heartbeat {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            epoch: Instant::now(),
            due_us: AtomicU64::new(u64::MAX),
            rounds: AtomicU64::new(0),
            waker: Mutex::new(None),
        })
    }

    /// The shard will run again at `due` or before.
    pub(crate) fn promise(&self, due: Option<Instant>) {
        let us = due.map_or(u64::MAX, |due| {
            let since = due.saturating_duration_since(self.epoch);
            u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
        });
        self.due_us.store(us, Ordering::Relaxed);
        // One that has always something due is late at each look, by less than it is woken for.
        self.rounds.fetch_add(1, Ordering::Relaxed);
    }

    /// Runs on the shard for as long as it lives.
    pub(crate) async fn answer(self: Arc<Self>) {
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

/// Starts the thread, which ends with the process. `hangs` is called once for each shard that does not
/// run any more, with its index.
pub(crate) fn start(
    heartbeats: Vec<Arc<Heartbeat>>,
    mut hangs: impl FnMut(usize) + Send + 'static,
) -> std::io::Result<()> {
    let watch = move || {
        let mut shards: Vec<(usize, Liveness)> =
            heartbeats.iter().map(Liveness::new).enumerate().collect();
        loop {
            thread::sleep(WATCHDOG_LOOK);
            wake_late(&heartbeats);
            let now = Instant::now();
            shards.retain_mut(|(index, liveness)| {
                let is_hung = liveness.is_hung(now);
                if is_hung {
                    hangs(*index);
                }
                !is_hung
            });
        }
    };
    thread::Builder::new()
        .name("watchdog".into())
        .spawn(watch)
        .map(drop)
}

/// Whether one shard runs at all.
struct Liveness {
    heartbeat: Arc<Heartbeat>,
    /// At the last look.
    rounds: u64,
    silence: Silence,
}

impl Liveness {
    fn new(heartbeat: &Arc<Heartbeat>) -> Self {
        // A process that was stopped has its watch stopped too, and finds all shards late at once.
        let silence = Silence::new(Instant::now(), 2 * WATCHDOG_LOOK);
        Self {
            heartbeat: Arc::clone(heartbeat),
            rounds: 0,
            silence,
        }
    }

    fn is_hung(&mut self, now: Instant) -> bool {
        let rounds = self.heartbeat.rounds.load(Ordering::Relaxed);
        let is_silent = rounds == self.rounds && self.heartbeat.slack_us() < 0;
        self.rounds = rounds;
        self.silence.look(now, is_silent) >= SHARD_STALL
    }
}

/// Wakes the shards that have not run when they promised to.
fn wake_late(heartbeats: &[Arc<Heartbeat>]) {
    let late_us = i64::try_from(WATCHDOG_LATE.as_micros()).unwrap_or(i64::MAX);
    for heartbeat in heartbeats {
        let slack_us = heartbeat.slack_us();
        if slack_us < -late_us {
            tracing::debug!(
                late_us = -slack_us,
                "a shard slept through its timer and is woken"
            );
            heartbeat.kick();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicUsize, task::Wake, time::Duration};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn answered() -> (Arc<Heartbeat>, Arc<Count>) {
        let (heartbeat, count) = (Heartbeat::new(), Arc::new(Count::default()));
        *heartbeat.waker() = Some(Waker::from(Arc::clone(&count)));
        (heartbeat, count)
    }

    #[test]
    fn a_shard_that_is_late_is_woken_and_one_on_time_is_left_alone() {
        let (late, late_wakes) = answered();
        let (timely, timely_wakes) = answered();
        let now = Instant::now();
        late.promise(Some(now));
        timely.promise(Some(now + Duration::from_secs(60)));
        thread::sleep(WATCHDOG_LATE * 2);
        wake_late(&[late, timely]);
        assert_eq!(late_wakes.0.load(Ordering::Relaxed), 1);
        assert_eq!(timely_wakes.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_shard_that_is_late_for_long_hangs_unless_it_runs_or_the_watch_was_stopped_itself() {
        let (heartbeat, _) = answered();
        let start = Instant::now();
        heartbeat.promise(Some(start));
        thread::sleep(WATCHDOG_LATE);
        let looks = |liveness: &mut Liveness, seconds: u32, runs: bool| {
            let mut hangs = false;
            for n in 0..4 * seconds {
                if runs {
                    // It is always late, as under overload, and gets on.
                    heartbeat.promise(Some(start));
                }
                hangs = liveness.is_hung(start + WATCHDOG_LOOK * (n + 1));
            }
            hangs
        };
        let seconds = u32::try_from(SHARD_STALL.as_secs()).unwrap();
        assert!(!looks(&mut Liveness::new(&heartbeat), seconds - 1, false));
        assert!(looks(&mut Liveness::new(&heartbeat), seconds + 1, false));
        assert!(!looks(&mut Liveness::new(&heartbeat), 10 * seconds, true));
        let mut stopped = Liveness::new(&heartbeat);
        assert!(!stopped.is_hung(start + WATCHDOG_LOOK));
        assert!(!stopped.is_hung(start + 100 * SHARD_STALL));
        heartbeat.promise(None);
        assert!(!looks(&mut Liveness::new(&heartbeat), 10 * seconds, false));
    }
}
