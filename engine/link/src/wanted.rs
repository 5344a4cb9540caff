//! The state that control wants a broadcast to have.

use serde::{Deserialize, Serialize};

use crate::{BroadcastId, DestinationId, RenditionSpec, WantedPicture};

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
    /// Name of the picture shown while the publisher is away; its bytes come with
    /// [`Command::Slate`](crate::Command::Slate). Without one it is the last picture.
    #[serde(default)]
    pub slate: Option<String>,
    /// What a destination that names no rendition is sent when it must be sent one. The size that
    /// its picture had before, if it had one, goes before the size of this.
    #[serde(default = "rendition_default")]
    pub rendition_default: RenditionSpec,
}

/// One place to send a broadcast to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedDestination {
    pub id: DestinationId,
    /// `rtmp://` or `rtmps://host[:port]/application/key`. Holds the stream key: never logged or
    /// shown whole.
    pub url: String,
    #[serde(default)]
    pub retry: RetryPolicy,
    #[serde(default)]
    pub picture: WantedPicture,
}

/// How a destination that failed is tried again. The first retry after a connection that was well
/// is immediate, whatever this says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Delay before the second retry, in milliseconds; doubled from one to the next.
    #[serde(default = "retry_delay_ms_min_default")]
    pub delay_ms_min: u64,
    /// Longest delay, in milliseconds.
    #[serde(default = "retry_delay_ms_max_default")]
    pub delay_ms_max: u64,
    /// Retries in a row that fail before the destination is given up; `None` never gives up.
    #[serde(default)]
    pub retries_max: Option<u32>,
    /// Within so many milliseconds of the first failure in a row it is not given up, however many
    /// retries have failed.
    #[serde(default)]
    pub give_up_ms_min: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            delay_ms_min: retry_delay_ms_min_default(),
            delay_ms_max: retry_delay_ms_max_default(),
            retries_max: None,
            give_up_ms_min: 0,
        }
    }
}

impl WantedDestination {
    /// A destination that is tried again for ever and gets the publisher's picture while it can.
    pub fn new(id: DestinationId, url: String) -> Self {
        Self {
            id,
            url,
            retry: RetryPolicy::default(),
            picture: WantedPicture::default(),
        }
    }
}

impl WantedBroadcast {
    /// A broadcast without destinations and with default limits.
    pub fn new(id: BroadcastId) -> Self {
        Self {
            id,
            destinations: Vec::new(),
            hold_ms: hold_ms_default(),
            keyframe_interval_ms: keyframe_interval_ms_default(),
            slate: None,
            rendition_default: rendition_default(),
        }
    }
}

fn rendition_default() -> RenditionSpec {
    RenditionSpec {
        width: Some(1_280),
        ..RenditionSpec::of_height(720)
    }
}

fn hold_ms_default() -> u64 {
    60_000
}

/// Two seconds: the strictest keyframe rule among the live platforms.
fn keyframe_interval_ms_default() -> u64 {
    2_000
}

fn retry_delay_ms_min_default() -> u64 {
    500
}

fn retry_delay_ms_max_default() -> u64 {
    30_000
}
