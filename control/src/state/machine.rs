//! What the last look at the machine found.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use crate::doctor::{CpuTimes, Report};

/// One look.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) at: Instant,
    pub(crate) report: Arc<Report>,
    /// The processors' time then: the next look counts steal from there.
    pub(crate) cpu_times: Option<CpuTimes>,
}

/// The last look.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    last: Mutex<Option<Look>>,
    /// Held by who looks, so that one does at a time.
    pub(crate) looking: tokio::sync::Mutex<()>,
}

impl Machine {
    pub(crate) fn last(&self) -> Option<Look> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }

    pub(crate) fn set(&self, look: Look) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(look);
    }
}
