//! The state that control wants a broadcast to have.

use serde::{Deserialize, Serialize};

use crate::{BroadcastId, DestinationId};

/// Everything that control wishes of one broadcast. Sent whole each time; the shard compares it
/// with what it has and changes only the difference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WantedBroadcast {
    pub id: BroadcastId,
    /// In the order in which they were added.
    #[serde(default)]
    pub destinations: Vec<WantedDestination>,
    /// How long destinations are held open, in milliseconds, when the publisher is lost.
    #[serde(default = "hold_ms_default")]
    pub hold_ms: u64,
    /// How often a keyframe is asked of the publisher, in milliseconds.
    #[serde(default = "keyframe_interval_ms_default")]
    pub keyframe_interval_ms: u64,
}

/// One place to send a broadcast to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedDestination {
    pub id: DestinationId,
    /// `rtmp://host[:port]/application/key`. Holds the stream key: never logged or shown whole.
    pub url: String,
}

impl WantedBroadcast {
    /// A broadcast without destinations and with default limits.
    pub fn new(id: BroadcastId) -> Self {
        Self {
            id,
            destinations: Vec::new(),
            hold_ms: hold_ms_default(),
            keyframe_interval_ms: keyframe_interval_ms_default(),
        }
    }
}

fn hold_ms_default() -> u64 {
    60_000
}

/// Two seconds: the strictest keyframe rule among the live platforms.
fn keyframe_interval_ms_default() -> u64 {
    2_000
}
