//! Wall-clock time as the protocols want it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::limits;

/// Milliseconds since 1970; 0 when the clock is before that.
pub(crate) fn unix_ms() -> u64 {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// Seconds since 1970.
pub(crate) fn unix_s() -> u64 {
    unix_ms() / 1000
}

/// Whether the wall clock goes as the monotone one does. An operator, NTP or a machine that was
/// suspended may set it; what is deleted for good then because it seems old cannot be brought back.
#[derive(Debug)]
pub(crate) struct ClockWatch {
    last: (Instant, u64),
    steady_since: Instant,
}

impl ClockWatch {
    /// Begins to watch; `unix_s` is the wall clock at `now`.
    pub(crate) fn new(now: Instant, unix_s: u64) -> Self {
        Self {
            last: (now, unix_s),
            steady_since: now,
        }
    }

    /// Looks at both clocks. Returns for how long they have agreed.
    pub(crate) fn steady_for(&mut self, now: Instant, unix_s: u64) -> Duration {
        let (last, last_unix_s) = self.last;
        let expected = last_unix_s.saturating_add(now.saturating_duration_since(last).as_secs());
        if expected.abs_diff(unix_s) > limits::CLOCK_STEP_S {
            self.steady_since = now;
        }
        self.last = (now, unix_s);
        now.saturating_duration_since(self.steady_since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const DAY_S: u64 = 86_400;

    #[test]
    fn clocks_agree_until_one_of_them_is_set_and_from_then_on_again() {
        for step_s in [-7_i64, 9, 3_600, -3_600, 365 * 86_400] {
            let start = Instant::now();
            let mut watch = ClockWatch::new(start, 1_000 * DAY_S);
            let wall = |minutes: u32| 1_000 * DAY_S + u64::from(minutes) * 60;
            for minutes in 1..100 {
                let steady = watch.steady_for(start + MINUTE * minutes, wall(minutes));
                assert_eq!(steady, MINUTE * minutes);
            }
            let set = |minutes| wall(minutes).saturating_add_signed(step_s);
            for minutes in 100..200 {
                let steady = watch.steady_for(start + MINUTE * minutes, set(minutes));
                assert_eq!(steady, MINUTE * (minutes - 100), "set by {step_s} s");
            }
        }
    }

    #[test]
    fn a_clock_that_is_slewed_is_not_set() {
        let start = Instant::now();
        let mut watch = ClockWatch::new(start, DAY_S);
        for minutes in 1..10_000_u32 {
            // 500 ppm, which is the most that a kernel slews by.
            let wall = DAY_S + u64::from(minutes) * 60 + u64::from(minutes) * 3 / 100;
            let steady = watch.steady_for(start + MINUTE * minutes, wall);
            assert_eq!(steady, MINUTE * minutes);
        }
    }
}
