//! Whether this process is being taken out of service.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether this process drains.
#[derive(Debug, Default)]
pub(crate) struct Drain(AtomicBool);

impl Drain {
    pub(crate) fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns whether that is a change.
    pub(crate) fn set(&self, on: bool) -> bool {
        self.0.swap(on, Ordering::Relaxed) != on
    }
}
