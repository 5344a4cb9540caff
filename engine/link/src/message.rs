//! Commands (control → shard) and events (shard → control).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    destination_status::DestinationStatus,
    id::{BroadcastId, SessionId},
    problem::Problem,
    status::{BroadcastStatus, ShardStatus},
    video::VideoCodec,
    viewing::{ViewEndReason, ViewRefusal, ViewerReport},
    wanted::WantedBroadcast,
};

/// Control → shard. Each may be repeated without harm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Command {
    /// First message of a connection.
    Hello(ControlHello),
    /// The broadcast shall exist and be as described. The shard changes the difference to what it has.
    Want {
        /// The whole wanted state.
        broadcast: WantedBroadcast,
    },
    /// The image that destinations are sent while the publisher is away.
    /// [`WantedBroadcast::slate`] names the one to be shown.
    Slate {
        /// The broadcast that shows it.
        broadcast: BroadcastId,
        /// Changes with each new image.
        name: String,
        /// A PNG or JPEG file, in base64.
        image_base64: String,
    },
    /// The broadcast shall not exist: its publisher is closed, its destinations are ended properly.
    Forget {
        /// The broadcast that is over.
        broadcast: BroadcastId,
    },
    /// A client offers to publish. Answered by [`Event::Answer`] or [`Event::Refused`]. A session
    /// that is publishing this broadcast goes on until media of the new one arrives, and is then
    /// replaced.
    Publish {
        /// Chosen by control for this attempt.
        session: SessionId,
        /// The broadcast to publish.
        broadcast: BroadcastId,
        /// The SDP offer as the client sent it.
        sdp: String,
        /// The shard ends the session when no media has come so many milliseconds after the offer.
        start_timeout_ms: u64,
        /// The video codecs that the answer may name, the preferred first. Empty: H.264 alone.
        #[serde(default)]
        codecs: Vec<VideoCodec>,
        /// Whether the answer asks for stereo Opus (RFC 7587 §6.1); browsers send mono otherwise.
        #[serde(default)]
        stereo: bool,
    },
    /// An encoder publishes by RTMP. Control has read its connection up to `publish` and admitted it; the
    /// shard answers that command and goes on. Answered by nothing but [`Event::Publishing`] and
    /// [`Event::Ended`]; a session that is publishing this broadcast goes on until media of the new one
    /// arrives, and is then replaced.
    PublishRtmp {
        /// Chosen by control for this attempt.
        session: SessionId,
        /// The broadcast to publish.
        broadcast: BroadcastId,
        /// The connection.
        connection: HandedOver,
        /// The shard ends the session when no media has come so many milliseconds after this.
        start_timeout_ms: u64,
    },
    /// A connection to the application of the test sink, read up to `publish`.
    Sink {
        /// The connection.
        connection: HandedOver,
    },
    /// A further offer of a session that was answered: tracks are added or removed, or ICE is
    /// restarted. Answered by [`Event::Answer`] or [`Event::NotRenegotiated`]. A viewer that made the
    /// offer restarts ICE alone, and is answered by [`Event::ViewDescribed`] or the same.
    Renegotiate {
        /// The session that goes on.
        session: SessionId,
        /// The SDP offer as the client sent it.
        sdp: String,
    },
    /// A trickled ICE candidate of the client (RFC 8838).
    Candidate {
        /// The session that it belongs to.
        session: SessionId,
        /// `candidate:…` (RFC 8839 §5.1).
        candidate: String,
    },
    /// The client is gone, or has sent `stop`. Destinations are held open for a publisher that
    /// returns; [`Command::Forget`] ends them.
    Unpublish {
        /// The session that is over.
        session: SessionId,
    },
    /// A client wants to watch. Answered by [`Event::ViewDescribed`] or [`Event::ViewRefused`]; its
    /// candidates come by [`Command::Candidate`].
    View {
        /// Chosen by control for this attempt.
        session: SessionId,
        /// The broadcast to watch.
        broadcast: BroadcastId,
        /// The SDP offer as the client sent it; `None`: the shard makes the offer.
        #[serde(default)]
        offer: Option<String>,
        /// The shard ends the session when ICE and DTLS do not stand so many milliseconds after this.
        start_timeout_ms: u64,
    },
    /// A client plays by RTMP. Control has read its connection up to `play` and admitted it; the shard answers that
    /// command and goes on. Answered by [`Event::Viewing`] or [`Event::ViewRefused`].
    ViewRtmp {
        /// Chosen by control for this attempt.
        session: SessionId,
        /// The broadcast to watch.
        broadcast: BroadcastId,
        /// The connection.
        connection: HandedOver,
        /// The shard ends the session when media does not flow so many milliseconds after this.
        start_timeout_ms: u64,
    },
    /// The client's answer to the offer of [`Event::ViewDescribed`].
    ViewAnswer {
        /// The session whose offer is answered.
        session: SessionId,
        /// The SDP answer as the client sent it.
        sdp: String,
    },
    /// Which of its tracks a viewer is sent; both before the first such command.
    ViewTracks {
        /// The session that goes on.
        session: SessionId,
        /// Whether video is sent; it goes on at a keyframe.
        video: bool,
        /// Whether audio is sent.
        audio: bool,
    },
    /// A text for the publisher and all viewers of a broadcast, over their data channels.
    Data {
        /// The broadcast that they are of.
        broadcast: BroadcastId,
        /// At most [`crate::DATA_MESSAGE_BYTES_MAX`] bytes.
        text: String,
    },
    /// Which video a viewer is sent; the publisher's before the first such command. It changes at a keyframe.
    ViewQuality {
        /// The session that goes on.
        session: SessionId,
        /// The height in pixels that is wanted: the nearest of the publisher's video and of
        /// [`WantedBroadcast::ladder`] is sent. `None`: the publisher's video.
        #[serde(default)]
        height: Option<u32>,
    },
    /// The viewer is gone, or has sent `stop`.
    EndView {
        /// The session that is over.
        session: SessionId,
    },
}

/// A connection that control has accepted and the shard goes on with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedOver {
    /// The name under which its socket was left with the engine ([`crate::socket_lot`]).
    pub socket: String,
    /// `address:port` of the client.
    pub remote: String,
    /// All that the client has sent so far, in base64. It holds the stream key and the token.
    pub read_base64: String,
}

/// Shows neither keys nor bytes.
impl fmt::Debug for HandedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandedOver")
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}

/// Shard → control.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// First message of a connection, followed at once by a [`Event::Status`].
    Hello(ShardHello),
    /// The answer to an offer. It carries the shard's candidates, which are listed apart too for
    /// clients that trickle.
    Answer {
        /// The session whose offer is answered.
        session: SessionId,
        /// The SDP answer.
        sdp: String,
        /// Each as `candidate:…` (RFC 8839 §5.1).
        candidates: Vec<String>,
        /// Whether the offer would send video.
        offers_video: bool,
        /// Whether the offer would send audio.
        offers_audio: bool,
    },
    /// The first offer of a session was not accepted; the session does not exist.
    Refused {
        /// The session that control had chosen.
        session: SessionId,
        /// What is wrong with the offer, or with the shard.
        problem: Problem,
    },
    /// A further offer of a session was not accepted; the session goes on as it was.
    NotRenegotiated {
        /// The session that goes on.
        session: SessionId,
        /// What is wrong with the offer.
        problem: Problem,
    },
    /// The first media of a session has arrived.
    Publishing {
        /// The session that publishes.
        session: SessionId,
        /// The broadcast that it publishes.
        broadcast: BroadcastId,
    },
    /// A session is over.
    Ended {
        /// The session, which is not used again.
        session: SessionId,
        /// The broadcast that it published.
        broadcast: BroadcastId,
        /// Why it ended.
        reason: EndReason,
    },
    /// The shard's side of a viewer's session: an offer if the client made none, else the answer. It
    /// carries the shard's candidates, which are listed apart too for clients that trickle.
    ViewDescribed {
        /// The session that is described.
        session: SessionId,
        /// The SDP offer or answer.
        sdp: String,
        /// Each as `candidate:…` (RFC 8839 §5.1).
        candidates: Vec<String>,
    },
    /// A client may not watch; the session does not exist.
    ViewRefused {
        /// The session that control had chosen.
        session: SessionId,
        /// Why, for programs.
        refusal: ViewRefusal,
        /// Why, for people.
        problem: Problem,
    },
    /// ICE and DTLS of a viewer stand: media flows.
    Viewing {
        /// The session that watches.
        session: SessionId,
        /// The broadcast that it watches.
        broadcast: BroadcastId,
    },
    /// A viewer is sent other video than before, from a keyframe on.
    ViewSwitched {
        /// The session that goes on.
        session: SessionId,
        /// Height of the new video in pixels.
        height: u32,
    },
    /// How the media of a viewer arrives.
    ViewerReport {
        /// The session that watches.
        session: SessionId,
        /// The broadcast that it watches.
        broadcast: BroadcastId,
        /// What is sent and what arrives.
        report: ViewerReport,
    },
    /// A viewer's session is over.
    ViewEnded {
        /// The session, which is not used again.
        session: SessionId,
        /// The broadcast that it watched.
        broadcast: BroadcastId,
        /// Why it ended.
        reason: ViewEndReason,
    },
    /// A destination has changed its state. [`Event::Status`] carries it too, up to a second later.
    Destination {
        /// The broadcast that is sent there.
        broadcast: BroadcastId,
        /// The destination as it is now.
        status: DestinationStatus,
    },
    /// A client's message over its data channel was taken, of a broadcast of which they are to be reported
    /// ([`crate::DataChannels::reported`]).
    DataMessage {
        /// The broadcast that it belongs to.
        broadcast: BroadcastId,
        /// Who has sent it.
        sender: DataSender,
        /// As it came.
        message: DataMessage,
    },
    /// A file of a recording is closed and can be finished. Who misses this finds the file in its folder.
    Recorded {
        /// Its path.
        file: String,
    },
    /// Everything the shard has; sent after the hello and once a second. The parts of a long report
    /// come before it ([`crate::Report`]).
    Status(ShardStatus),
    /// Some broadcasts of the [`Event::Status`] that follows.
    StatusPart {
        /// [`ShardStatus::at_unix_ms`] of the report that it is a part of.
        at_unix_ms: u64,
        /// Broadcasts that the other parts do not hold.
        broadcasts: Vec<BroadcastStatus>,
    },
}

impl Event {
    /// Leaves out of a report what makes it long: the destinations and renditions of its
    /// broadcasts.
    pub fn strip(&mut self) {
        let broadcasts = match self {
            Self::Status(status) => &mut status.broadcasts,
            Self::StatusPart { broadcasts, .. } => broadcasts,
            _ => return,
        };
        for broadcast in broadcasts {
            broadcast.destinations.clear();
            broadcast.renditions.clear();
        }
    }
}

/// Who has sent a message over a data channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataSender {
    /// The publisher.
    Publisher,
    /// A viewer.
    Viewer,
}

/// A message over a data channel, of at most [`crate::DATA_MESSAGE_BYTES_MAX`] bytes. A part of a large message
/// of Ant Media's SDK is a message of its own.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DataMessage {
    /// Sent as a text.
    Text {
        /// The text.
        text: String,
    },
    /// Sent as bytes.
    Binary {
        /// The bytes, in base64.
        base64: String,
    },
}

/// Shows no message: they are people's.
impl fmt::Debug for DataMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Text { text: held } | Self::Binary { base64: held }) = self;
        f.debug_struct("DataMessage")
            .field("bytes", &held.len())
            .finish_non_exhaustive()
    }
}

/// The control process at its end of the link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlHello {
    /// [`crate::VERSION`] of its build.
    pub version: u32,
    /// A name for logs, unique per process start.
    pub instance: String,
}

/// The shard at its end of the link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardHello {
    /// [`crate::VERSION`] of its build.
    pub version: u32,
    /// Unique per start of the engine process: another value means that its state was lost.
    pub engine: String,
    /// Its number, from 0.
    pub shard: u16,
    /// How many shards that engine has, from 1.
    pub shards: u16,
    /// Where it receives media.
    pub udp_port: u16,
    /// Relative weight in placement, 100 for a whole core.
    pub capacity: u32,
}

/// Why a publishing session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EndReason {
    /// Control asked for it ([`Command::Unpublish`] or [`Command::Forget`]). `wished` on the wire.
    #[serde(rename = "wished")]
    Requested,
    /// Media or connectivity was lost.
    Lost,
    /// Media of a newer session for the same broadcast has arrived.
    Replaced,
    /// The peer closed DTLS or ICE properly, or ended its stream by a command of RTMP.
    PeerClosed,
    /// The publisher sends what is not taken, and was told so.
    Unsupported,
    /// The offer held neither audio nor video, and the start time-out has passed.
    NoMediaOffered,
    /// Media was offered, and none came within the start time-out.
    StartTimeout,
    /// Our fault; the log has the details.
    Internal,
}
