//! An encoder whose line has stalled brings what was held back faster than it is shown.
//!
//! ```text
//!  sent      I P P P I P P P I P P P I P P P I P P P
//!  comes     I P P P I          (all that was held back) P P I P P P
//!  ring      I P P P I P r r r r r r r r r r r r r r r r r r I P P P
//! ```
//!
//! Filler (`r`) has taken the place of most of it. Shown behind the filler, it would put the show behind for good;
//! shown in its own time, pictures would be a millisecond apart. So it is left out up to the first keyframe whose place
//! is free, which is live. An encoder that stays as late as it has become, or whose keyframes are so rare that filler would be seen for
//! long, is led on instead: all its times are later from then on.

use std::time::{Duration, Instant};

/// A place that is taken by less was that of two pictures at once, in microseconds.
pub(super) const TAKEN_US_MIN: i64 = 5_000;
/// A keyframe that is later than those before it by no more than this is live, in microseconds.
const LATER_US: i64 = 100_000;
/// Keyframes over which it is a mean how late they are.
const USUAL_OF: i64 = 4;
/// The first keyframe of an encoder may come so much later than what came first of it, in microseconds: it is large,
/// and the line is new.
const FIRST_LATE_US: i64 = 1_000_000;
/// A keyframe is waited for if it will come within so long, in microseconds: what platforms want.
const NEXT_US_MAX: i64 = 4_000_000;
/// An encoder catches up if it is less late by a quarter of the time that has passed, and for so long at most.
const CATCHES_UP_IN: i64 = 4;
const CATCH_UP_MAX: Duration = Duration::from_secs(10);

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct CatchUp {
    /// The last keyframe, left out or not, and its distance from the one before, in microseconds.
    keyframe_us: Option<i64>,
    interval_us: i64,
    /// How late keyframes are that are live, as a mean in microseconds.
    usual_us: Option<i64>,
    waits: Option<Waits>,
}

/// Some were left out.
#[derive(Clone, Copy, Debug)]
struct Waits {
    since: Instant,
    /// The first of them since the last stall, and how late it was, in microseconds.
    at: Instant,
    late_us: i64,
}

impl CatchUp {
    /// Whether a keyframe that belongs at `dts_us`, where something else is already, is left out.
    pub(super) fn leaves_out(&mut self, now: Instant, dts_us: i64, late_us: i64) -> bool {
        let live_us = self.usual_us.map_or(FIRST_LATE_US, |us| us + LATER_US);
        let first = Waits {
            since: now,
            at: now,
            late_us,
        };
        let waits = self.waits.get_or_insert(first);
        if late_us > waits.late_us + LATER_US {
            // The line has stalled again.
            (waits.at, waits.late_us) = (now, late_us);
        }
        let waited = now.saturating_duration_since(waits.since);
        let passed = now.saturating_duration_since(waits.at).as_micros();
        let passed_us = i64::try_from(passed).unwrap_or(i64::MAX);
        let made_up_us = waits.late_us - late_us;
        let catches_up = made_up_us.saturating_mul(CATCHES_UP_IN) >= passed_us;
        self.keyframe(dts_us);
        let next_us = self.interval_us - late_us;
        late_us > live_us && catches_up && waited <= CATCH_UP_MAX && next_us <= NEXT_US_MAX
    }

    /// A keyframe is placed there, and was so late against that.
    pub(super) fn placed(&mut self, dts_us: i64, late_us: i64) {
        self.keyframe(dts_us);
        let late_us = late_us.max(0);
        let usual_us = self.usual_us.unwrap_or(late_us);
        self.usual_us = Some(usual_us + (late_us - usual_us) / USUAL_OF);
        self.waits = None;
    }

    fn keyframe(&mut self, dts_us: i64) {
        let before_us = self.keyframe_us.replace(dts_us);
        if let Some(before_us) = before_us.filter(|before_us| *before_us < dts_us) {
            self.interval_us = dts_us - before_us;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;

    /// Keyframes two seconds apart that were live, and then those that come after so many milliseconds and are so late: whether each
    /// is left out.
    fn left_out(interval_s: i64, keyframes: &[(u64, i64)]) -> Vec<bool> {
        let start = Instant::now();
        let mut catch_up = CatchUp::default();
        for n in 0..3 {
            catch_up.placed(n * interval_s * S, 50_000);
        }
        let keyframes = (3..).zip(keyframes);
        let left_out = keyframes.map(|(n, (ms, late_us))| {
            let now = start + Duration::from_millis(*ms);
            catch_up.leaves_out(now, n * interval_s * S, *late_us)
        });
        left_out.collect()
    }

    #[test]
    fn what_comes_at_once_is_left_out_and_what_is_as_late_as_ever_is_not() {
        assert_eq!(left_out(2, &[(0, 3 * S), (5, S)]), [true, true]);
        assert_eq!(left_out(2, &[(0, 149_000)]), [false]);
    }

    #[test]
    fn an_encoder_that_stays_late_is_led_on_and_one_that_catches_up_slowly_is_waited_for() {
        assert_eq!(left_out(2, &[(0, 3 * S), (2_000, 3 * S)]), [true, false]);
        let slowly = [(0, 3 * S), (1_500, 5 * S / 2), (3_000, 2 * S)];
        assert_eq!(left_out(2, &slowly), [true; 3]);
        let again = [(0, 3 * S), (1_500, 5 * S), (1_600, 2 * S)];
        assert_eq!(left_out(2, &again), [true; 3]);
        let too_long = [(0, 9 * S), (5_000, 7 * S), (11_000, 5 * S)];
        assert_eq!(left_out(2, &too_long), [true, true, false]);
    }

    #[test]
    fn keyframes_that_are_rare_are_taken_when_they_come() {
        assert_eq!(left_out(8, &[(0, 3 * S)]), [false]);
        assert_eq!(left_out(8, &[(0, 5 * S)]), [true]);
    }

    #[test]
    fn the_first_keyframe_of_an_encoder_may_come_late() {
        let now = Instant::now();
        assert!(!CatchUp::default().leaves_out(now, 0, S));
        assert!(CatchUp::default().leaves_out(now, 0, S + 1));
    }
}
