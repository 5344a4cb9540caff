//! Counters of this process, for `/metrics`.

use std::sync::atomic::AtomicU64;

/// Counters of this process.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// By hundreds of the status code, from 1xx.
    pub(crate) responses: [AtomicU64; 5],
    /// Times that the engine was started.
    pub(crate) engine_starts: AtomicU64,
    pub(crate) webhooks: WebhookCounters,
    /// First reservations of broadcasts.
    pub(crate) placements_reserved: AtomicU64,
    /// By [`crate::shards::PlacementRefusal::WORDS`].
    pub(crate) placements_refused: [AtomicU64; 5],
}

/// Calls of webhooks since this process began.
#[derive(Debug, Default)]
pub(crate) struct WebhookCounters {
    /// Calls that the receiver has taken.
    pub(crate) delivered: AtomicU64,
    /// Attempts that the receiver has not taken.
    pub(crate) failures: AtomicU64,
    /// After the last of their attempts.
    pub(crate) given_up: AtomicU64,
    /// Because too many waited.
    pub(crate) dropped: AtomicU64,
}
