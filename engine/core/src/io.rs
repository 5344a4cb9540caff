//! Inputs and outputs of a shard.
//!
//! The driver calls [`Shard::handle`](crate::Shard::handle) for everything that happens, then
//! [`Shard::poll`](crate::Shard::poll) until it is empty, then sleeps until
//! [`Shard::next_timeout`](crate::Shard::next_timeout). Ids in outputs come back in the inputs that
//! answer them; the driver does not look into them.

use std::net::SocketAddr;

use bytes::Bytes;
use shardcast_link::{Command, Event, Preset, RenditionSpec, VideoCodec, fragment::FragmentHead};

pub use crate::codec::{
    aac::AacConfig,
    h264::{StillFrame, StillFrameTarget},
};
pub use crate::ids::{
    AudioTranscoderId, ConnId, LookupId, PreviewId, RecordingFileId, RenditionId, StillFrameId,
    VideoTranscoderId,
};
pub use crate::preview_job::{Preview, PreviewJob};
pub use crate::record_job::{RecordJob, RecordResult};

/// Something that happened outside.
#[derive(Debug)]
pub enum Input<'a> {
    /// A UDP datagram arrived.
    Datagram {
        /// The peer's address, as the socket saw it.
        from: SocketAddr,
        /// The local address that it came to.
        to: SocketAddr,
        /// STUN, DTLS, RTP or RTCP (RFC 7983), or anything that somebody on the Internet made up.
        payload: &'a [u8],
    },
    /// Something happened on a TCP connection.
    Tcp {
        /// A connection of [`Output::Connect`] or [`Output::Adopt`].
        conn: ConnId,
        /// What happened.
        event: TcpEvent<'a>,
    },
    /// The answer to [`Output::Resolve`].
    Resolved {
        /// The look-up that is answered.
        lookup: LookupId,
        /// Addresses in the order of preference, with the port that was asked for, or the reason why
        /// there are none, as a user is shown it.
        result: Result<Vec<SocketAddr>, String>,
    },
    /// The next frame of an audio transcoder: in order and without gaps over its life.
    AudioFrame {
        /// The transcoder that made it.
        transcoder: AudioTranscoderId,
        /// A raw AAC-LC frame of 1,024 samples at 48 kHz, without an ADTS header; or an Opus packet of 20 ms.
        frame: Bytes,
    },
    /// The answer to [`Output::StillFrame`].
    StillFrame {
        /// The job that is answered.
        still: StillFrameId,
        /// The frame, or the reason why there is none, for the log.
        result: Result<StillFrame, String>,
    },
    /// The answer to [`Output::Preview`].
    Preview {
        /// The job that is answered.
        preview: PreviewId,
        /// The file, or the reason why there is none, for the log.
        result: Result<Bytes, String>,
    },
    /// What became of a [`VideoJob`].
    Video {
        /// The transcoder that says so.
        transcoder: VideoTranscoderId,
        /// What it says.
        result: VideoResult,
    },
    /// What became of a [`RecordJob`].
    Recorded {
        /// The file that it was for.
        file: RecordingFileId,
        /// What became of it.
        result: RecordResult,
    },
    /// Control wants something.
    Command(Command),
    /// The time of [`Shard::next_timeout`](crate::Shard::next_timeout) has come.
    Timeout,
}

/// A TCP connection that somebody has made to the shard's media port, to which WebRTC peers come that UDP does not
/// reach (RFC 6544).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The peer's address.
    pub from: SocketAddr,
    /// The local address that it came to.
    pub to: SocketAddr,
}

/// What happened on a TCP connection. After `Closed` nothing more comes.
#[derive(Debug)]
pub enum TcpEvent<'a> {
    /// The connection stands, and TLS on it where that was asked for.
    Connected,
    /// The peer sent these bytes, behind all earlier ones and free of TLS.
    Received(&'a [u8]),
    /// The kernel took bytes of [`Output::Write`].
    Accepted {
        /// How many since the last event of this kind, counted before TLS.
        bytes: usize,
    },
    /// The answer to [`Output::Inspect`].
    Info(TcpInfo),
    /// Connecting failed, the peer closed, or an error ended it.
    Closed {
        /// Why, as a user is shown it.
        reason: String,
        /// Whether another attempt may succeed without anybody changing something; false for a
        /// certificate that is not trusted.
        retryable: bool,
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
    /// Send a UDP datagram. Neighbours to the same peer may go out in one system call.
    Datagram {
        /// The local address to send from: a candidate of the shard.
        from: SocketAddr,
        /// The peer's address.
        to: SocketAddr,
        /// STUN, DTLS or RTCP.
        payload: Vec<u8>,
    },
    /// Open a TCP connection. Answered by [`TcpEvent::Connected`] once TCP, and TLS where it is asked
    /// for, stand, or by [`TcpEvent::Closed`].
    Connect {
        /// Names the connection from now on.
        conn: ConnId,
        /// The address to connect to.
        addr: SocketAddr,
        /// The name or address that the server's certificate has to bear; `None` for plain TCP.
        tls: Option<String>,
    },
    /// Take a connection that control has left with the engine. Answered by [`TcpEvent::Closed`] if it is not
    /// there.
    Adopt {
        /// Names the connection from now on.
        conn: ConnId,
        /// The name under which it was left.
        socket: String,
    },
    /// Write these slices behind everything written before. The shard bounds what it has outstanding
    /// on a connection; the driver keeps what the kernel does not take.
    Write {
        /// The connection to write to.
        conn: ConnId,
        /// For one gathering write. Payloads are shared with other connections.
        slices: Vec<Bytes>,
    },
    /// Ask the kernel about a connection. Answered by [`TcpEvent::Info`].
    Inspect {
        /// The connection that is asked about.
        conn: ConnId,
    },
    /// Close a connection. No more input is wanted from it, and no [`TcpEvent::Closed`] is answered.
    Close {
        /// The connection to close.
        conn: ConnId,
        /// What becomes of bytes that are still to be written.
        how: Close,
    },
    /// Look a name up. Answered by [`Input::Resolved`].
    Resolve {
        /// Names the look-up.
        lookup: LookupId,
        /// A host name, or an address in text.
        host: String,
        /// The port that goes into the addresses of the answer.
        port: u16,
    },
    /// Work for an audio transcoder.
    Audio(AudioJob),
    /// Work for a video transcoder.
    Video(VideoJob),
    /// Encode one frame, off the executor: it takes tens of milliseconds. Answered by
    /// [`Input::StillFrame`].
    StillFrame(StillFrameJob),
    /// Make a preview, off the executor. Answered by [`Input::Preview`].
    Preview(PreviewJob),
    /// Work for the file of a recording, off the executor: disks may take as long as they like. Jobs for one file
    /// are done in their order.
    Record(RecordJob),
    /// Hand a part of a broadcast's HLS to control, if control reads them fast enough. In a box as events are.
    Fragment(Box<Fragment>),
    /// Hand a preview to control likewise.
    PreviewMade(Box<Preview>),
    /// Send this to control. In a box, because it is much larger than what is put out for each packet.
    Event(Box<Event>),
}

/// A part of a broadcast's HLS.
#[derive(Clone, Debug)]
pub struct Fragment {
    /// What it is.
    pub head: FragmentHead,
    /// The init segment, where there is one, and the part: its head, and payloads that are shared with the ring.
    pub slices: Vec<Bytes>,
}

impl Fragment {
    /// Bytes of the slices.
    pub fn len(&self) -> usize {
        self.slices.iter().map(Bytes::len).sum()
    }

    /// Whether there is no media in it.
    pub fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }
}

/// How a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// Write what is outstanding, for at most two seconds, then close.
    Flush,
    /// Drop what is outstanding.
    Abort,
}

/// Work for an audio transcoder: Opus in, AAC-LC at 48 kHz in stereo out; or an encoder's AAC in, Opus out. Every
/// job but those that open and close may be answered by [`Input::AudioFrame`]s.
#[derive(Debug)]
pub enum AudioJob {
    /// Make a transcoder.
    Open {
        /// Names it from now on.
        transcoder: AudioTranscoderId,
        /// Bit rate of its AAC, in bits a second.
        audio_bps: u32,
    },
    /// Make a transcoder of AAC to Opus, in stereo.
    OpenOpus {
        /// Names it from now on.
        transcoder: AudioTranscoderId,
        /// What the AAC is.
        config: AacConfig,
        /// Bit rate of its Opus, in bits a second.
        audio_bps: u32,
    },
    /// Transcode one AAC frame.
    DecodeAac {
        /// The transcoder.
        transcoder: AudioTranscoderId,
        /// A raw AAC-LC frame of 1,024 samples.
        frame: Bytes,
        /// By so many samples at 48 kHz its sound is made longer, within one in a hundred.
        stretch_samples: i32,
    },
    /// Transcode one Opus packet.
    Decode {
        /// The transcoder.
        transcoder: AudioTranscoderId,
        /// An Opus packet (RFC 6716, 3) of any duration.
        packet: Bytes,
    },
    /// Fill a gap in front of an Opus packet from the in-band redundancy of that packet (RFC 6716,
    /// 2.1.7), or conceal it where it has none. The packet itself is decoded by a job of its own.
    Recover {
        /// The transcoder.
        transcoder: AudioTranscoderId,
        /// The packet behind the gap.
        packet: Bytes,
        /// Length of the gap at 48 kHz.
        samples: u32,
    },
    /// Conceal a gap from what came before it.
    Conceal {
        /// The transcoder.
        transcoder: AudioTranscoderId,
        /// Length of the gap at 48 kHz.
        samples: u32,
    },
    /// Fill a gap with silence.
    Silence {
        /// The transcoder.
        transcoder: AudioTranscoderId,
        /// Length of the gap at 48 kHz.
        samples: u32,
    },
    /// Drop a transcoder with what it has not put out yet.
    Close {
        /// The transcoder.
        transcoder: AudioTranscoderId,
    },
}

/// Work for a video transcoder: the publisher's video is decoded once, and each rendition scaled and
/// encoded once. A transcoder does its jobs in order, beside the executor.
#[derive(Clone, Debug)]
pub enum VideoJob {
    /// Make a transcoder.
    Open {
        /// Names it from now on.
        transcoder: VideoTranscoderId,
    },
    /// Decode another stream from now on. It begins with a keyframe. Renditions go on.
    Source {
        /// The transcoder.
        transcoder: VideoTranscoderId,
        /// The codec of the stream.
        codec: VideoCodec,
        /// The AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3.1) of H.264; `None` for others.
        record: Option<Bytes>,
    },
    /// Make these renditions and no others; those that are made already go on. An empty list keeps
    /// the transcoder.
    Renditions {
        /// The transcoder.
        transcoder: VideoTranscoderId,
        /// All renditions that are wanted.
        renditions: Vec<(RenditionId, RenditionSpec)>,
    },
    /// Make the next frame of a rendition an IDR. Those of its grid stay.
    Keyframe {
        /// The transcoder.
        transcoder: VideoTranscoderId,
        /// Which rendition.
        rendition: RenditionId,
    },
    /// Decode one access unit.
    Decode {
        /// The transcoder.
        transcoder: VideoTranscoderId,
        /// When it is shown, on the media clock in microseconds. Rising within a transcoder, unless
        /// the publisher sends B-frames.
        pts_us: i64,
        /// H.264: NAL units behind lengths of four bytes. Others: a frame as RTP carries it.
        unit: Bytes,
    },
    /// No frame came up to this time: repeat the last one in every rendition.
    Fill {
        /// The transcoder.
        transcoder: VideoTranscoderId,
        /// On the media clock, in microseconds.
        until_us: i64,
    },
    /// Show this image in the place of the last frame.
    Slate {
        /// The transcoder.
        transcoder: VideoTranscoderId,
        /// A PNG or JPEG file.
        image: Bytes,
    },
    /// Drop a transcoder with what it has not put out yet.
    Close {
        /// The transcoder.
        transcoder: VideoTranscoderId,
    },
}

/// What a video transcoder says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VideoResult {
    /// A frame of a rendition is encoded.
    Encoded(EncodedFrame),
    /// Nothing can be decoded before the next keyframe: one shall be asked of the publisher.
    KeyframeWanted,
    /// Counters, sent once a second.
    Report(VideoTranscoderReport),
    /// A rendition cannot be made, or not any more.
    Failed {
        /// Which.
        rendition: RenditionId,
        /// Why, as a user is shown it.
        reason: String,
    },
}

/// One frame of a rendition, in H.264 without B-frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedFrame {
    /// The rendition that it is of.
    pub rendition: RenditionId,
    /// When it is decoded and shown, on the media clock in microseconds: on the grid of the
    /// rendition's frame rate, and rising.
    pub pts_us: i64,
    /// An IDR.
    pub key: bool,
    /// Sequence and picture parameter set; with every IDR.
    pub parameter_sets: Option<(Bytes, Bytes)>,
    /// NAL units behind lengths of four bytes, without parameter sets.
    pub unit: Bytes,
}

/// What a video transcoder has done since it was opened, and what that took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VideoTranscoderReport {
    /// Pixels of the last frame decoded; 0 before the first.
    pub width: u32,
    /// Lines of the last frame decoded; 0 before the first.
    pub height: u32,
    /// Frames decoded.
    pub frames: u64,
    /// Access units that gave no frame.
    pub errors: u64,
    /// Frames that were decoded too late to be of use.
    pub late: u64,
    /// CPU time of decoding, in microseconds.
    pub decode_us: u64,
    /// Each rendition that is made.
    pub renditions: Vec<RenditionReport>,
}

/// What one rendition came to since it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenditionReport {
    /// Which.
    pub rendition: RenditionId,
    /// Pixels; 0 before the first frame.
    pub width: u32,
    /// Lines; 0 before the first frame.
    pub height: u32,
    /// Frames encoded.
    pub frames: u64,
    /// Of these, repetitions of the frame before.
    pub repeated: u64,
    /// Frames left out because the transcoder was late.
    pub dropped: u64,
    /// IDR frames encoded.
    pub keyframes: u64,
    /// CPU time of scaling, in microseconds.
    pub scale_us: u64,
    /// CPU time of encoding, in microseconds.
    pub encode_us: u64,
    /// Preset in force now; below what is wanted while the transcoder is overloaded.
    pub preset: Preset,
    /// Frame rate in force now; below what is wanted while the transcoder is overloaded.
    pub frames_per_second: u32,
}

/// One frame to be encoded by itself, in the place of a publisher that is away.
#[derive(Clone, Debug)]
pub struct StillFrameJob {
    /// Names the job.
    pub still: StillFrameId,
    /// What it shows.
    pub source: StillFrameSource,
    /// How it is coded.
    pub target: StillFrameTarget,
}

/// What a still frame shows.
#[derive(Clone, Debug)]
pub enum StillFrameSource {
    /// The last of these frames.
    LastOf {
        /// The AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3.1) that they are coded with.
        record: Bytes,
        /// Access units in decoding order from an IDR on: NAL units behind lengths of four bytes.
        access_units: Vec<Bytes>,
    },
    /// A PNG or JPEG file, scaled into the frame with black around it.
    Image(Bytes),
}
