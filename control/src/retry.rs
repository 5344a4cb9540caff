//! The retry policy of a destination: what a client may set, and what is in force when an
//! application and a destination both say something.

use serde::{Deserialize, Serialize};
use shardcast_link::RetryPolicy;

use crate::limits;

/// A retry policy that cannot be used. The fault of the operator or client that set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RetryError {
    #[error(
        "the delays between retries must be from {} to {} ms",
        limits::RETRY_DELAY_MS_MIN,
        limits::RETRY_DELAY_MS_MAX
    )]
    Delay,
    #[error(
        "the time before a destination is given up must be at most {} ms, a week",
        limits::GIVE_UP_MS_MAX
    )]
    GiveUp,
    #[error("the longest delay between retries, {max} ms, is below the shortest, {min} ms")]
    Order { min: u64, max: u64 },
    #[error(
        "the number of retries must be from -1, which is without end, to {}",
        u32::MAX
    )]
    Count,
}

/// What one destination has instead of its application's policy. What is left out is the
/// application's, also after that has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RetryOverrides {
    /// Milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delay_ms_min: Option<u64>,
    /// Milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delay_ms_max: Option<u64>,
    /// -1 is without end, as in Ant Media Server's `endpointRepublishLimit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retries_max: Option<i64>,
}

impl RetryOverrides {
    /// The policy over that of the application. The order of the delays holds even when the
    /// application's were changed since.
    pub(crate) fn over(&self, application: RetryPolicy) -> RetryPolicy {
        let delay_ms_min = self.delay_ms_min.unwrap_or(application.delay_ms_min);
        let delay_ms_max = self.delay_ms_max.unwrap_or(application.delay_ms_max);
        // Of two that exclude each other, the destination's own stays.
        let (delay_ms_min, delay_ms_max) = match self.delay_ms_max {
            Some(max) if self.delay_ms_min.is_none() => (delay_ms_min.min(max), max),
            _ => (delay_ms_min, delay_ms_max.max(delay_ms_min)),
        };
        RetryPolicy {
            delay_ms_min,
            delay_ms_max,
            retries_max: match self.retries_max {
                Some(count) => u32::try_from(count).ok(),
                None => application.retries_max,
            },
            // The application's time goes with the application's limit.
            give_up_ms_min: match self.retries_max {
                Some(_) => 0,
                None => application.give_up_ms_min,
            },
        }
    }

    /// Whether it may be had by a destination of an application with the policy `application`.
    pub(crate) fn check(&self, application: RetryPolicy) -> Result<(), RetryError> {
        if let Some(count) = self.retries_max {
            retries_max(count)?;
        }
        check(&RetryPolicy {
            delay_ms_min: self.delay_ms_min.unwrap_or(application.delay_ms_min),
            delay_ms_max: self.delay_ms_max.unwrap_or(application.delay_ms_max),
            retries_max: None,
            give_up_ms_min: application.give_up_ms_min,
        })
    }
}

/// Whether the times of `policy` can be used.
pub(crate) fn check(policy: &RetryPolicy) -> Result<(), RetryError> {
    let range = limits::RETRY_DELAY_MS_MIN..=limits::RETRY_DELAY_MS_MAX;
    let (min, max) = (policy.delay_ms_min, policy.delay_ms_max);
    if !range.contains(&min) || !range.contains(&max) {
        return Err(RetryError::Delay);
    }
    if min > max {
        return Err(RetryError::Order { min, max });
    }
    if policy.give_up_ms_min > limits::GIVE_UP_MS_MAX {
        return Err(RetryError::GiveUp);
    }
    Ok(())
}

/// A number of retries as settings and clients write it: -1 is without end.
pub(crate) fn retries_max(count: i64) -> Result<Option<u32>, RetryError> {
    match count {
        -1 => Ok(None),
        count => u32::try_from(count)
            .map(Some)
            .map_err(|_| RetryError::Count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(min: Option<u64>, max: Option<u64>) -> RetryOverrides {
        RetryOverrides {
            delay_ms_min: min,
            delay_ms_max: max,
            retries_max: None,
        }
    }

    #[test]
    fn what_a_destination_does_not_say_is_its_applications() {
        let application = RetryPolicy {
            delay_ms_min: 700,
            delay_ms_max: 9_000,
            retries_max: Some(4),
            give_up_ms_min: 60_000,
        };
        assert_eq!(RetryOverrides::default().over(application), application);
        let own = RetryOverrides {
            delay_ms_min: Some(1_000),
            retries_max: Some(-1),
            ..RetryOverrides::default()
        };
        let policy = own.over(application);
        assert_eq!((policy.delay_ms_min, policy.delay_ms_max), (1_000, 9_000));
        assert_eq!(policy.retries_max, None);
        assert_eq!(policy.give_up_ms_min, 0, "the limit is its own");
    }

    #[test]
    fn the_delays_keep_their_order_when_the_application_was_changed() {
        let application = RetryPolicy::default();
        for (own, wanted) in [
            (delays(Some(60_000), None), (60_000, 60_000)),
            (delays(None, Some(200)), (200, 200)),
        ] {
            let policy = own.over(application);
            assert_eq!((policy.delay_ms_min, policy.delay_ms_max), wanted);
        }
    }

    #[test]
    fn delays_out_of_range_or_order_are_refused() {
        let application = RetryPolicy::default();
        let check = |min, max| delays(min, max).check(application);
        assert_eq!(check(Some(99), None), Err(RetryError::Delay));
        assert_eq!(check(None, Some(3_600_001)), Err(RetryError::Delay));
        let order = Err(RetryError::Order {
            min: 60_000,
            max: 30_000,
        });
        assert_eq!(check(Some(60_000), None), order);
        assert_eq!(check(Some(100), Some(3_600_000)), Ok(()));
        let many = RetryOverrides {
            retries_max: Some(-2),
            ..RetryOverrides::default()
        };
        assert_eq!(many.check(application), Err(RetryError::Count));
    }
}
