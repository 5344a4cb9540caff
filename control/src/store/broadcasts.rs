//! The broadcasts of the catalog, with an index of those that are live and counts of the others: a
//! hundred thousand may be stored, and what happens each second, with each `publish` or with each
//! scrape of the metrics, looks at the live ones alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use shardcast_link::BroadcastId;

use super::records::{BroadcastRecord, Lifecycle};

#[derive(Debug, Default)]
pub(super) struct Broadcasts {
    /// Ordered, so that lists are stable.
    rows: BTreeMap<BroadcastId, Arc<BroadcastRecord>>,
    live: BTreeSet<BroadcastId>,
    /// How many of the others there are, by application.
    idle: BTreeMap<String, IdleCount>,
}

/// Broadcasts of one application that are not live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IdleCount {
    /// Never live.
    pub(crate) created: usize,
    /// Live before.
    pub(crate) finished: usize,
}

impl IdleCount {
    /// The count that `record` belongs to; `None` while it is live.
    fn of(&mut self, record: &BroadcastRecord) -> Option<&mut usize> {
        match record.lifecycle {
            Lifecycle::Created => Some(&mut self.created),
            Lifecycle::Finished { .. } => Some(&mut self.finished),
            Lifecycle::Live { .. } => None,
        }
    }
}

impl Broadcasts {
    pub(super) fn new(records: impl IntoIterator<Item = BroadcastRecord>) -> Self {
        let mut broadcasts = Self::default();
        for record in records {
            broadcasts.put(record);
        }
        broadcasts
    }

    pub(super) fn get(&self, id: &BroadcastId) -> Option<&Arc<BroadcastRecord>> {
        self.rows.get(id)
    }

    pub(super) fn put(&mut self, record: BroadcastRecord) {
        let id = record.id.clone();
        if record.is_live() {
            self.live.insert(id.clone());
        } else {
            self.live.remove(&id);
        }
        if let Some(count) = self.idle_of(&id).of(&record) {
            *count += 1;
        }
        let before = self.rows.insert(id, Arc::new(record));
        self.uncount(before.as_deref());
    }

    fn idle_of(&mut self, id: &BroadcastId) -> &mut IdleCount {
        self.idle.entry(id.application().to_owned()).or_default()
    }

    /// `record` is no longer stored.
    fn uncount(&mut self, record: Option<&BroadcastRecord>) {
        let Some(record) = record else {
            return;
        };
        if let Some(count) = self.idle_of(&record.id).of(record) {
            debug_assert!(*count > 0, "each stored record is counted");
            *count = count.saturating_sub(1);
        }
    }

    /// Says whether there was one.
    pub(super) fn remove(&mut self, id: &BroadcastId) -> bool {
        self.live.remove(id);
        let removed = self.rows.remove(id);
        self.uncount(removed.as_deref());
        removed.is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// All of them, by id.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<BroadcastRecord>> {
        self.rows.values()
    }

    /// Those of `application`, by id.
    pub(super) fn of(&self, application: &str) -> impl Iterator<Item = &Arc<BroadcastRecord>> {
        // '-' is the first of the characters that a stream id may have.
        let first = BroadcastId::new(application, "-").ok();
        let from = first.map(|first| self.rows.range(first..));
        let rows = from.into_iter().flatten().map(|(_, record)| record);
        rows.take_while(move |record| record.id.application() == application)
    }

    /// How many are not live, by application.
    pub(super) fn idle(&self) -> &BTreeMap<String, IdleCount> {
        &self.idle
    }

    /// Those that are live, by id.
    pub(super) fn live(&self) -> impl Iterator<Item = &Arc<BroadcastRecord>> {
        self.live.iter().filter_map(|id| self.rows.get(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Lifecycle;

    #[test]
    fn the_live_ones_are_known_whatever_becomes_of_them() {
        let record = |stream: &str, lifecycle| BroadcastRecord {
            lifecycle,
            ..BroadcastRecord::new(BroadcastId::new("app", stream).unwrap(), 0)
        };
        let on_air = || Lifecycle::Live { since_unix_ms: 1 };
        let over = Lifecycle::Finished {
            since_unix_ms: 1,
            ended_unix_ms: 2,
        };
        let stored = [record("a", on_air()), record("b", Lifecycle::Created)];
        let mut broadcasts = Broadcasts::new(stored);
        let live = |broadcasts: &Broadcasts| -> String {
            broadcasts.live().map(|record| record.id.stream()).collect()
        };
        assert_eq!(live(&broadcasts), "a");
        broadcasts.put(record("b", on_air()));
        broadcasts.put(record("c", on_air()));
        assert_eq!(live(&broadcasts), "abc");
        broadcasts.put(record("a", over));
        assert!(broadcasts.remove(&BroadcastId::new("app", "c").unwrap()));
        assert!(!broadcasts.remove(&BroadcastId::new("app", "c").unwrap()));
        assert_eq!((live(&broadcasts).as_str(), broadcasts.len()), ("b", 2));
    }

    #[test]
    fn each_application_has_its_own_rows_and_counts() {
        let id = |application: &str, stream: &str| BroadcastId::new(application, stream).unwrap();
        let created = |application, stream| BroadcastRecord::new(id(application, stream), 0);
        let finished = |application, stream| BroadcastRecord {
            lifecycle: Lifecycle::Finished {
                since_unix_ms: 1,
                ended_unix_ms: 2,
            },
            ..created(application, stream)
        };
        // All of them around `a` in the order of ids.
        let mut broadcasts = Broadcasts::new([
            created("a", "-"),
            finished("a", "z"),
            created("a-b", "1"),
            created("a.b", "1"),
            created("aa", "1"),
            created("A", "1"),
        ]);
        let of = |broadcasts: &Broadcasts, application: &str| -> Vec<String> {
            let rows = broadcasts.of(application);
            rows.map(|record| record.id.stream().to_owned()).collect()
        };
        assert_eq!(of(&broadcasts, "a"), ["-", "z"]);
        assert_eq!(of(&broadcasts, "a-b"), ["1"]);
        assert_eq!(of(&broadcasts, "b"), [""; 0]);
        assert_eq!(of(&broadcasts, "no name"), [""; 0]);
        let count = |broadcasts: &Broadcasts, created, finished| {
            let idle = broadcasts.idle().get("a").copied().unwrap();
            assert_eq!(idle, IdleCount { created, finished });
        };
        count(&broadcasts, 1, 1);
        broadcasts.put(finished("a", "-"));
        count(&broadcasts, 0, 2);
        broadcasts.put(BroadcastRecord {
            lifecycle: Lifecycle::Live { since_unix_ms: 1 },
            ..created("a", "-")
        });
        count(&broadcasts, 0, 1);
        broadcasts.remove(&id("a", "z"));
        broadcasts.remove(&id("a", "-"));
        count(&broadcasts, 0, 0);
    }
}
