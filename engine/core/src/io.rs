//! The verbs of the shard: what comes in, what goes out.
//!
//! The shell calls [`Shard::handle`](crate::Shard::handle) for everything that happens, then
//! [`Shard::poll`](crate::Shard::poll) until it is empty, then sleeps until
//! [`Shard::next_timeout`](crate::Shard::next_timeout).

use std::net::SocketAddr;

use bytes::Bytes;
use shardcast_link::{Command, Event, Preset, RenditionSpec, VideoCodec};

/// A TCP connection, named by the shard; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// A name look-up, named by the shard; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LookupId(pub u64);

/// An audio codec of one broadcast, named by the shard; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId(pub u64);

/// A still picture that is being made, named by the shard; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StillId(pub u64);

/// A decoder of one broadcast and the encoders behind it, named by the shard; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VideoLaneId(pub u64);

/// A rendition that is being made, named by the shard; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RenditionId(pub u64);

/// Something that happened outside.
#[derive(Debug)]
pub enum Input<'a> {
    /// A UDP datagram.
    Datagram {
        from: SocketAddr,
        /// The local address it came to; one of those the shard was told of.
        to: SocketAddr,
        payload: &'a [u8],
    },
    Tcp {
        conn: ConnId,
        event: TcpEvent<'a>,
    },
    /// The answer to [`Output::Resolve`]: addresses in the order of preference, or why not.
    Resolved {
        lookup: LookupId,
        result: Result<Vec<SocketAddr>, String>,
    },
    /// AAC frames from an audio lane, each 1024 samples at 48 kHz, in order and without gaps over
    /// the life of the lane.
    AudioFrames {
        lane: LaneId,
        frames: Vec<Bytes>,
    },
    /// The answer to [`Output::Still`]: the picture, or in words why there is none.
    Still {
        still: StillId,
        result: Result<StillPicture, String>,
    },
    /// What became of a [`VideoJob`].
    Video {
        lane: VideoLaneId,
        result: VideoResult,
    },
    Command(Command),
    /// The time of [`Shard::next_timeout`](crate::Shard::next_timeout) has come.
    Timeout,
}

/// What happened on a TCP connection. After `Closed` nothing more comes.
#[derive(Debug)]
pub enum TcpEvent<'a> {
    Connected,
    Received(&'a [u8]),
    /// So many bytes of [`Output::Write`] went to the kernel since the last time.
    Accepted {
        bytes: usize,
    },
    /// The answer to [`Output::Inspect`].
    Info(TcpInfo),
    /// Connecting failed, the peer closed, or an error ended it; in words.
    Closed {
        reason: String,
        /// Whether another attempt may go better without anybody changing something; false for
        /// a certificate that is not believed.
        heals: bool,
    },
}

/// What the kernel knows of a connection (`TCP_INFO`, tcp(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpInfo {
    /// Acknowledged by the peer since the connection began, TLS included.
    pub acked_bytes: u64,
    /// Something was sent or waits to be sent that is not acknowledged.
    pub in_flight: bool,
    /// Waits in the kernel to be sent.
    pub unsent_bytes: u32,
    /// Smoothed round-trip time in microseconds.
    pub rtt_us: u32,
}

/// Something to be done outside.
#[derive(Debug)]
pub enum Output {
    /// A UDP datagram. Neighbours to the same peer may be sent in one system call.
    Datagram {
        from: SocketAddr,
        to: SocketAddr,
        payload: Vec<u8>,
    },
    /// Open a TCP connection, and TLS on it for this server name or address. Answered by
    /// `Connected`, once both stand, or `Closed`.
    Connect {
        conn: ConnId,
        addr: SocketAddr,
        tls: Option<String>,
    },
    /// Gather-write these slices behind everything written before. The shard bounds what it has
    /// outstanding on a connection; the shell keeps what the kernel does not take.
    Write {
        conn: ConnId,
        slices: Vec<Bytes>,
    },
    /// Ask the kernel about this connection. Answered by [`TcpEvent::Info`].
    Inspect {
        conn: ConnId,
    },
    /// No more input is wanted from this connection, and no `Closed` is answered.
    Close {
        conn: ConnId,
        how: Close,
    },
    Resolve {
        lookup: LookupId,
        host: String,
        port: u16,
    },
    Audio(AudioJob),
    Video(VideoJob),
    /// Make one picture, off the executor: it takes tens of milliseconds.
    Still(StillJob),
    /// In a box, because it is much larger than what is put out for each packet.
    Event(Box<Event>),
}

/// How a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// Write what is outstanding, for at most two seconds, then close.
    Flush,
    /// Drop what is outstanding.
    Abort,
}

/// Work for an audio lane: Opus in, AAC out. Every job but `Open` and `Close` may be answered by
/// [`Input::AudioFrames`].
#[derive(Debug)]
pub enum AudioJob {
    Open {
        lane: LaneId,
        /// Bit rate of its AAC, in bits a second.
        audio_bps: u32,
    },
    /// One Opus packet.
    Decode {
        lane: LaneId,
        packet: Bytes,
    },
    /// So many samples at 48 kHz in front of an Opus packet are missing: recovered from the in-band
    /// redundancy of that packet (RFC 6716, 2.1.7), or concealed where it has none. The packet itself
    /// is decoded by a job of its own.
    Recover {
        lane: LaneId,
        packet: Bytes,
        samples: u32,
    },
    /// So many samples at 48 kHz are missing: concealed from what came before.
    Conceal {
        lane: LaneId,
        samples: u32,
    },
    /// So many samples of silence at 48 kHz.
    Silence {
        lane: LaneId,
        samples: u32,
    },
    Close {
        lane: LaneId,
    },
}

/// Work for a video lane: the publisher's picture is decoded once, and each rendition scaled and
/// encoded once. A lane does its jobs in order, beside the executor.
#[derive(Clone, Debug)]
pub enum VideoJob {
    Open {
        lane: VideoLaneId,
    },
    /// Another stream is decoded from now on. It begins with a keyframe. Renditions go on.
    Source {
        lane: VideoLaneId,
        codec: VideoCodec,
        /// The AVCDecoderConfigurationRecord of H.264.
        record: Option<Bytes>,
    },
    /// These renditions shall be made, and no others; those that are made already go on. An empty
    /// list keeps the lane.
    Renditions {
        lane: VideoLaneId,
        renditions: Vec<(RenditionId, RenditionSpec)>,
    },
    /// One access unit.
    Decode {
        lane: VideoLaneId,
        /// When it is shown. Rising within a lane, unless the publisher sends B-frames.
        pts_us: i64,
        /// H.264: NAL units behind lengths of four bytes. Others: a frame as RTP carries it.
        unit: Bytes,
    },
    /// No picture came up to this time: the last one stands for it.
    Fill {
        lane: VideoLaneId,
        until_us: i64,
    },
    /// This PNG or JPEG file is the last picture.
    Slate {
        lane: VideoLaneId,
        image: Bytes,
    },
    Close {
        lane: VideoLaneId,
    },
}

/// What a video lane says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VideoResult {
    Encoded(EncodedPicture),
    /// Nothing can be decoded before the next keyframe: one shall be asked of the publisher.
    KeyframeWanted,
    /// Sent once a second.
    Report(LaneReport),
    /// This rendition cannot be made, or not any more; in words.
    Failed {
        rendition: RenditionId,
        reason: String,
    },
}

/// Bytes in front of the NAL units of an [`EncodedPicture`], for the header of an FLV tag.
pub const ENCODED_HEADROOM_BYTES: usize = 5;

/// One picture of a rendition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedPicture {
    pub rendition: RenditionId,
    /// On the grid of the rendition's frame rate; rising, and the DTS too.
    pub pts_us: i64,
    /// An IDR.
    pub key: bool,
    /// Sequence and picture parameter set; with every IDR.
    pub parameter_sets: Option<(Bytes, Bytes)>,
    /// [`ENCODED_HEADROOM_BYTES`] of no meaning, then NAL units behind lengths of four bytes, without
    /// parameter sets.
    pub unit: Vec<u8>,
}

/// What a lane has done since it was opened, and what that took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneReport {
    /// Pixels of the last picture decoded.
    pub width: u32,
    pub height: u32,
    /// Pictures decoded.
    pub frames: u64,
    /// Access units that gave none.
    pub errors: u64,
    /// Pictures that were decoded too late to be of use.
    pub late: u64,
    /// CPU time of decoding, in microseconds.
    pub decode_us: u64,
    pub renditions: Vec<RenditionReport>,
}

/// One rendition of a lane, since it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenditionReport {
    pub rendition: RenditionId,
    /// Pixels; 0 until the first picture.
    pub width: u32,
    pub height: u32,
    pub frames: u64,
    /// Of these, repetitions of the picture before.
    pub repeated: u64,
    /// Left out because the lane was late.
    pub dropped: u64,
    pub keyframes: u64,
    /// CPU time, in microseconds.
    pub scale_us: u64,
    pub encode_us: u64,
    /// In force now; below what is wanted while the lane is overloaded.
    pub preset: Preset,
    pub frames_per_second: u32,
}

/// One picture to be coded by itself, in place of a publisher that is away.
#[derive(Clone, Debug)]
pub struct StillJob {
    pub still: StillId,
    pub source: StillSource,
    pub target: StillTarget,
}

/// What it shows.
#[derive(Clone, Debug)]
pub enum StillSource {
    /// The last of these pictures.
    LastOf {
        /// The AVCDecoderConfigurationRecord that they are coded with.
        record: Bytes,
        /// Access units in decoding order from an IDR on: NAL units behind lengths of four bytes.
        access_units: Vec<Bytes>,
    },
    /// A PNG or JPEG file, scaled into the picture with black around it.
    Image(Bytes),
}

/// How it is coded, so that its slices can stand under the publisher's parameter sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StillTarget {
    /// Pixels, even.
    pub width: u32,
    pub height: u32,
    /// `profile_idc` and `level_idc` of the publisher.
    pub profile: u8,
    pub level: u8,
    /// `entropy_coding_mode_flag`: CABAC, or CAVLC.
    pub cabac: bool,
    /// `transform_8x8_mode_flag`.
    pub transform_8x8: bool,
    /// `chroma_qp_index_offset`, -12 to 12.
    pub chroma_qp_offset: i8,
    /// Luma uses all of 0 to 255.
    pub full_range: bool,
}

/// An IDR picture as NAL units without lengths or start codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StillPicture {
    pub sps: Bytes,
    pub pps: Bytes,
    pub slices: Vec<Bytes>,
}
