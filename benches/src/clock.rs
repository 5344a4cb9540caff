//! The clock that publisher and sink share: they are measured on one machine.

use rustix::time::{ClockId, clock_gettime};

/// Microseconds of the monotonic clock: the same in every process of this machine, never set.
pub fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(now.tv_nsec).unwrap_or_default();
    seconds * 1_000_000 + nanos / 1_000
}
