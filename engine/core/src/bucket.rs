//! A token bucket that may go into debt: what is admitted is never cut in two.

use std::time::Instant;

/// What a bucket holds at the most, and what it earns a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) burst: u32,
    pub(crate) per_second: u32,
}

#[derive(Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    level: f64,
    at: Option<Instant>,
}

impl Bucket {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            rate,
            level: f64::from(rate.burst),
            at: None,
        }
    }

    /// Takes `cost` if anything is left; whether it was.
    pub(crate) fn take(&mut self, now: Instant, cost: u64) -> bool {
        let since = self.at.replace(now).unwrap_or(now);
        let passed = now.saturating_duration_since(since).as_secs_f64();
        let earned = self.level + passed * f64::from(self.rate.per_second);
        self.level = earned.min(f64::from(self.rate.burst));
        let has = self.level > 0.0;
        if has {
            self.level -= cost as f64;
        }
        has
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_is_admitted_at_once_and_the_rest_as_it_is_earned() {
        let rate = Rate {
            burst: 10,
            per_second: 5,
        };
        let (mut bucket, t0) = (Bucket::new(rate), Instant::now());
        let taken = |bucket: &mut Bucket, at| (0..100).filter(|_| bucket.take(at, 1)).count();
        assert_eq!(taken(&mut bucket, t0), 10);
        assert_eq!(taken(&mut bucket, t0 + Duration::from_secs(1)), 5);
        assert_eq!(taken(&mut bucket, t0 + Duration::from_secs(60)), 10);
    }

    #[test]
    fn what_costs_more_than_the_burst_is_paid_off_afterwards() {
        let rate = Rate {
            burst: 10,
            per_second: 10,
        };
        let (mut bucket, t0) = (Bucket::new(rate), Instant::now());
        assert!(bucket.take(t0, 30));
        assert!(!bucket.take(t0 + Duration::from_millis(1_900), 1));
        assert!(bucket.take(t0 + Duration::from_millis(2_200), 1));
    }
}
