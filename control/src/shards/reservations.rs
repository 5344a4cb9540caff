//! Promises of where a broadcast will live, given before it is published. Pure: time comes from the
//! caller.
//!
//! A reservation holds until its time, or, once the broadcast is on its shard, until that is over. At
//! most [`limits::RESERVATIONS_MAX`].

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use shardcast_link::BroadcastId;

use super::cost::ExpectedLoad;
use crate::limits;

/// A promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reservation {
    /// Names it in the API.
    pub(crate) id: String,
    pub(crate) broadcast: BroadcastId,
    pub(crate) shard: u16,
    pub(crate) load: ExpectedLoad,
    pub(crate) until: Instant,
    /// The same for clients, in Unix milliseconds.
    pub(crate) until_unix_ms: u64,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Reservations {
    by_broadcast: HashMap<BroadcastId, Reservation>,
    broadcasts: HashMap<String, BroadcastId>,
}

impl Reservations {
    pub(crate) fn of(&self, broadcast: &BroadcastId) -> Option<&Reservation> {
        self.by_broadcast.get(broadcast)
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Reservation> {
        self.of(self.broadcasts.get(id)?)
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = &Reservation> {
        self.by_broadcast.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_broadcast.len()
    }

    /// Whether another broadcast may have one.
    pub(crate) fn is_full(&self) -> bool {
        self.len() >= limits::RESERVATIONS_MAX
    }

    /// In place of that which its broadcast had.
    pub(crate) fn put(&mut self, reservation: Reservation) {
        self.remove(&reservation.broadcast);
        let broadcast = reservation.broadcast.clone();
        self.broadcasts
            .insert(reservation.id.clone(), broadcast.clone());
        self.by_broadcast.insert(broadcast, reservation);
    }

    /// The broadcast is on `shard` and not where it was promised to be.
    pub(crate) fn moved(&mut self, broadcast: &BroadcastId, shard: u16) {
        if let Some(reservation) = self.by_broadcast.get_mut(broadcast) {
            reservation.shard = shard;
        }
    }

    pub(crate) fn remove(&mut self, broadcast: &BroadcastId) -> Option<Reservation> {
        let removed = self.by_broadcast.remove(broadcast)?;
        self.broadcasts.remove(&removed.id);
        Some(removed)
    }

    /// Drops those whose time is over, unless `is_used`.
    pub(crate) fn expire(&mut self, now: Instant, is_used: impl Fn(&BroadcastId) -> bool) {
        let broadcasts = &mut self.broadcasts;
        self.by_broadcast.retain(|broadcast, reservation| {
            let stays = now < reservation.until || is_used(broadcast);
            if !stays {
                broadcasts.remove(&reservation.id);
            }
            stays
        });
    }

    /// How long until the first that is not used ends.
    pub(crate) fn next_end(
        &self,
        now: Instant,
        is_used: impl Fn(&BroadcastId) -> bool,
    ) -> Option<Duration> {
        let waiting = self.each().filter(|one| !is_used(&one.broadcast));
        let ends = waiting.map(|one| one.until.saturating_duration_since(now));
        ends.min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reservation(n: u64, until: Instant) -> Reservation {
        Reservation {
            id: format!("r{n}"),
            broadcast: BroadcastId::new("app", &format!("s{n}")).unwrap(),
            shard: 0,
            load: ExpectedLoad::default(),
            until,
            until_unix_ms: 0,
        }
    }

    #[test]
    fn each_ends_at_its_time_unless_its_broadcast_is_there() {
        let begin = Instant::now();
        let at = |s: u64| begin + Duration::from_secs(s);
        let mut all = Reservations::default();
        for n in 1..=100 {
            all.put(reservation(n, at(n)));
        }
        let used = BroadcastId::new("app", "s7").unwrap();
        let is_used = |id: &BroadcastId| *id == used;
        for s in 0..=100 {
            all.expire(at(s), is_used);
            let left = 100 - s as usize + usize::from(s >= 7);
            assert_eq!((all.len(), all.broadcasts.len()), (left, left), "at {s} s");
            assert_eq!(all.find(&format!("r{}", s + 1)).is_some(), s < 100);
        }
        assert_eq!(all.find("r7").map(|one| &one.broadcast), Some(&used));
        assert_eq!(all.next_end(at(100), is_used), None);
        all.remove(&used);
        assert_eq!((all.len(), all.broadcasts.len()), (0, 0));
    }

    #[test]
    fn a_broadcast_has_one_at_most_and_its_former_name_is_gone() {
        let now = Instant::now();
        let mut all = Reservations::default();
        all.put(reservation(1, now));
        all.put(Reservation {
            id: "again".into(),
            ..reservation(1, now)
        });
        assert_eq!(all.len(), 1);
        assert!(all.find("r1").is_none() && all.find("again").is_some());
    }
}
