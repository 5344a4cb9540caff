//! The clock that publishers and sinks share. Delays are measured on one machine only.

use rustix::time::{ClockId, clock_gettime};

/// Microseconds of the monotonic clock, which is the same in all processes of the machine and is
/// never set back.
pub fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(now.tv_nsec).unwrap_or_default();
    seconds * 1_000_000 + nanos / 1_000
}
