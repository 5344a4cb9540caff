//! How the media of each viewer arrives, as shards last reported it. A control process that was started again
//! has the viewers of the one before from their next report on.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use shardcast_link::{BroadcastId, SessionId, ViewerReport};

use crate::limits;

/// One viewer.
#[derive(Clone, Debug)]
pub(crate) struct ViewerRow {
    /// Numbers viewers in the order of their first reports, from 1.
    pub(crate) number: u64,
    pub(crate) session: SessionId,
    pub(crate) report: ViewerReport,
    broadcast: BroadcastId,
    at: Instant,
}

impl ViewerRow {
    /// Viewers whose shard no longer speaks of them are gone.
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < limits::VIEWER_REPORT_KEPT
    }
}

/// The last report of each, at most [`limits::VIEWERS_MAX`].
#[derive(Debug, Default)]
pub(crate) struct Viewers(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    rows: HashMap<SessionId, ViewerRow>,
    made: u64,
}

impl Viewers {
    pub(crate) fn reported(
        &self,
        now: Instant,
        session: SessionId,
        broadcast: BroadcastId,
        report: ViewerReport,
    ) {
        let mut table = self.lock();
        if let Some(row) = table.rows.get_mut(&session) {
            (row.report, row.at) = (report, now);
            return;
        }
        if table.rows.len() >= limits::VIEWERS_MAX {
            table.rows.retain(|_, row| row.is_fresh(now));
            if table.rows.len() >= limits::VIEWERS_MAX {
                return;
            }
        }
        table.made += 1;
        let row = ViewerRow {
            number: table.made,
            session: session.clone(),
            report,
            broadcast,
            at: now,
        };
        table.rows.insert(session, row);
    }

    pub(crate) fn ended(&self, session: &SessionId) {
        self.lock().rows.remove(session);
    }

    /// The viewers of `broadcast`, in the order in which they came.
    pub(crate) fn of(&self, now: Instant, broadcast: &BroadcastId) -> Vec<ViewerRow> {
        let table = self.lock();
        let rows = table.rows.values();
        let fresh = rows.filter(|row| row.broadcast == *broadcast && row.is_fresh(now));
        let mut rows: Vec<_> = fresh.cloned().collect();
        rows.sort_unstable_by_key(|row| row.number);
        rows
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_keeps_its_number_and_is_gone_with_its_end_or_its_silence() {
        let (viewers, t0) = (Viewers::default(), Instant::now());
        let id = |name: &str| BroadcastId::new("app", name).unwrap();
        let session = |n: u32| SessionId(format!("s{n}"));
        for n in [1, 2, 3, 1] {
            viewers.reported(t0, session(n), id("a"), ViewerReport::default());
        }
        viewers.reported(t0, session(9), id("b"), ViewerReport::default());
        let numbers = |now, name| -> Vec<u64> {
            let rows = viewers.of(now, &id(name));
            rows.into_iter().map(|row| row.number).collect()
        };
        assert_eq!(numbers(t0, "a"), [1, 2, 3]);
        viewers.ended(&session(2));
        assert_eq!(numbers(t0, "a"), [1, 3]);
        let later = t0 + limits::VIEWER_REPORT_KEPT;
        viewers.reported(later, session(3), id("a"), ViewerReport::default());
        assert_eq!(
            (numbers(later, "a"), numbers(later, "b")),
            (vec![3], vec![])
        );
    }

    #[test]
    fn the_table_is_bounded_and_gives_the_places_of_silent_viewers_away() {
        let (viewers, t0) = (Viewers::default(), Instant::now());
        let id = BroadcastId::new("app", "a").unwrap();
        let report = |now, n: usize| {
            let session = SessionId(format!("s{n}"));
            viewers.reported(now, session, id.clone(), ViewerReport::default());
        };
        (0..=limits::VIEWERS_MAX).for_each(|n| report(t0, n));
        assert_eq!(viewers.of(t0, &id).len(), limits::VIEWERS_MAX);
        let later = t0 + limits::VIEWER_REPORT_KEPT;
        report(later, usize::MAX);
        assert_eq!(viewers.of(later, &id).len(), 1);
    }
}
