//! Clocks that are faster than others.

use std::time::Duration;

/// What a clock shows that is faster by so many millionths, after so long.
pub(super) fn faster(time: Duration, ppm: u64) -> Duration {
    time + Duration::from_nanos(nanos(time) * ppm / 1_000_000)
}

/// After how long it shows this.
pub(super) fn slower(time: Duration, ppm: u64) -> Duration {
    let ahead = u128::from(nanos(time)) * u128::from(ppm) / u128::from(1_000_000 + ppm);
    time - Duration::from_nanos(u64::try_from(ahead).unwrap())
}

/// In nanoseconds.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap()
}
