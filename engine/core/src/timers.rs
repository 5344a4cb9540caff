//! One heap of deadlines for everything in a shard: a wake-up of an executor is expensive, so
//! there is one timer, set to the earliest.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    time::Instant,
};

/// At most one deadline per key.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    by_time: BTreeSet<(Instant, K)>,
    by_key: HashMap<K, Instant>,
}

impl<K: Copy + Ord + Hash> Timers<K> {
    pub(crate) fn new() -> Self {
        Self {
            by_time: BTreeSet::new(),
            by_key: HashMap::new(),
        }
    }

    /// Sets, moves or (with `None`) clears the deadline of `key`.
    pub(crate) fn set(&mut self, key: K, at: Option<Instant>) {
        if self.by_key.get(&key).copied() == at {
            return;
        }
        if let Some(old) = self.by_key.remove(&key) {
            self.by_time.remove(&(old, key));
        }
        if let Some(at) = at {
            self.by_key.insert(key, at);
            self.by_time.insert((at, key));
        }
    }

    /// Sets the deadline of `key`, if it has none that is earlier. One whose time has come keeps its place before others that
    /// way, however often more is wanted meanwhile.
    pub(crate) fn bring_forward(&mut self, key: K, at: Instant) {
        if self.by_key.get(&key).is_none_or(|set| at < *set) {
            self.set(key, Some(at));
        }
    }

    pub(crate) fn earliest(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes out one key whose deadline has come.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (at, key) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.by_time.pop_first();
        self.by_key.remove(&key);
        Some(key)
    }
}

/// What a timer is set to whose deadline moves often and is seldom met. The timer is moved only when the
/// deadline comes nearer; one that fires too early is set to what the deadline is by then.
#[derive(Debug, Default)]
pub(crate) struct LazyTimer(Option<Instant>);

impl LazyTimer {
    /// To when the timer has to be set for a deadline; `None` while it can stay as it is.
    pub(crate) fn nearer(&mut self, deadline: Option<Instant>) -> Option<Instant> {
        let at = deadline.filter(|at| self.0.is_none_or(|set| *at < set))?;
        self.0 = Some(at);
        Some(at)
    }

    /// The timer has fired, so it is set to nothing.
    pub(crate) fn fired(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn deadlines_come_out_in_order_and_a_moved_one_only_once() {
        let t0 = Instant::now();
        let at = |ms| t0 + Duration::from_millis(ms);
        let mut timers = Timers::new();
        timers.set(1, Some(at(30)));
        timers.set(2, Some(at(10)));
        timers.set(3, Some(at(20)));
        timers.set(1, Some(at(5)));
        timers.set(3, None);
        assert_eq!(timers.earliest(), Some(at(5)));
        assert_eq!(timers.pop_due(at(4)), None);
        assert_eq!(timers.pop_due(at(50)), Some(1));
        assert_eq!(timers.pop_due(at(50)), Some(2));
        assert_eq!(timers.pop_due(at(50)), None);
    }

    #[test]
    fn what_is_due_keeps_its_place_though_more_is_wanted() {
        let t0 = Instant::now();
        let at = |ms| t0 + Duration::from_millis(ms);
        let mut timers = Timers::new();
        timers.bring_forward(2, at(20));
        timers.bring_forward(2, at(10));
        timers.bring_forward(1, at(15));
        timers.bring_forward(2, at(30));
        assert_eq!(timers.pop_due(at(30)), Some(2));
        assert_eq!(timers.pop_due(at(30)), Some(1));
        assert_eq!(timers.pop_due(at(30)), None);
    }

    #[test]
    fn a_lazy_timer_is_set_once_in_a_period_and_never_too_late() {
        let t0 = Instant::now();
        let at = |ms| t0 + Duration::from_millis(ms);
        let (mut lazy, mut timers, mut sets) = (LazyTimer::default(), Timers::new(), 0);
        // Something is written each 20 ms, with a deadline of 10 s, and taken at once, for 60 s.
        for ms in (0..60_000).step_by(20) {
            if timers.pop_due(at(ms)).is_some() {
                lazy.fired();
            }
            for deadline in [Some(at(ms + 10_000)), None] {
                if let Some(at) = lazy.nearer(deadline) {
                    timers.set(1, Some(at));
                    sets += 1;
                }
            }
        }
        assert_eq!(sets, 6);
        // A deadline that is nearer counts at once.
        assert_eq!(lazy.nearer(Some(at(59_999))), Some(at(59_999)));
    }
}
