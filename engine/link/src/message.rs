//! Commands (control → shard) and events (shard → control).

use serde::{Deserialize, Serialize};

use crate::{
    BroadcastId, BroadcastStatus, DestinationStatus, SessionId, ShardStatus, VideoCodec,
    WantedBroadcast,
};

/// Control → shard. Each may be repeated without harm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Command {
    /// First message of a connection.
    Hello(ControlHello),
    /// The broadcast shall exist and look like this.
    Want { broadcast: WantedBroadcast },
    /// The picture that a broadcast shows while its publisher is away.
    /// [`WantedBroadcast::slate`] says by its name that it is to be shown.
    Slate {
        broadcast: BroadcastId,
        name: String,
        /// A PNG or JPEG file, in base64.
        image_base64: String,
    },
    /// The broadcast shall not exist: its publisher is closed, its destinations are ended properly.
    Forget { broadcast: BroadcastId },
    /// A client offers to publish. Answered by [`Event::Answer`] or [`Event::Refused`]. A session
    /// that is publishing this broadcast goes on until media of the new one arrives, and is then
    /// replaced.
    Publish {
        session: SessionId,
        broadcast: BroadcastId,
        /// The SDP offer as the client sent it.
        sdp: String,
        /// Without media for so long after the offer, the session is ended.
        start_timeout_ms: u64,
        /// What its video may be coded with, the best first. H.264 alone when empty.
        #[serde(default)]
        codecs: Vec<VideoCodec>,
        /// Sound in stereo is asked for; browsers send mono otherwise.
        #[serde(default)]
        stereo: bool,
    },
    /// A further offer of a session that was answered: tracks are added or removed, or ICE is
    /// restarted. Answered by [`Event::Answer`] or [`Event::NotRenegotiated`].
    Renegotiate {
        session: SessionId,
        /// The SDP offer as the client sent it.
        sdp: String,
    },
    /// A trickled ICE candidate of the client, as `candidate:…`.
    Candidate {
        session: SessionId,
        candidate: String,
    },
    /// The client is gone, or has said `stop`. Destinations are held open for a publisher that
    /// returns; [`Command::Forget`] ends them.
    Unpublish { session: SessionId },
}

/// Shard → control.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// First message of a connection, followed at once by a [`Event::Status`].
    Hello(ShardHello),
    /// The answer to an offer; it carries the shard's candidates, which are listed apart too for
    /// clients that trickle.
    Answer {
        session: SessionId,
        sdp: String,
        /// Each as `candidate:…`.
        candidates: Vec<String>,
        /// What the offer would send us.
        offers_video: bool,
        offers_audio: bool,
    },
    /// The session was not accepted; it does not exist.
    Refused {
        session: SessionId,
        problem: Problem,
    },
    /// The further offer of a session was not accepted; the session goes on as it was.
    NotRenegotiated {
        session: SessionId,
        problem: Problem,
    },
    /// The first media of a session has arrived.
    Publishing {
        session: SessionId,
        broadcast: BroadcastId,
    },
    /// A session is over.
    Ended {
        session: SessionId,
        broadcast: BroadcastId,
        reason: EndReason,
    },
    /// A destination has changed its state. [`Event::Status`] carries it too, up to a second later.
    Destination {
        broadcast: BroadcastId,
        status: DestinationStatus,
    },
    /// Everything the shard has; sent after the hello and once a second. A long report is told in
    /// parts before ([`crate::Report`]).
    Status(ShardStatus),
    /// Some broadcasts of the [`Event::Status`] that follows.
    StatusPart {
        /// Of that report.
        at_unix_ms: u64,
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

/// Who speaks on the control side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlHello {
    pub version: u32,
    /// A name for logs, unique per process start.
    pub instance: String,
}

/// Who speaks on the engine side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardHello {
    pub version: u32,
    /// Unique per start of the engine process: another value means that its state was lost.
    pub engine: String,
    pub shard: u16,
    /// How many shards that engine has.
    pub shards: u16,
    pub udp_port: u16,
    /// Relative weight in placement, 100 for a whole core.
    pub capacity: u32,
    /// Where RTMP is spoken: the application `sink` takes test streams.
    #[serde(default)]
    pub rtmp_port: Option<u16>,
}

/// Why a publishing session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EndReason {
    /// Control asked for it ([`Command::Unpublish`] or [`Command::Forget`]).
    Wished,
    /// Media or connectivity was lost.
    Lost,
    /// Media of a newer session for the same broadcast has arrived.
    Replaced,
    /// The peer closed DTLS or ICE properly.
    PeerClosed,
    /// The offer held neither audio nor video, and the start timeout has passed.
    NoMediaOffered,
    /// Media was offered, but none came within the start timeout.
    StartTimeout,
    /// Our fault; the log has the details.
    Internal,
}

/// Whose fault a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    Publisher,
    Destination,
    Operator,
    Internal,
}

/// A failure in words that say what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub fault: Fault,
    pub message: String,
}
