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
    /// The renditions that viewers may be sent instead of the publisher's video, each made while one is.
    /// Empty: viewers are sent the publisher's video alone.
    #[serde(default)]
    pub ladder: Vec<RenditionSpec>,
    /// Messages over data channels.
    #[serde(default)]
    pub data: DataChannels,
    /// The broadcast is packaged for HLS, and its parts are handed to control.
    #[serde(default)]
    pub hls: Option<WantedHls>,
    /// It is recorded so while it is on air; `None`: it is not.
    #[serde(default)]
    pub recording: Option<WantedRecording>,
    /// Previews of it are made while it is on air; `None`: they are not.
    #[serde(default)]
    pub preview: Option<WantedPreview>,
}

/// How previews of a broadcast are made: pictures of its newest keyframe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedPreview {
    /// At most one is made in so many milliseconds.
    pub period_ms: u64,
    /// Lines of the picture, at most: it is never larger than the video.
    pub height: u32,
    /// What kind of file it is.
    #[serde(default)]
    pub format: PreviewFormat,
}

/// What kind of file a preview is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PreviewFormat {
    /// PNG.
    #[default]
    Png,
    /// JPEG.
    #[serde(alias = "jpeg")]
    Jpg,
}

impl PreviewFormat {
    /// The end of its name behind the dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpg => "jpg",
        }
    }
}

/// How a broadcast is packaged for HLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedHls {
    /// Segments end at the first keyframe after about so many milliseconds.
    pub segment_ms: u32,
    /// The rungs of the ladder that are not larger than the publisher's video are packaged too, as far as there is
    /// capacity to make them.
    #[serde(default)]
    pub ladder: bool,
}

/// How a broadcast is recorded. Its files can be played while they grow, and are finished by control.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedRecording {
    /// Tells it from others of this and other broadcasts: another id is another file. Letters and digits; names
    /// of files begin with it.
    pub id: String,
    /// Where files grow: an absolute path.
    pub folder: String,
    /// Kept at the head of each file, for who finishes it; at most 8 KiB.
    #[serde(default)]
    pub label: String,
    /// Another file is begun after so many milliseconds, at the next keyframe; 0: never.
    #[serde(default)]
    pub file_ms_max: u64,
    /// Whether what is shown while the publisher is away is recorded too.
    #[serde(default = "yes")]
    pub filler: bool,
}

/// Messages of a publisher and its viewers over data channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataChannels {
    /// Whether any are delivered. Viewers are offered no data channel otherwise.
    pub is_enabled: bool,
    /// Who is sent those of viewers.
    pub from_viewers: DataFromViewers,
    /// Whether control is told each message of a client that is taken
    /// ([`Event::DataMessage`](crate::Event::DataMessage)).
    #[serde(default)]
    pub reported: bool,
}

impl Default for DataChannels {
    fn default() -> Self {
        Self {
            is_enabled: true,
            from_viewers: DataFromViewers::All,
            reported: false,
        }
    }
}

/// Who is sent what a viewer sends. What the publisher sends goes to all viewers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataFromViewers {
    /// Nobody.
    None,
    /// The publisher.
    Publisher,
    /// The publisher and all other viewers.
    #[default]
    All,
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
            ladder: Vec::new(),
            data: DataChannels::default(),
            hls: None,
            recording: None,
            preview: None,
        }
    }
}

fn yes() -> bool {
    true
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
