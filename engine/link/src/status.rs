//! What a shard reports of itself once a second.

use serde::{Deserialize, Serialize};

use crate::{BroadcastId, DestinationId, Preset, Problem, RenditionSpec, SessionId, VideoCodec};

/// One shard, whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShardStatus {
    pub at_unix_ms: u64,
    /// CPU time of the shard's thread over the last second, in thousandths of a core.
    #[serde(default)]
    pub cpu_permille: u32,
    /// Datagrams since the shard started.
    #[serde(default)]
    pub datagrams_received: u64,
    #[serde(default)]
    pub datagrams_sent: u64,
    /// Datagrams that belonged to no session.
    #[serde(default)]
    pub datagrams_unknown: u64,
    /// Of a report in parts, those that its parts did not hold.
    #[serde(default)]
    pub broadcasts: Vec<BroadcastStatus>,
    /// How many parts came before; 0 when the report is whole.
    #[serde(default)]
    pub parts: u32,
    /// Streams that the local test sink takes.
    #[serde(default)]
    pub sinks: Vec<SinkStatus>,
    #[serde(default)]
    pub codec: CodecStatus,
}

/// What a shard may and does spend on decoding, scaling and encoding, in thousandths of a core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodecStatus {
    /// 0 when it re-encodes nothing.
    pub capacity_permille: u32,
    /// Over the last second, and what is reserved for renditions that have just begun.
    pub used_permille: u32,
    /// What a picture of 1280×720 costs to decode, to scale, and to encode in superfast, in
    /// microseconds: as measured, or as assumed until something is.
    pub decode_720p_us: u32,
    pub scale_720p_us: u32,
    pub encode_720p_us: u32,
    /// Renditions that were not begun because there was no room, since the shard started.
    pub refused: u64,
}

/// A stream at the local test sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkStatus {
    /// What it is published under. The sink is for tests, so its keys are no secrets.
    pub key: String,
    pub video_frames: u64,
    pub audio_frames: u64,
    pub width: u32,
    pub height: u32,
    pub keyframe_interval_ms: u32,
    /// Over the last second.
    pub bitrate_bps: u64,
}

/// One broadcast that the shard holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BroadcastStatus {
    pub id: BroadcastId,
    /// The session whose media is used now, or whose return is waited for.
    #[serde(default)]
    pub publisher: Option<PublisherStatus>,
    /// Destinations are held open for a publisher that was lost.
    #[serde(default)]
    pub holding: bool,
    /// When destinations are ended unless a publisher returns; while `holding`.
    #[serde(default)]
    pub hold_until_unix_ms: Option<u64>,
    /// Destinations are sent pictures of ours, because the publisher sends none.
    #[serde(default)]
    pub standing_in: bool,
    /// Name of the slate that the shard has.
    #[serde(default)]
    pub slate: Option<String>,
    #[serde(default)]
    pub destinations: Vec<DestinationStatus>,
    /// Bytes of media kept for consumers.
    #[serde(default)]
    pub ring_bytes: u64,
    /// The one decoder of the publisher's picture, while something is made from it.
    #[serde(default)]
    pub decoder: Option<DecoderStatus>,
    /// What is made from it.
    #[serde(default)]
    pub renditions: Vec<RenditionStatus>,
}

/// The publisher's picture on its way to renditions. Counted since the first of them began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecoderStatus {
    pub codec: VideoCodec,
    /// Of the last picture.
    pub width: u32,
    pub height: u32,
    /// Pictures decoded.
    pub frames: u64,
    /// Access units that gave none.
    pub errors: u64,
    /// Pictures that were decoded too late to be of use.
    pub late: u64,
    /// CPU time of decoding, in microseconds.
    pub cpu_us: u64,
}

/// One rendition that is being made. Counted since it began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenditionStatus {
    pub spec: RenditionSpec,
    /// Pixels; 0 until the first picture.
    pub width: u32,
    pub height: u32,
    /// Destinations that take it.
    pub destinations: u32,
    pub frames: u64,
    /// Of these, repetitions because the publisher sent too few.
    pub repeated: u64,
    /// Left out because encoding was late.
    pub dropped: u64,
    pub keyframes: u64,
    /// CPU time of scaling and encoding, in microseconds.
    pub scale_us: u64,
    pub encode_us: u64,
    /// Over the last second.
    pub bitrate_bps: u64,
    /// In force now: the governor may have lowered both.
    pub preset: Preset,
    pub frames_per_second: u32,
    /// Why it is not made, in words.
    #[serde(default)]
    pub problem: Option<String>,
}

/// The publisher of a broadcast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublisherStatus {
    pub session: SessionId,
    /// First media of this session.
    pub since_unix_ms: u64,
    /// `address:port`, once known.
    #[serde(default)]
    pub remote: String,
    #[serde(default)]
    pub video: Option<VideoStatus>,
    #[serde(default)]
    pub audio: Option<AudioStatus>,
    /// Payload bytes of the session.
    #[serde(default)]
    pub bytes_received: u64,
    /// Over the last second.
    #[serde(default)]
    pub bitrate_bps: u64,
    #[serde(default)]
    pub packets_lost: u64,
    #[serde(default)]
    pub jitter_ms: u32,
    #[serde(default)]
    pub rtt_ms: u32,
    /// How long ago the last media packet came.
    #[serde(default)]
    pub media_age_ms: u64,
}

/// Video as it arrives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VideoStatus {
    /// `H264`.
    pub codec: String,
    pub width: u32,
    pub height: u32,
    /// Access units over the last second.
    pub frames_per_second: u32,
    pub frames: u64,
    /// Distance of the last two IDRs.
    pub keyframe_interval_ms: u32,
    /// Access units that were damaged by loss and not passed on.
    pub frames_damaged: u64,
    /// Why nothing can be made of it, and what to do about it; said after some seconds of that.
    #[serde(default)]
    pub problem: Option<String>,
}

/// Audio as it arrives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioStatus {
    /// `opus`.
    pub codec: String,
    pub packets: u64,
    /// Samples that were concealed or filled with silence, at 48 kHz.
    pub samples_filled: u64,
    /// Opus payload over the last second.
    #[serde(default)]
    pub bitrate_bps: u64,
}

/// Where a destination is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DestinationState {
    /// Stored; the broadcast has no media yet.
    Idle,
    Resolving,
    Connecting,
    Handshaking,
    /// connect, createStream, publish are under way, or the first keyframe is waited for.
    Publishing,
    /// Media is sent and acknowledged.
    Live,
    /// Media is sent, and for some seconds nothing of it was acknowledged.
    Stalled,
    /// The connection is kept open while the publisher is away.
    Holding,
    /// Waits before the next attempt.
    BackingOff,
    /// Ended by wish.
    Ended,
    /// Given up: the address cannot be used, or as many retries failed as the policy allows.
    Failed,
}

/// One destination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DestinationStatus {
    pub id: DestinationId,
    pub state: DestinationState,
    pub since_unix_ms: u64,
    /// Connection attempts of this broadcast.
    #[serde(default)]
    pub attempts: u32,
    /// The last failure; kept while things are well, so that it can be read afterwards.
    #[serde(default)]
    pub last_problem: Option<Problem>,
    /// When it began.
    #[serde(default)]
    pub problem_since_unix_ms: Option<u64>,
    /// When it was over; `None` while it is there.
    #[serde(default)]
    pub problem_until_unix_ms: Option<u64>,
    /// When it is tried again; while backing off.
    #[serde(default)]
    pub next_attempt_unix_ms: Option<u64>,
    /// The platform that the address belongs to, such as `youtube`; `generic` for all others.
    #[serde(default)]
    pub platform: String,
    /// Where its server sent the last attempt on to, without the stream key.
    #[serde(default)]
    pub redirected_to: Option<String>,
    /// Given to the kernel for this destination, all connections together.
    #[serde(default)]
    pub bytes_sent: u64,
    /// Acknowledged by the peer's TCP, all connections together.
    #[serde(default)]
    pub bytes_acked: u64,
    /// When the peer last acknowledged something new.
    #[serde(default)]
    pub acked_unix_ms: Option<u64>,
    /// Round-trip time as the kernel measures it, in microseconds; 0 while unknown.
    #[serde(default)]
    pub rtt_us: u32,
    /// In the kernel and not yet sent.
    #[serde(default)]
    pub unsent_bytes: u32,
    /// Distance of the last two keyframes sent.
    #[serde(default)]
    pub keyframe_interval_ms: u32,
    /// Over the last second.
    #[serde(default)]
    pub bitrate_bps: u64,
    /// Media waiting because the destination is slower than the publisher.
    #[serde(default)]
    pub queue_ms: u32,
    #[serde(default)]
    pub video_frames: u64,
    #[serde(default)]
    pub audio_frames: u64,
    /// Left out because the destination was too slow.
    #[serde(default)]
    pub frames_dropped: u64,
    /// Which picture it is sent, and why; while on air.
    #[serde(default)]
    pub picture: Option<PictureStatus>,
}

/// Where a destination's picture comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PicturePath {
    /// As the publisher sends it.
    Passthrough,
    Rendition,
    /// Nowhere: the picture that it should be sent cannot be had.
    None,
}

/// Which picture a destination is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PictureStatus {
    pub path: PicturePath,
    /// Of the rendition.
    #[serde(default)]
    pub width: u32,
    #[serde(default)]
    pub height: u32,
    /// Why this one, in words.
    pub reason: String,
    /// Changes between the publisher's picture and a rendition.
    #[serde(default)]
    pub switches: u32,
}

impl DestinationStatus {
    /// A destination of which nothing but its state is known.
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
            frames_dropped: 0,
            picture: None,
        }
    }
}

impl BroadcastStatus {
    /// A broadcast that nobody publishes and that is sent nowhere.
    pub fn new(id: BroadcastId) -> Self {
        Self {
            id,
            publisher: None,
            holding: false,
            hold_until_unix_ms: None,
            standing_in: false,
            slate: None,
            destinations: Vec::new(),
            ring_bytes: 0,
            decoder: None,
            renditions: Vec::new(),
        }
    }

    /// Pictures that re-encoding left out because it was late.
    pub fn frames_left_out(&self) -> u64 {
        let late = self.decoder.map_or(0, |decoder| decoder.late);
        let dropped = self.renditions.iter().map(|rendition| rendition.dropped);
        dropped.fold(late, u64::saturating_add)
    }
}
