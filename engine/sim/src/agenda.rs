//! What will happen, in the order of simulated time. Events of one moment keep the order in which they
//! were put down, so that a run is the same each time.

use std::{collections::BTreeMap, time::Instant};

#[derive(Debug)]
pub(crate) struct Agenda<T> {
    events: BTreeMap<(Instant, u64), T>,
    serial: u64,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self {
            events: BTreeMap::new(),
            serial: 0,
        }
    }
}

impl<T> Agenda<T> {
    pub(crate) fn at(&mut self, at: Instant, event: T) {
        self.serial += 1;
        self.events.insert((at, self.serial), event);
    }

    /// When the next event is.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.events.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the next event out, if it is due by now.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<T> {
        let due = self.next_at().is_some_and(|at| at <= now);
        let (_, event) = due.then(|| self.events.pop_first()).flatten()?;
        Some(event)
    }
}
