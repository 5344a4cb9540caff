//! CPU time and sleeps of the calling thread.

use std::time::{Duration, Instant};

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

/// How often the calling thread has given up its core to wait.
pub(crate) fn thread_sleeps() -> u64 {
    // SAFETY: an rusage is plain numbers, for which zeroes are valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a valid rusage that outlives the call; it cannot fail with these arguments,
    // and if it did, `usage` would stay zero.
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    u64::try_from(usage.ru_nvcsw).unwrap_or_default()
}
