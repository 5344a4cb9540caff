//! When str0m is to be given the time.
//!
//! Each datagram of the peer drives str0m with all its timers. While media flows datagrams come every few
//! milliseconds, so a timer that is not urgent waits for the next one: NACK would otherwise wake the
//! shard 30 times a second for each publisher, and feedback on congestion 20 times.
//!
//! ```text
//!  datagrams   │ │││ │    │ ││   │                   none comes any more
//!  NACK due        ┆         ┆      ┆
//!  sent            └─►    ·  └►     └──────────►     after the slack
//! ```
//!
//! What is missing is known from the datagrams behind it, so NACK is late only where nothing comes. A
//! publisher whose datagrams are far apart is not waited for: each wait would be in vain.

use std::time::{Duration, Instant};

use str0m::Reason;

/// So long after a datagram the next one is waited for. Opus comes every 20 ms, video every 33.
const SLACK: Duration = Duration::from_millis(25);
/// The end of the wait moves in steps of this, so that the shard's timer is not set anew by each datagram.
const STEP: Duration = Duration::from_millis(10);
/// After two datagrams that were further apart than the longest wait, nothing waits for so long.
const SPARSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct RtcTimer {
    at: Instant,
    can_wait: bool,
    /// The next datagram is expected by then.
    datagram_by: Instant,
    driven_at: Instant,
    sparse_until: Instant,
}

impl RtcTimer {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            at: now,
            can_wait: false,
            datagram_by: now,
            driven_at: now,
            sparse_until: now,
        }
    }

    /// A datagram of a publisher whose media flows has driven str0m.
    pub(super) fn driven(&mut self, now: Instant) {
        if now.saturating_duration_since(self.driven_at) > SLACK + STEP {
            self.sparse_until = now + SPARSE;
        }
        self.driven_at = now;
        if now < self.sparse_until {
            self.datagram_by = now;
        } else if self.datagram_by < now + SLACK {
            self.datagram_by = now + SLACK + STEP;
        }
    }

    /// str0m wants the time at `at`. What is due already is a request of ours: for a keyframe.
    pub(super) fn set(&mut self, now: Instant, at: Instant, reason: Reason) {
        self.at = at;
        self.can_wait = at > now
            && matches!(
                reason,
                Reason::Nack | Reason::Twcc | Reason::Feedback | Reason::Stats | Reason::PauseCheck
            );
    }

    /// When the shard is to be woken for it.
    pub(super) fn wake_at(&self) -> Instant {
        if self.can_wait {
            self.at.max(self.datagram_by)
        } else {
            self.at
        }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_is_not_urgent_waits_for_a_datagram_and_no_longer_than_the_slack() {
        let t0 = Instant::now();
        let mut timer = RtcTimer::new(t0);
        timer.driven(t0);
        for (reason, wake_at) in [
            (Reason::Nack, t0 + SLACK + STEP),
            (Reason::Twcc, t0 + SLACK + STEP),
            (Reason::Ice, t0 + 5 * MS),
            (Reason::DTLS, t0 + 5 * MS),
            (Reason::ReceiveReorder, t0 + 5 * MS),
        ] {
            timer.set(t0, t0 + 5 * MS, reason);
            assert_eq!(timer.wake_at(), wake_at, "{reason:?}");
        }
        // No datagram has come since.
        let t1 = t0 + 50 * MS;
        timer.set(t1, t1 + MS, Reason::Nack);
        assert_eq!(timer.wake_at(), t1 + MS);
        timer.set(t1, t1, Reason::Feedback);
        assert_eq!(timer.wake_at(), t1);
    }

    #[test]
    fn nothing_waits_where_datagrams_are_far_apart() {
        let t0 = Instant::now();
        let mut timer = RtcTimer::new(t0);
        for n in 0..20 {
            let now = t0 + n * 100 * MS;
            timer.driven(now);
            timer.set(now, now + MS, Reason::Nack);
            assert!(n == 0 || timer.wake_at() == now + MS);
        }
        // They are near each other again.
        let now = t0 + 1_900 * MS;
        for n in 0..=1_000 {
            timer.driven(now + n * MS);
        }
        let now = now + 1_000 * MS;
        timer.set(now, now + MS, Reason::Nack);
        assert!(timer.wake_at() >= now + SLACK);
    }

    #[test]
    fn while_datagrams_come_the_wake_is_always_ahead_and_moves_seldom() {
        let t0 = Instant::now();
        let mut timer = RtcTimer::new(t0);
        let mut wakes = Vec::new();
        for n in 0..1_000 {
            let now = t0 + n * MS;
            timer.driven(now);
            timer.set(now, now + MS, Reason::Nack);
            assert!(timer.wake_at() >= now + SLACK);
            assert!(timer.wake_at() <= now + SLACK + STEP);
            wakes.push(timer.wake_at());
        }
        wakes.dedup();
        assert!(wakes.len() <= 100, "set {} times", wakes.len());
    }
}
