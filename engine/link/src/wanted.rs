//! The state that control wants a broadcast to have.

use serde::{Deserialize, Serialize};

use crate::{
    id::{BroadcastId, DestinationId},
    video::{RenditionSpec, VideoSettings},
};

/// The wanted state of one broadcast. Control sends it whole each time; the shard compares it with what
/// it has and changes the difference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WantedBroadcast {
    /// Its name.
    pub id: BroadcastId,
    /// In the order in which they were added.
    #[serde(default)]
    pub destinations: Vec<WantedDestination>,
    /// How long destinations are held open for a lost publisher, in milliseconds.
    #[serde(default = "hold_ms_default")]
    pub hold_ms: u64,
    /// How often the shard requests a keyframe from the publisher, in milliseconds.
    #[serde(default = "keyframe_interval_ms_default")]
    pub keyframe_interval_ms: u64,
    /// Name of the image that is shown while the publisher is away; its bytes come with
    /// [`Command::Slate`](crate::Command::Slate). `None`: the last frame is shown.
    #[serde(default)]
    pub slate: Option<String>,
    /// The rendition for destinations that name none and must be sent one. The size that such a
    /// destination was sent before takes precedence over the size of this.
    #[serde(default = "rendition_default")]
    pub rendition_default: RenditionSpec,
}

/// One place to send a broadcast to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedDestination {
    /// Unique inside its broadcast.
    pub id: DestinationId,
    /// `rtmp://` or `rtmps://host[:port]/application/key`. Holds the stream key: never logged or
    /// shown whole.
    pub url: String,
    /// How it is retried after a failure.
    #[serde(default)]
    pub retry: RetryPolicy,
    /// Which video it is to be sent. `picture` on the wire.
    #[serde(default, rename = "picture")]
    pub video: VideoSettings,
}

/// How a destination is retried after a failure. The first retry after a connection that had been live
/// is immediate, whatever this says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Delay before the second retry, in milliseconds; it doubles from retry to retry.
    #[serde(default = "retry_delay_ms_min_default")]
    pub delay_ms_min: u64,
    /// Longest delay, in milliseconds.
    #[serde(default = "retry_delay_ms_max_default")]
    pub delay_ms_max: u64,
    /// The destination is given up after so many failed retries in a row; `None`: never.
    #[serde(default)]
    pub retries_max: Option<u32>,
    /// It is not given up within so many milliseconds of the first failure in a row.
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
    /// A destination that is retried without end and is sent the publisher's video while it can be.
    pub fn new(id: DestinationId, url: String) -> Self {
        Self {
            id,
            url,
            retry: RetryPolicy::default(),
            video: VideoSettings::default(),
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
