//! What a shard reports of one destination.

use serde::{Deserialize, Serialize};

use crate::{id::DestinationId, problem::Problem};

/// Where a destination is in its life. JSON has these in snake case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DestinationState {
    /// Stored; the broadcast has no media yet.
    Idle,
    /// The name of its host is being resolved.
    Resolving,
    /// TCP is being connected.
    Connecting,
    /// TLS and the RTMP handshake are under way (RTMP 5.2).
    Handshaking,
    /// `connect`, `createStream` and `publish` are under way (RTMP 7.2), or the first keyframe is awaited.
    Publishing,
    /// Media is sent and acknowledged.
    Live,
    /// Media is sent, and none of it was acknowledged for some seconds.
    Stalled,
    /// The connection is kept open while the publisher is away.
    Holding,
    /// Waits before the next attempt.
    BackingOff,
    /// Ended on request.
    Ended,
    /// Given up: the address cannot be used, or as many retries failed as the policy allows.
    Failed,
}

/// One destination of a broadcast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DestinationStatus {
    /// Unique inside its broadcast.
    pub id: DestinationId,
    /// Where it is in its life.
    pub state: DestinationState,
    /// When it entered that state, in Unix milliseconds.
    pub since_unix_ms: u64,
    /// Connection attempts since the broadcast began.
    #[serde(default)]
    pub attempts: u32,
    /// The last failure; kept after it is over, so that it can be read afterwards.
    #[serde(default)]
    pub last_problem: Option<Problem>,
    /// When the last failure began, in Unix milliseconds.
    #[serde(default)]
    pub problem_since_unix_ms: Option<u64>,
    /// When the last failure was over, in Unix milliseconds; `None` while it lasts.
    #[serde(default)]
    pub problem_until_unix_ms: Option<u64>,
    /// When the next attempt is made, in Unix milliseconds; while backing off.
    #[serde(default)]
    pub next_attempt_unix_ms: Option<u64>,
    /// The platform that the address belongs to, such as `youtube`; `generic` for all others.
    #[serde(default)]
    pub platform: String,
    /// Scheme, host and port of the server that the last attempt was redirected to. Never its path, which
    /// may hold the stream key.
    #[serde(default)]
    pub redirected_to: Option<String>,
    /// Bytes given to the kernel, over all connections of the broadcast.
    #[serde(default)]
    pub bytes_sent: u64,
    /// Bytes acknowledged by the peer's TCP, over all connections of the broadcast.
    #[serde(default)]
    pub bytes_acked: u64,
    /// When the peer last acknowledged new bytes, in Unix milliseconds.
    #[serde(default)]
    pub acked_unix_ms: Option<u64>,
    /// Round-trip time as the kernel measures it, in microseconds; 0 while unknown.
    #[serde(default)]
    pub rtt_us: u32,
    /// Bytes in the kernel's send buffer that were not sent yet.
    #[serde(default)]
    pub unsent_bytes: u32,
    /// Distance of the last two keyframes sent, in milliseconds; 0 before the second.
    #[serde(default)]
    pub keyframe_interval_ms: u32,
    /// Bit rate sent over the last second, in bit/s.
    #[serde(default)]
    pub bitrate_bps: u64,
    /// Media that waits because the destination is slower than the publisher, in milliseconds.
    #[serde(default)]
    pub queue_ms: u32,
    /// Video frames sent.
    #[serde(default)]
    pub video_frames: u64,
    /// Audio frames sent.
    #[serde(default)]
    pub audio_frames: u64,
    /// What audio is sent in, `aac` or `opus`; `None` while its server has not said whether it takes Opus.
    #[serde(default)]
    pub audio_codec: Option<String>,
    /// Video frames dropped because the destination was too slow.
    #[serde(default)]
    pub frames_dropped: u64,
    /// Which video it is sent, and why; `None` while it is sent none. `picture` in JSON.
    #[serde(default, rename = "picture")]
    pub video: Option<VideoSelectionStatus>,
}

/// Where a destination's video comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VideoPath {
    /// The publisher's own.
    Passthrough,
    /// Re-encoded.
    Rendition,
    /// There is none: what it should be sent cannot be made.
    None,
}

/// Which video a destination is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VideoSelectionStatus {
    /// Where it comes from.
    pub path: VideoPath,
    /// Width of the rendition in pixels; 0 for passthrough and while unknown.
    #[serde(default)]
    pub width: u32,
    /// Height of the rendition in pixels; 0 for passthrough and while unknown.
    #[serde(default)]
    pub height: u32,
    /// Why this video was selected, for people.
    pub reason: String,
    /// Changes between passthrough and renditions since the broadcast began.
    #[serde(default)]
    pub switches: u32,
}

impl DestinationStatus {
    /// A destination of which only the state is known; counters are 0.
    pub fn new(id: DestinationId, state: DestinationState) -> Self {
        Self {
            id,
            state,
            since_unix_ms: 0,
            attempts: 0,
            last_problem: None,
            problem_since_unix_ms: None,
            problem_until_unix_ms: None,
            next_attempt_unix_ms: None,
            platform: String::new(),
            redirected_to: None,
            bytes_sent: 0,
            bytes_acked: 0,
            acked_unix_ms: None,
            rtt_us: 0,
            unsent_bytes: 0,
            keyframe_interval_ms: 0,
            bitrate_bps: 0,
            queue_ms: 0,
            video_frames: 0,
            audio_frames: 0,
            audio_codec: None,
            frames_dropped: 0,
            video: None,
        }
    }
}
