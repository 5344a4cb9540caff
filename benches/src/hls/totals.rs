//! What all players of a load have counted.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;

use crate::limits::DELAY_SAMPLES_MAX;

/// Errors that are kept as text: enough to find the cause.
const ERRORS_MAX: usize = 16;

/// Counters of all players together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PollerTotals {
    /// Pollers that have begun to play.
    pub begun: u32,
    /// Requests that were answered.
    pub requests: u64,
    /// Parts among what was fetched.
    pub parts: u64,
    /// Bytes of the bodies.
    pub bytes: u64,
    /// Requests that failed, or were answered by something other than what the playlist promised. The player begins
    /// anew.
    pub errors: u64,
    /// How often a player had nothing to play.
    pub stalls: u64,
    /// For how long, in milliseconds, all players together.
    pub stalled_ms: u64,
}

impl PollerTotals {
    /// What was counted since an earlier look.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            begun: self.begun,
            requests: self.requests - earlier.requests,
            parts: self.parts - earlier.parts,
            bytes: self.bytes - earlier.bytes,
            errors: self.errors - earlier.errors,
            stalls: self.stalls - earlier.stalls,
            stalled_ms: self.stalled_ms - earlier.stalled_ms,
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    totals: PollerTotals,
    part_ms: Vec<f64>,
    errors: Vec<String>,
}

/// The counters, shared by the players and their owner.
#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<Inner>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begun(&self) {
        self.lock().totals.begun += 1;
    }

    pub(super) fn answer(&self, body_bytes: usize) {
        let totals = &mut self.lock().totals;
        totals.requests += 1;
        totals.bytes += body_bytes as u64;
    }

    pub(super) fn part(&self, took: Duration) {
        let mut inner = self.lock();
        inner.totals.parts += 1;
        if inner.part_ms.len() < DELAY_SAMPLES_MAX {
            inner.part_ms.push(took.as_secs_f64() * 1_000.0);
        }
    }

    pub(super) fn stall(&self, stalled: Duration) {
        let totals = &mut self.lock().totals;
        totals.stalls += 1;
        // Rounded up, so that none is without length.
        totals.stalled_ms += stalled.as_millis() as u64 + 1;
    }

    pub(super) fn error(&self, text: &str) {
        let mut inner = self.lock();
        inner.totals.errors += 1;
        if inner.errors.len() < ERRORS_MAX {
            inner.errors.push(text.to_owned());
        }
    }

    pub(super) fn totals(&self) -> PollerTotals {
        self.lock().totals
    }

    pub(super) fn take_part_ms(&self) -> Vec<f64> {
        std::mem::take(&mut self.lock().part_ms)
    }

    pub(super) fn errors(&self) -> Vec<String> {
        self.lock().errors.clone()
    }
}
