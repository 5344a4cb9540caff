//! CPU time of the thread, and the one timer of a shard.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use glommio::timer::Timer;

use crate::limits::TIMER_DISTANCE_MIN;

/// Measures what share of a core the calling thread uses.
#[derive(Debug)]
pub(crate) struct CpuMeter {
    since: Instant,
    used: Duration,
}

impl CpuMeter {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            since: now,
            used: thread_cpu_time(),
        }
    }

    /// Thousandths of a core since the last answer; `None` until a second has passed.
    pub(crate) fn sample(&mut self, now: Instant) -> Option<u32> {
        let wall = now.saturating_duration_since(self.since);
        if wall < Duration::from_secs(1) {
            return None;
        }
        let used = thread_cpu_time();
        let spent = used.saturating_sub(self.used);
        *self = Self { since: now, used };
        u32::try_from(spent.as_micros() * 1_000 / wall.as_micros().max(1)).ok()
    }
}

/// CPU time that the calling thread has used.
pub(crate) fn thread_cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec that outlives the call; the clock always exists on Linux,
    // and were it to fail, `time` stays zero.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// The timer of a shard, shared between whoever moves its deadline and the task that waits.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    /// What the waiting task has armed.
    armed: Option<Instant>,
    fired: Option<Instant>,
    waker: Option<Waker>,
}

impl Alarm {
    /// The deadline is now `next`. The waiting task is woken only when it would wake too late:
    /// a timer that fires early costs one wake, moving it each time would cost one each time.
    pub(crate) fn moved(&mut self, next: Option<Instant>) {
        let Some(next) = next else { return };
        if self.armed.is_none_or(|armed| next < armed)
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }

    /// Polls for `next`; to be called by one task only, with its own `timer`.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        timer: &mut Timer,
        next: Option<Instant>,
    ) -> Poll<()> {
        let Some(next) = next.map(|next| self.not_too_soon(next)) else {
            self.armed = None;
            self.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        loop {
            let now = Instant::now();
            if next <= now {
                self.armed = None;
                self.waker = None;
                self.fired = Some(now);
                return Poll::Ready(());
            }
            if self.armed.is_none_or(|armed| next < armed || armed <= now) {
                timer.reset(next - now);
                self.armed = Some(next);
            }
            if Pin::new(&mut *timer).poll(cx).is_pending() {
                self.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
    }

    fn not_too_soon(&self, next: Instant) -> Instant {
        self.fired
            .map_or(next, |fired| next.max(fired + TIMER_DISTANCE_MIN))
    }
}
