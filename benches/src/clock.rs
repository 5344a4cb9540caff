//! The clock that publishers and sinks share. Delays are measured on one machine only.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Microseconds of the monotonic clock, which is the same in all processes of the machine and is
/// never set back.
pub fn now_us() -> u64 {
    micros(clock_gettime(ClockId::Monotonic))
}

/// The same clock at a moment of the wall clock that has just been; `None` of one that lies ahead. A wall clock that is
/// set in between is seen as that much of delay.
pub(crate) fn of_wall_clock(seconds: i64, nanos: i64) -> Option<u64> {
    let at = Timespec {
        tv_sec: seconds,
        tv_nsec: nanos,
    };
    let wall_us = micros(clock_gettime(ClockId::Realtime));
    now_us().checked_sub(wall_us.checked_sub(micros(at))?)
}

fn micros(at: Timespec) -> u64 {
    let seconds = u64::try_from(at.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(at.tv_nsec).unwrap_or_default();
    seconds * 1_000_000 + nanos / 1_000
}
