//! How a destination that failed is tried again: what may be said of it, and what holds when an
//! application and a destination both say something.

use shardcast_link::RetryPolicy;

use crate::limits;

/// A retry policy that cannot be. Whoever set it is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RetryError {
    #[error(
        "the delays between retries must be from {} to {} ms",
        limits::RETRY_DELAY_MS_MIN,
        limits::RETRY_DELAY_MS_MAX
    )]
    Delay,
    #[error("the longest delay between retries, {max} ms, is below the shortest, {min} ms")]
    Order { min: u64, max: u64 },
}

/// Whether the delays of `policy` can be used.
pub(crate) fn check(policy: &RetryPolicy) -> Result<(), RetryError> {
    let range = limits::RETRY_DELAY_MS_MIN..=limits::RETRY_DELAY_MS_MAX;
    let (min, max) = (policy.delay_ms_min, policy.delay_ms_max);
    if !range.contains(&min) || !range.contains(&max) {
        return Err(RetryError::Delay);
    }
    if min > max {
        return Err(RetryError::Order { min, max });
    }
    Ok(())
}
