//! What a destination says of itself.

use std::time::Instant;

use shardcast_link::{DestinationState, DestinationStatus};

use super::{Destination, Phase};

/// Counted over all connections.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) bytes_sent: u64,
    pub(crate) video_frames: u64,
    pub(crate) audio_frames: u64,
    pub(crate) frames_dropped: u64,
    bytes_at_last_status: u64,
}

impl Destination {
    pub(crate) fn status(
        &self,
        clock: impl Fn(Instant) -> u64,
        holding: bool,
    ) -> DestinationStatus {
        DestinationStatus {
            id: self.id.clone(),
            state: self.state(holding),
            since_unix_ms: clock(self.since),
            attempts: self.attempts,
            last_problem: self.last_problem.clone(),
            bytes_sent: self.totals.bytes_sent,
            bitrate_bps: 8 * self
                .totals
                .bytes_sent
                .saturating_sub(self.totals.bytes_at_last_status),
            queue_ms: match &self.phase {
                Phase::Open { feed, .. } => feed.lag_ms(),
                _ => 0,
            },
            video_frames: self.totals.video_frames,
            audio_frames: self.totals.audio_frames,
            frames_dropped: self.totals.frames_dropped,
        }
    }

    /// Starts a new second of rates.
    pub(crate) fn tick(&mut self) {
        self.totals.bytes_at_last_status = self.totals.bytes_sent;
    }

    pub(super) fn state(&self, holding: bool) -> DestinationState {
        match &self.phase {
            Phase::Idle => DestinationState::Idle,
            Phase::Resolving { .. } => DestinationState::Resolving,
            Phase::Connecting { .. } => DestinationState::Connecting,
            Phase::Opening { .. } => DestinationState::Handshaking,
            Phase::Open { feed, .. } if !feed.is_live() => DestinationState::Publishing,
            Phase::Open { .. } if holding => DestinationState::Holding,
            Phase::Open { .. } => DestinationState::Live,
            Phase::BackingOff { .. } => DestinationState::BackingOff,
            Phase::Ended => DestinationState::Ended,
            Phase::Unusable => DestinationState::Failed,
        }
    }
}
