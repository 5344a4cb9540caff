//! Media that came faster than time passes: a line held it back, or the publisher did. Whoever takes it is behind by that
//! much for a while, however fast.

use std::time::Instant;

use crate::{broadcast::ring::Ring, limits::RING_GROUP_US_MAX};

/// A destination that is well takes at least a quarter more than the stream needs, so it makes up for one second in four.
const TAKES_MORE: i64 = 4;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Burst {
    seen: Option<Seen>,
    us: i64,
}

/// What was in the ring at the last look.
#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Instant,
    end: u64,
    /// The largest DTS.
    newest_us: i64,
}

impl Burst {
    /// Looks at what is new in the ring.
    pub(super) fn look(&mut self, now: Instant, ring: &Ring) {
        let Some(newest) = ring.newest() else {
            return;
        };
        let end = ring.end();
        let seen = *self.seen.get_or_insert(Seen {
            at: now,
            end,
            newest_us: newest.dts_us,
        });
        let newest_us = newest.dts_us.max(seen.newest_us);
        let passed = now.saturating_duration_since(seen.at).as_micros();
        let passed_us = i64::try_from(passed).unwrap_or(i64::MAX / 2);
        let left_us = self.us - passed_us - passed_us / TAKES_MORE;
        let came_us = newest_us - seen.newest_us;
        // What was waited for may come as late as it does. What comes with it was held back.
        let together_us = match ring.get(seen.end) {
            Some(first) => newest_us - first.dts_us,
            None if end > seen.end => came_us, // So much that the ring does not keep all.
            None => 0,
        };
        let early_us = (came_us - passed_us).max(together_us.min(came_us));
        let us = match left_us {
            0.. => left_us.saturating_add(came_us),
            _ => early_us.max(0),
        };
        // Nothing is in a ring that is older.
        self.us = us.min(RING_GROUP_US_MAX);
        self.seen = Some(Seen {
            at: now,
            end,
            newest_us,
        });
    }

    /// It is fed from another ring from now on.
    pub(super) fn turn(&mut self) {
        self.seen = None;
    }

    /// By so much a destination may be behind that takes enough, in microseconds.
    pub(super) fn us(&self) -> i64 {
        self.us
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::{
        broadcast::ring::{Kind, Unit},
        codec::aac::AacConfig,
    };

    /// What is left in milliseconds after looks at these milliseconds, at each of which units with these times are new.
    fn after(looks: &[(u64, &[i64])]) -> i64 {
        let start = Instant::now();
        let (mut burst, mut ring) = (Burst::default(), Ring::default());
        for (ms, units) in looks {
            for dts_ms in *units {
                let config = AacConfig::OURS;
                let unit = Unit {
                    kind: Kind::Audio { config },
                    pts_us: dts_ms * 1_000,
                    dts_us: dts_ms * 1_000,
                    payload: Bytes::from_static(b"frame"),
                };
                ring.push(unit, None);
            }
            burst.look(start + Duration::from_millis(*ms), &ring);
        }
        burst.us() / 1_000
    }

    #[test]
    fn what_comes_in_time_or_late_is_no_burst() {
        let times: Vec<i64> = (0..1_000).map(|n| n * 40).collect();
        let even = times
            .iter()
            .map(|ms| (ms.unsigned_abs(), std::slice::from_ref(ms)));
        assert_eq!(after(&even.collect::<Vec<_>>()), 0);
        assert_eq!(after(&[(0, &[0]), (5_000, &[1_000]), (10_000, &[500])]), 0);
        assert_eq!(after(&[(0, &[0]), (5_000, &[5_000])]), 0);
        let bunches = (1..100).map(|n| (n * 200, [n as i64 * 200 - 100, n as i64 * 200]));
        let bunches: Vec<_> = bunches.collect();
        let looks = bunches.iter().map(|(ms, units)| (*ms, &units[..]));
        assert_eq!(after(&looks.collect::<Vec<_>>()), 100, "one bunch");
    }

    #[test]
    fn what_comes_at_once_counts_until_it_can_be_made_up_for() {
        let at_once: &[(u64, &[i64])] = &[(0, &[0]), (4_000, &[40, 2_000, 3_400])];
        assert_eq!(after(at_once), 3_360);
        let in_turn: &[(u64, &[i64])] = &[
            (0, &[0]),
            (4_000, &[40]),
            (4_000, &[2_000]),
            (4_000, &[3_400]),
        ];
        assert_eq!(after(in_turn), 3_360);
        assert_eq!(after(&[(0, &[0]), (0, &[4_000]), (2_000, &[6_000])]), 3_500);
        assert_eq!(after(&[(0, &[0]), (0, &[4_000]), (4_000, &[])]), 0);
        assert_eq!(
            after(&[(0, &[0]), (0, &[1_000_000])]),
            RING_GROUP_US_MAX / 1_000
        );
    }
}
