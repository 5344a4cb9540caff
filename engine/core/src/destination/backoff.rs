//! How long a destination waits before it is tried again.

use std::time::Duration;

use crate::limits::{BACKOFF_MS_MAX, BACKOFF_MS_MIN, BACKOFF_REFUSED_MS};

/// Doubles from the shortest to the longest delay, with up to a quarter of jitter, so that the
/// destinations of a platform that failed do not all return in one moment.
#[derive(Debug)]
pub(crate) struct Backoff {
    failures: u32,
    random: u64,
}

impl Backoff {
    /// `seed` makes the jitter repeatable.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            failures: 0,
            random: seed,
        }
    }

    /// The connection was well for long enough.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The delay after one more failure; `heals` is false when only a person can mend it.
    pub(crate) fn next_delay(&mut self, heals: bool) -> Duration {
        let doubled = BACKOFF_MS_MIN.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let delay_ms = if heals {
            doubled.min(BACKOFF_MS_MAX)
        } else {
            BACKOFF_REFUSED_MS
        };
        Duration::from_millis(delay_ms + self.random() % (delay_ms / 4 + 1))
    }

    /// SplitMix64: small, seedable, and good enough to spread retries.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_a_limit_and_start_again_after_a_good_time() {
        let mut backoff = Backoff::new(7);
        let delays: Vec<u128> = (0..12)
            .map(|_| backoff.next_delay(true).as_millis())
            .collect();
        for (n, delay) in delays.iter().enumerate() {
            let base = u128::from((BACKOFF_MS_MIN << n.min(16)).min(BACKOFF_MS_MAX));
            assert!((base..=base + base / 4).contains(delay), "{n}: {delay}");
        }
        backoff.reset();
        assert!(backoff.next_delay(true).as_millis() < 700);
    }

    #[test]
    fn what_only_a_person_can_mend_is_tried_seldom() {
        let mut backoff = Backoff::new(1);
        assert!(backoff.next_delay(false) >= Duration::from_millis(BACKOFF_REFUSED_MS));
    }
}
