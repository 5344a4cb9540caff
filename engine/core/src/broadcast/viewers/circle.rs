//! In which order viewers are given what is new: in a circle that goes on behind the one who was given last, since a turn
//! takes some of them only.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

use crate::ids::SessionKey;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Circle {
    /// Who was given last.
    last: Option<SessionKey>,
    /// How many others are to be given.
    left: usize,
}

impl Circle {
    /// Something is new for all of so many.
    pub(super) fn begin(&mut self, viewers: usize) {
        self.left = viewers;
    }

    /// Another has come. Its key is the largest, so it may lie in the way of those who are left.
    pub(super) fn joined(&mut self) {
        if self.left > 0 {
            self.left += 1;
        }
    }

    /// Whether somebody is left.
    pub(super) fn goes_on(&self) -> bool {
        self.left > 0
    }

    /// Who is next.
    pub(super) fn next<V>(&mut self, viewers: &BTreeMap<SessionKey, V>) -> Option<SessionKey> {
        self.left = self.left.checked_sub(1)?;
        let behind = self.last.map(|key| (Excluded(key), Unbounded));
        let next = behind.and_then(|behind| viewers.range(behind).next());
        let next = next.or_else(|| viewers.first_key_value());
        self.last = next.map(|(key, _)| *key);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::BroadcastKey;

    fn key(number: u64) -> SessionKey {
        SessionKey {
            broadcast: BroadcastKey(1),
            number,
        }
    }

    fn viewers(numbers: std::ops::RangeInclusive<u64>) -> BTreeMap<SessionKey, ()> {
        numbers.map(|number| (key(number), ())).collect()
    }

    fn take(circle: &mut Circle, viewers: &BTreeMap<SessionKey, ()>, count: usize) -> Vec<u64> {
        let next = std::iter::from_fn(|| circle.next(viewers));
        next.take(count).map(|key| key.number).collect()
    }

    #[test]
    fn each_is_given_once_and_the_next_round_begins_behind_the_last() {
        let (mut circle, viewers) = (Circle::default(), viewers(1..=5));
        circle.begin(5);
        assert_eq!(take(&mut circle, &viewers, 3), [1, 2, 3]);
        assert!(circle.goes_on());
        // More is new, also for those who were given before.
        circle.begin(5);
        assert_eq!(take(&mut circle, &viewers, 9), [4, 5, 1, 2, 3]);
        assert!(!circle.goes_on());
    }

    #[test]
    fn who_joins_or_leaves_in_a_round_takes_nobodys_turn() {
        let (mut circle, mut viewers) = (Circle::default(), viewers(1..=5));
        circle.begin(5);
        take(&mut circle, &viewers, 5);
        circle.begin(5);
        assert_eq!(take(&mut circle, &viewers, 2), [1, 2]);
        viewers.insert(key(6), ());
        circle.joined();
        viewers.remove(&key(2));
        assert_eq!(take(&mut circle, &viewers, 9), [3, 4, 5, 6]);
        circle.begin(5);
        assert_eq!(take(&mut circle, &viewers, 9), [1, 3, 4, 5, 6]);
    }

    #[test]
    fn without_viewers_there_is_nobody() {
        let mut circle = Circle::default();
        circle.begin(2);
        assert!(take(&mut circle, &BTreeMap::new(), 9).is_empty());
    }
}
