//! Whose turn it is: receivers that hang leave room for the others.
//!
//! All calls share a number of places. A receiver has few of them until it has answered once, more
//! after that, and none while it does not answer: those share some places of their own.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::client::receiver;
use crate::limits;

/// The places of all receivers.
#[derive(Debug)]
pub(crate) struct Receivers {
    known: Mutex<HashMap<String, Arc<Receiver>>>,
    places: Semaphore,
    places_of_silent: Semaphore,
}

/// One of them, by its origin.
#[derive(Debug)]
pub(crate) struct Receiver {
    /// How many of its calls may be under way.
    places: Semaphore,
    standing: Mutex<Standing>,
    /// Whether it has all of its places, which it gets with its first answer and keeps.
    has_ever_answered: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
enum Standing {
    /// Has not been called to the end.
    New,
    Answers,
    /// Has not answered its last call.
    Silent {
        since: Instant,
    },
}

impl Receivers {
    pub(crate) fn new() -> Self {
        Self {
            known: Mutex::default(),
            places: Semaphore::new(limits::HOOKS_IN_FLIGHT_MAX),
            places_of_silent: Semaphore::new(limits::HOOKS_OF_SILENT_MAX),
        }
    }

    /// The receiver of `url`. Unused ones are forgotten, silent ones after a while.
    pub(crate) fn of(&self, now: Instant, url: &str) -> Arc<Receiver> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, one| Arc::strong_count(one) > 1 || one.was_silent_lately(now));
        if known.len() >= limits::HOOK_RECEIVERS_MAX {
            known.retain(|_, one| Arc::strong_count(one) > 1);
        }
        let new = || Arc::new(Receiver::new());
        Arc::clone(known.entry(receiver(url)).or_insert_with(new))
    }

    /// Waits for a place for a call to `receiver`.
    pub(crate) async fn place<'a>(
        &'a self,
        receiver: &'a Receiver,
    ) -> [Option<SemaphorePermit<'a>>; 2] {
        // Its own turn first: who waits there must not take a place from all. Semaphores that are
        // never closed never fail.
        let own = receiver.places.acquire().await.ok();
        let shared = if receiver.is_silent() {
            &self.places_of_silent
        } else {
            &self.places
        };
        [own, shared.acquire().await.ok()]
    }
}

impl Receiver {
    fn new() -> Self {
        Self {
            places: Semaphore::new(limits::HOOKS_PER_NEW_RECEIVER_MAX),
            standing: Mutex::new(Standing::New),
            has_ever_answered: AtomicBool::new(false),
        }
    }

    /// A call has ended, with an answer of whatever kind or without one.
    pub(crate) fn called(&self, now: Instant, has_answered: bool) {
        let mut standing = self.standing();
        if has_answered {
            if !self.has_ever_answered.swap(true, Ordering::Relaxed) {
                let more = limits::HOOKS_PER_RECEIVER_MAX - limits::HOOKS_PER_NEW_RECEIVER_MAX;
                self.places.add_permits(more);
            }
            *standing = Standing::Answers;
        } else {
            *standing = Standing::Silent { since: now };
        }
    }

    fn is_silent(&self) -> bool {
        matches!(*self.standing(), Standing::Silent { .. })
    }

    fn was_silent_lately(&self, now: Instant) -> bool {
        match *self.standing() {
            Standing::Silent { since } => {
                now.saturating_duration_since(since) < limits::HOOK_SILENT_REMEMBERED
            }
            _ => false,
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_has_its_places_while_somebody_calls_it() {
        let receivers = Receivers::new();
        let now = Instant::now();
        let first = receivers.of(now, "http://h/a?token=1");
        assert!(Arc::ptr_eq(&first, &receivers.of(now, "http://h/b")));
        assert!(!Arc::ptr_eq(&first, &receivers.of(now, "https://h/b")));
        drop(first);
        receivers.of(now, "http://other/");
        assert_eq!(receivers.known.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn receivers_that_hang_leave_places_for_one_that_answers() {
        let receivers = Receivers::new();
        let now = Instant::now();
        // Far more calls than there are places in all, to five receivers that nobody knows.
        let hanging: Vec<_> = (0..5)
            .map(|n| receivers.of(now, &format!("http://h{n}/")))
            .collect();
        let calls = || hanging.iter().flat_map(|one| std::iter::repeat_n(one, 16));
        let mut places = Vec::new();
        for one in calls() {
            let place = tokio::time::timeout(std::time::Duration::ZERO, receivers.place(one));
            places.extend(place.await);
        }
        assert!(receivers.places.available_permits() > 0);
        drop(places);
        // They have not answered: now they share a few places.
        for one in &hanging {
            one.called(now, false);
        }
        let mut places = Vec::new();
        for one in calls() {
            let place = tokio::time::timeout(std::time::Duration::ZERO, receivers.place(one));
            places.extend(place.await);
        }
        assert_eq!(places.len(), limits::HOOKS_OF_SILENT_MAX);
        assert_eq!(
            receivers.places.available_permits(),
            limits::HOOKS_IN_FLIGHT_MAX
        );
    }

    #[tokio::test]
    async fn one_that_answers_gets_more_places_and_keeps_them() {
        let receivers = Receivers::new();
        let now = Instant::now();
        for calls in [[true, true, false, true], [false, false, true, true]] {
            let one = receivers.of(now, "http://h/");
            for has_answered in calls {
                one.called(now, has_answered);
            }
            assert_eq!(
                one.places.available_permits(),
                limits::HOOKS_PER_RECEIVER_MAX
            );
            assert!(!one.is_silent());
        }
    }

    #[test]
    fn a_silent_one_is_remembered_for_a_while() {
        let receivers = Receivers::new();
        let now = Instant::now();
        receivers.of(now, "http://h/").called(now, false);
        assert!(receivers.of(now, "http://h/").is_silent());
        let later = now + limits::HOOK_SILENT_REMEMBERED;
        assert!(!receivers.of(later, "http://h/").is_silent());
    }
}
