//! How long a destination waits before it is tried again.

use std::time::{Duration, Instant};

use shardcast_link::RetryPolicy;

use crate::limits::{
    FAST_RETRY_DELAY_MS_MAX, FAST_RETRY_MS, KEY_TRUSTED_MS, REFUSED_DELAY_MS_MAX,
    REFUSED_DELAY_MS_MIN,
};

/// What kind of failure a retry follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No connection came about. Asking again costs the other side next to nothing.
    Unreachable,
    /// Any other failure that may pass by itself.
    Passing,
    /// The owner has to repair it: the key, the permission, the certificate.
    Refused,
}

/// Decides on delays. The first retry is immediate; then delays double from the policy's shortest
/// to its longest, with up to a quarter of jitter, so that the destinations of a platform that
/// failed do not all return in one moment.
#[derive(Debug)]
pub(super) struct Backoff {
    policy: RetryPolicy,
    failures: u32,
    /// The first of them.
    failing_since: Option<Instant>,
    random: u64,
}

impl Backoff {
    /// `seed` makes the jitter repeatable.
    pub(super) fn new(policy: RetryPolicy, seed: u64) -> Self {
        Self {
            policy,
            failures: 0,
            failing_since: None,
            random: seed,
        }
    }

    pub(super) fn policy(&self) -> RetryPolicy {
        self.policy
    }

    pub(super) fn set_policy(&mut self, policy: RetryPolicy) {
        self.policy = policy;
    }

    /// Failures in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// The connection was well for long enough.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
        self.failing_since = None;
    }

    /// The delay after one more failure; `None` when the policy allows no more retries.
    /// `since_live` is how long ago this address last took media.
    pub(super) fn next_delay(
        &mut self,
        now: Instant,
        failure: Failure,
        since_live: Option<Duration>,
    ) -> Option<Duration> {
        let earlier = self.failures;
        self.failures = self.failures.saturating_add(1);
        let failing_since = *self.failing_since.get_or_insert(now);
        let failing_for = now.saturating_duration_since(failing_since);
        if self.policy.retries_max.is_some_and(|max| earlier >= max)
            && failing_for >= Duration::from_millis(self.policy.give_up_ms_min)
        {
            return None;
        }
        let within = |ms| since_live.is_some_and(|since| since < Duration::from_millis(ms));
        // A key that worked a moment ago is not wrong now: the platform is in verdict.
        let failure = match failure {
            Failure::Refused if within(KEY_TRUSTED_MS) => Failure::Passing,
            other => other,
        };
        let delay_ms = match failure {
            Failure::Refused => doubled(REFUSED_DELAY_MS_MIN, earlier).min(REFUSED_DELAY_MS_MAX),
            _ if earlier == 0 => return Some(Duration::ZERO),
            _ => {
                let delay_ms = doubled(self.policy.delay_ms_min, earlier - 1);
                let fast_retry = failure == Failure::Unreachable && within(FAST_RETRY_MS);
                let max_ms = if fast_retry {
                    // Never below the shortest: who sets that has a reason to wait.
                    let fast_ms = FAST_RETRY_DELAY_MS_MAX.max(self.policy.delay_ms_min);
                    fast_ms.min(self.policy.delay_ms_max)
                } else {
                    self.policy.delay_ms_max
                };
                delay_ms.min(max_ms)
            }
        };
        let jitter_ms = self.random() % (delay_ms / 4 + 1);
        Some(Duration::from_millis(delay_ms.saturating_add(jitter_ms)))
    }

    /// A random number for the client's part of a login.
    pub(super) fn nonce(&mut self) -> u32 {
        (self.random() >> 32) as u32
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

fn doubled(delay_ms: u64, times: u32) -> u64 {
    delay_ms.saturating_mul(1 << times.min(16))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first `count` delays, in milliseconds.
    fn delays(policy: RetryPolicy, failure: Failure, since_live_s: Option<u64>) -> Vec<u128> {
        let mut backoff = Backoff::new(policy, 7);
        let since_live = since_live_s.map(Duration::from_secs);
        let mut now = Instant::now();
        let mut delays = Vec::new();
        while delays.len() < 12
            && let Some(delay) = backoff.next_delay(now, failure, since_live)
        {
            delays.push(delay.as_millis());
            now += delay;
        }
        delays
    }

    #[test]
    fn the_first_retry_is_immediate_and_then_delays_double_to_a_limit() {
        let delays = delays(RetryPolicy::default(), Failure::Passing, None);
        assert_eq!(delays[0], 0);
        for (n, delay) in delays.iter().enumerate().skip(1) {
            let base = (500_u128 << (n - 1)).min(30_000);
            assert!((base..=base + base / 4).contains(delay), "{n}: {delay}");
        }
    }

    #[test]
    fn after_a_good_time_delays_start_again() {
        let mut backoff = Backoff::new(RetryPolicy::default(), 7);
        let now = Instant::now();
        for _ in 0..5 {
            backoff.next_delay(now, Failure::Passing, None);
        }
        backoff.reset();
        let delay = backoff.next_delay(now, Failure::Passing, None);
        assert_eq!(delay, Some(Duration::ZERO));
    }

    #[test]
    fn a_server_that_was_there_a_moment_ago_is_looked_for_each_second() {
        let delays = delays(RetryPolicy::default(), Failure::Unreachable, Some(20));
        assert!(delays.iter().all(|delay| *delay <= 1_250), "{delays:?}");
    }

    #[test]
    fn the_shortest_delay_holds_for_a_server_that_was_there_a_moment_ago_too() {
        let policy = RetryPolicy {
            delay_ms_min: 2_000,
            ..RetryPolicy::default()
        };
        let delays = delays(policy, Failure::Unreachable, Some(20));
        let paced = |delay: &u128| (2_000..=2_500).contains(delay);
        assert_eq!(delays[0], 0);
        assert!(delays[1..].iter().all(paced), "{delays:?}");
    }

    #[test]
    fn what_only_a_person_can_mend_is_tried_seldom_and_ever_less_often() {
        let delays = delays(RetryPolicy::default(), Failure::Refused, None);
        assert!(delays[0] >= 30_000, "{delays:?}");
        assert!(delays[11] >= 300_000, "{delays:?}");
    }

    #[test]
    fn a_refusal_by_a_server_that_took_the_key_before_is_taken_as_passing() {
        let delays = delays(RetryPolicy::default(), Failure::Refused, Some(20));
        assert_eq!(delays[0], 0);
        assert!(delays[1] < 700, "{delays:?}");
    }

    #[test]
    fn a_limit_ends_retries_no_earlier_than_the_policy_says() {
        let now = Instant::now();
        for retries_max in [0, 1, 3, 100] {
            for give_up_ms_min in [0, 1, 2_000, 24_000, 600_000] {
                for failure in [Failure::Unreachable, Failure::Passing, Failure::Refused] {
                    let policy = RetryPolicy {
                        delay_ms_min: 2_000,
                        retries_max: Some(retries_max),
                        give_up_ms_min,
                        ..RetryPolicy::default()
                    };
                    let mut backoff = Backoff::new(policy, 7);
                    let mut at = now;
                    let since_live = Some(Duration::from_secs(20));
                    while let Some(delay) = backoff.next_delay(at, failure, since_live) {
                        at += delay;
                    }
                    let lasted_ms = (at - now).as_millis() as u64;
                    let case = format!("{policy:?} {failure:?}: {lasted_ms} ms");
                    assert!(lasted_ms >= give_up_ms_min, "{case}");
                    assert!(backoff.failures() > retries_max, "{case}");
                    // And not for ever.
                    let longest_ms = 2 * REFUSED_DELAY_MS_MAX;
                    let most_ms = give_up_ms_min + u64::from(retries_max + 1) * longest_ms;
                    assert!(lasted_ms <= most_ms, "{case}");
                }
            }
        }
    }

    #[test]
    fn a_limit_of_retries_ends_them() {
        for (retries_max, expected) in [(Some(0), 0), (Some(3), 3), (None, 12)] {
            let policy = RetryPolicy {
                retries_max,
                ..RetryPolicy::default()
            };
            assert_eq!(
                delays(policy, Failure::Passing, None).len(),
                expected,
                "{retries_max:?}"
            );
        }
    }
}
