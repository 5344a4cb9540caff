//! The broadcasts of the catalog, with an index of those that are live: a hundred thousand may be
//! stored, and what happens each second, or with each `publish`, looks at the live ones alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use shardcast_link::BroadcastId;

use super::BroadcastRecord;

#[derive(Debug, Default)]
pub(super) struct Broadcasts {
    /// Ordered, so that lists are stable.
    rows: BTreeMap<BroadcastId, Arc<BroadcastRecord>>,
    live: BTreeSet<BroadcastId>,
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
        self.rows.insert(id, Arc::new(record));
    }

    /// Says whether there was one.
    pub(super) fn remove(&mut self, id: &BroadcastId) -> bool {
        self.live.remove(id);
        self.rows.remove(id).is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// All of them, by id.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<BroadcastRecord>> {
        self.rows.values()
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
}
