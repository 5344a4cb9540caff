//! What a shard reports of itself once a second.

use serde::{Deserialize, Serialize};

use crate::{
    destination_status::DestinationStatus,
    id::{BroadcastId, SessionId},
    problem::Problem,
    video::{Preset, RenditionSpec, VideoCodec},
    work::WorkCounters,
};

/// One shard, whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShardStatus {
    /// When the report was made, in Unix milliseconds; it tells reports apart.
    pub at_unix_ms: u64,
    /// CPU time of the shard's thread over the last second, in thousandths of a core.
    #[serde(default)]
    pub cpu_permille: u32,
    /// Datagrams received since the shard started.
    #[serde(default)]
    pub datagrams_received: u64,
    /// Datagrams sent since the shard started.
    #[serde(default)]
    pub datagrams_sent: u64,
    /// Datagrams received since the shard started that belonged to no session.
    #[serde(default)]
    pub datagrams_unknown: u64,
    /// WebRTC over TCP.
    #[serde(default)]
    pub tcp_peers: TcpPeersStatus,
    /// Its broadcasts; of a report in parts, those that the parts did not hold.
    #[serde(default)]
    pub broadcasts: Vec<BroadcastStatus>,
    /// How many parts came before; 0 when the report is whole.
    #[serde(default)]
    pub parts: u32,
    /// Streams at the local test sink.
    #[serde(default)]
    pub sinks: Vec<SinkStatus>,
    /// CPU time for codecs.
    #[serde(default)]
    pub codec: CodecStatus,
    /// What its work consisted of.
    #[serde(default)]
    pub work: WorkCounters,
}

/// TCP connections of publishers and viewers to a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpPeersStatus {
    /// Those that are open.
    pub connections: u64,
    /// Refused since the shard started, or closed because they belonged to no session.
    pub refused: u64,
    /// Datagrams dropped since then because the client read too slowly.
    pub dropped: u64,
}

/// What a shard may and does spend on decoding, scaling and encoding, in thousandths of a core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodecStatus {
    /// The most that it may spend; 0 when it re-encodes nothing.
    pub capacity_permille: u32,
    /// Spent over the last second, plus what is reserved for renditions that have just begun.
    pub used_permille: u32,
    /// Of that, what rungs take that viewers alone are sent: they end where a destination needs it.
    #[serde(default)]
    pub yielding_permille: u32,
    /// CPU time to decode one frame of 1280×720, in microseconds: measured, or assumed before the first.
    pub decode_720p_us: u32,
    /// The same to scale one to that size.
    pub scale_720p_us: u32,
    /// The same to encode one with the preset superfast.
    pub encode_720p_us: u32,
    /// Renditions refused for lack of capacity since the shard started.
    pub refused: u64,
}

/// A stream at the local test sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkStatus {
    /// The stream key. The sink is for tests, so its keys are no secrets.
    pub key: String,
    /// Video frames received.
    pub video_frames: u64,
    /// Audio frames received.
    pub audio_frames: u64,
    /// Width in pixels, of the last sequence parameter set; 0 before the first.
    pub width: u32,
    /// Height in pixels, likewise.
    pub height: u32,
    /// Distance of the last two keyframes, in milliseconds; 0 before the second.
    pub keyframe_interval_ms: u32,
    /// Bit rate over the last second, in bit/s.
    pub bitrate_bps: u64,
}

/// One broadcast of a shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BroadcastStatus {
    /// Its name.
    pub id: BroadcastId,
    /// The session whose media is used now, or whose return is awaited.
    #[serde(default)]
    pub publisher: Option<PublisherStatus>,
    /// Whether destinations are held open for a lost publisher.
    #[serde(default)]
    pub holding: bool,
    /// When destinations are ended unless a publisher returns, in Unix milliseconds; while `holding`.
    #[serde(default)]
    pub hold_until_unix_ms: Option<u64>,
    /// Whether destinations are sent filler video, because the publisher sends none. `standing_in` in
    /// JSON.
    #[serde(default, rename = "standing_in")]
    pub filler: bool,
    /// Name of the slate that the shard has.
    #[serde(default)]
    pub slate: Option<String>,
    /// Its destinations, in the order in which control wants them.
    #[serde(default)]
    pub destinations: Vec<DestinationStatus>,
    /// Viewers over WebRTC whose media flows.
    #[serde(default)]
    pub viewers: u32,
    /// Clients that play by RTMP and whose media flows.
    #[serde(default)]
    pub rtmp_viewers: u32,
    /// Messages over data channels.
    #[serde(default)]
    pub data: DataStatus,
    /// Why some of them are sent the publisher's video though another would suit them better, for people.
    #[serde(default)]
    pub viewers_problem: Option<String>,
    /// Whether it is packaged for HLS.
    #[serde(default)]
    pub hls: bool,
    /// Whether the rungs of its ladder are packaged too.
    #[serde(default)]
    pub hls_ladder: bool,
    /// Bytes of media kept for consumers.
    #[serde(default)]
    pub ring_bytes: u64,
    /// The recording that is wanted.
    #[serde(default)]
    pub recording: Option<RecordingStatus>,
    /// The one decoder of the publisher's video; `None` while there is no rendition.
    #[serde(default)]
    pub decoder: Option<DecoderStatus>,
    /// What is re-encoded from the publisher's video.
    #[serde(default)]
    pub renditions: Vec<RenditionStatus>,
}

/// Messages over the data channels of a broadcast, since its shard has it. A chunk counts as a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DataStatus {
    /// Taken from clients and from REST.
    pub received: u64,
    /// Sent to clients: one for each of them.
    pub delivered: u64,
    /// Refused for a limit or by the settings; their senders were told.
    pub refused: u64,
    /// Not sent to a client that took them too slowly, and was told so.
    pub lost: u64,
    /// Delivered to clients, and not reported to control: they were too many bytes a second for that.
    pub unreported: u64,
}

/// The recording of a broadcast.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecordingStatus {
    /// [`WantedRecording::id`](crate::WantedRecording::id).
    pub id: String,
    /// Path of the file that is being written; `None` between files, and before the first.
    pub file: Option<String>,
    /// Bytes of it on the disk.
    pub bytes: u64,
    /// How much of the show is in it, in milliseconds.
    pub duration_ms: u64,
    /// Why nothing is recorded, or parts are left out.
    pub problem: Option<Problem>,
}

/// The decoder of a broadcast. Counted since its first rendition began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecoderStatus {
    /// What it decodes.
    pub codec: VideoCodec,
    /// Width of the last frame in pixels; 0 before the first.
    pub width: u32,
    /// Height of the last frame in pixels; 0 before the first.
    pub height: u32,
    /// Frames decoded.
    pub frames: u64,
    /// Access units that gave no frame.
    pub errors: u64,
    /// Frames decoded too late to be encoded.
    pub late: u64,
    /// CPU time of decoding, in microseconds.
    pub cpu_us: u64,
}

/// One rendition. Counted since it began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenditionStatus {
    /// What was asked for.
    pub spec: RenditionSpec,
    /// Pixels; 0 until the first frame.
    pub width: u32,
    /// Pixels; 0 until the first frame.
    pub height: u32,
    /// Destinations that are sent it.
    pub destinations: u32,
    /// Viewers that are sent it.
    #[serde(default)]
    pub viewers: u32,
    /// Viewers alone are to be sent it, over WebRTC or by HLS, so it ends where a destination needs what it takes.
    #[serde(default)]
    pub yields: bool,
    /// Frames encoded.
    pub frames: u64,
    /// Of these, frames that repeat the one before because the publisher sent too few.
    pub repeated: u64,
    /// Frames not encoded because encoding was late.
    pub dropped: u64,
    /// Keyframes encoded.
    pub keyframes: u64,
    /// CPU time of scaling, in microseconds.
    pub scale_us: u64,
    /// CPU time of encoding, in microseconds.
    pub encode_us: u64,
    /// Bit rate over the last second, in bit/s.
    pub bitrate_bps: u64,
    /// The preset in force: the governor may have lowered it.
    pub preset: Preset,
    /// The frame rate in force: the governor may have lowered it.
    pub frames_per_second: u32,
    /// Why it is not encoded, for people; `None` while it is.
    #[serde(default)]
    pub problem: Option<String>,
}

/// What a publisher speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IngestProtocol {
    /// A browser, or a client of WHIP.
    #[default]
    WebRtc,
    /// An encoder.
    Rtmp,
}

/// The publisher of a broadcast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublisherStatus {
    /// Its session.
    pub session: SessionId,
    /// What it speaks.
    #[serde(default)]
    pub protocol: IngestProtocol,
    /// When the first media of this session came, in Unix milliseconds.
    pub since_unix_ms: u64,
    /// `address:port` that media comes from; empty until it is known.
    #[serde(default)]
    pub remote: String,
    /// Its video; `None` before the first frame.
    #[serde(default)]
    pub video: Option<VideoStatus>,
    /// Its audio; `None` before the first packet.
    #[serde(default)]
    pub audio: Option<AudioStatus>,
    /// RTP payload bytes received in this session.
    #[serde(default)]
    pub bytes_received: u64,
    /// RTP payload received over the last second, in bit/s.
    #[serde(default)]
    pub bitrate_bps: u64,
    /// RTP packets lost in this session (RFC 3550 §6.4.1).
    #[serde(default)]
    pub packets_lost: u64,
    /// Interarrival jitter, in milliseconds (RFC 3550 §6.4.1).
    #[serde(default)]
    pub jitter_ms: u32,
    /// Round-trip time, in milliseconds; 0 while unknown.
    #[serde(default)]
    pub rtt_ms: u32,
    /// Age of the last media packet when the report was made, in milliseconds.
    #[serde(default)]
    pub media_age_ms: u64,
}

/// Video as it arrives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VideoStatus {
    /// As SDP spells it, such as `H264`.
    pub codec: String,
    /// Pixels; 0 where the stream does not tell (VP8, VP9, AV1), or before the first keyframe.
    pub width: u32,
    /// Pixels, likewise.
    pub height: u32,
    /// Access units over the last second.
    pub frames_per_second: u32,
    /// Access units received in this session.
    pub frames: u64,
    /// Distance of the last two keyframes, in milliseconds; 0 before the second.
    pub keyframe_interval_ms: u32,
    /// Access units that were damaged by loss and not passed on.
    pub frames_damaged: u64,
    /// Why it cannot be used and what to do about it, for people; set when that has lasted for some
    /// seconds.
    #[serde(default)]
    pub problem: Option<String>,
}

/// Audio as it arrives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioStatus {
    /// `opus`, or `aac` of an encoder.
    pub codec: String,
    /// RTP packets, or AAC frames, received in this session.
    pub packets: u64,
    /// Samples at 48 kHz that were concealed or filled with silence.
    pub samples_filled: u64,
    /// Payload over the last second, in bit/s.
    #[serde(default)]
    pub bitrate_bps: u64,
}

impl BroadcastStatus {
    /// A broadcast without publisher and destinations.
    pub fn new(id: BroadcastId) -> Self {
        Self {
            id,
            publisher: None,
            holding: false,
            hold_until_unix_ms: None,
            filler: false,
            slate: None,
            destinations: Vec::new(),
            viewers: 0,
            rtmp_viewers: 0,
            data: DataStatus::default(),
            viewers_problem: None,
            hls: false,
            hls_ladder: false,
            ring_bytes: 0,
            recording: None,
            decoder: None,
            renditions: Vec::new(),
        }
    }

    /// Frames that re-encoding has dropped because it was late: decoded too late, or not encoded.
    pub fn frames_left_out(&self) -> u64 {
        let late = self.decoder.map_or(0, |decoder| decoder.late);
        let dropped = self.renditions.iter().map(|rendition| rendition.dropped);
        dropped.fold(late, u64::saturating_add)
    }
}
