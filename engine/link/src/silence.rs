//! How long a party has been silent, not counting time in which the listener itself did not run.

use std::time::{Duration, Instant};

/// Measures for how long a party has been silent. Time counts only while the listener ran: a process that
/// was stopped (SIGSTOP, a suspended or overloaded machine) finds all parties late when it goes on, and
/// would end peers that are well.
#[derive(Debug)]
pub struct Silence {
    last_look: Instant,
    /// The most that one call of `look` adds. A listener that runs calls it more often than this.
    step_max: Duration,
    length: Duration,
}

impl Silence {
    /// Starts at `now`. One call adds at most `step_max`.
    pub fn new(now: Instant, step_max: Duration) -> Self {
        Self {
            last_look: now,
            step_max,
            length: Duration::ZERO,
        }
    }

    /// To be called regularly. `is_silent`: the party has sent nothing since the last call. Returns for
    /// how long it has been silent.
    pub fn look(&mut self, now: Instant, is_silent: bool) -> Duration {
        let step = now.saturating_duration_since(self.last_look);
        self.last_look = now;
        self.length = if is_silent {
            self.length + step.min(self.step_max)
        } else {
            Duration::ZERO
        };
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_secs(1);

    #[test]
    fn silence_adds_up_while_the_listener_looks_and_ends_with_a_word() {
        for pause_ms in [10, 250, 999] {
            let (mut now, pause) = (Instant::now(), Duration::from_millis(pause_ms));
            let mut silence = Silence::new(now, STEP);
            let mut length = Duration::ZERO;
            for n in 1..=100 {
                now += pause;
                length = silence.look(now, true);
                assert_eq!(length, pause * n);
            }
            assert!(length > Duration::ZERO);
            assert_eq!(silence.look(now + pause, false), Duration::ZERO);
        }
    }

    #[test]
    fn a_listener_that_was_stopped_itself_counts_one_step_at_most() {
        for absence_s in [2, 30, 86_400] {
            let now = Instant::now();
            let mut silence = Silence::new(now, STEP);
            let back = now + Duration::from_secs(absence_s);
            assert_eq!(silence.look(back, true), STEP);
            assert_eq!(silence.look(back + STEP / 2, true), STEP + STEP / 2);
        }
    }
}
