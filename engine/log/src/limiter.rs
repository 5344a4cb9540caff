//! How often one kind of refusal is logged.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::limits::{REFUSALS_BURST, REFUSALS_EVERY};

/// Bounds the log lines of one kind of event that outsiders can cause as often as they like. It
/// is a `static` beside the line that it bounds, and counts for everybody together, so its memory
/// does not grow with the number of those who cause it.
///
/// ```
/// static REFUSED: shardcast_log::Limiter = shardcast_log::Limiter::refusals();
/// if let Some(left_out) = REFUSED.admit(std::time::Instant::now()) {
///     tracing::warn!(left_out, "refused");
/// }
/// ```
#[derive(Debug)]
pub struct Limiter {
    burst: u32,
    every: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Lines that have been logged and not yet earned back.
    spent: u32,
    /// When the last one was earned back, or the first was spent.
    since: Option<Instant>,
    left_out: u64,
}

impl Limiter {
    /// Logs `burst` lines at once, then one in each `every`.
    pub const fn new(burst: u32, every: Duration) -> Self {
        let state = State {
            spent: 0,
            since: None,
            left_out: 0,
        };
        Self {
            burst,
            every,
            state: Mutex::new(state),
        }
    }

    /// For what is refused to an outsider: 20 lines at once, then one each 5 s.
    pub const fn refusals() -> Self {
        Self::new(REFUSALS_BURST, REFUSALS_EVERY)
    }

    /// `Some`: the event is to be logged, with the number of events that were not logged since the
    /// last one that was. `None`: it is only counted.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *state.since.get_or_insert(now);
        let earned = now.saturating_duration_since(since).as_nanos() / self.every.as_nanos().max(1);
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        if earned >= state.spent {
            (state.spent, state.since) = (0, Some(now));
        } else if earned > 0 {
            state.spent -= earned;
            state.since = since.checked_add(self.every.saturating_mul(earned));
        }
        if state.spent >= self.burst {
            state.left_out += 1;
            return None;
        }
        state.spent += 1;
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_logged_at_the_rate_and_what_was_left_out_is_counted() {
        for (burst, every_ms, events_per_second) in
            [(20, 5_000, 100), (1, 1_000, 7), (3, 10, 1_000)]
        {
            let limiter = Limiter::new(burst, Duration::from_millis(every_ms));
            let (start, seconds) = (Instant::now(), 60);
            let events = seconds * events_per_second;
            let (mut logged, mut left_out) = (0_u64, 0);
            for n in 0..events {
                let now = start + Duration::from_secs_f64(n as f64 / events_per_second as f64);
                if let Some(n) = limiter.admit(now) {
                    (logged, left_out) = (logged + 1, left_out + n);
                }
            }
            let allowed = u64::from(burst) + seconds * 1_000 / every_ms;
            assert!(
                (allowed - 1..=allowed).contains(&logged),
                "{logged} of {allowed}"
            );
            let later = start + Duration::from_secs(10_000);
            left_out += limiter.admit(later).unwrap();
            assert_eq!(logged + left_out, events);
        }
    }

    #[test]
    fn what_happens_seldom_is_logged_each_time() {
        let limiter = Limiter::refusals();
        let start = Instant::now();
        for n in 0..100 {
            assert_eq!(limiter.admit(start + REFUSALS_EVERY * n), Some(0));
        }
    }
}
