//! Names that the shard gives to what it has open outside. Each says whom it is for, so that an
//! answer finds its way without a table: the shard takes it to the broadcast, the broadcast to the
//! destination, and the owner tells by one comparison whether it still waits for that answer.
//!
//! The driver treats them as opaque. A name is never used twice in the life of a shard.

use std::fmt;

/// Gives out numbers, each once.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    last: u64,
}

impl Ids {
    /// A number from 1 on. 0 is nobody's: ids that are made outside the shard carry it.
    pub(crate) fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

/// A broadcast within its shard. One that was taken away and comes again has another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BroadcastKey(pub(crate) u64);

/// A destination within its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct DestinationKey(pub(crate) u64);

/// A session that publishes to a broadcast, or watches it. Of two sessions of one broadcast the greater began later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SessionKey {
    pub(crate) broadcast: BroadcastKey,
    pub(crate) number: u64,
}

/// Whom a TCP connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ConnOwner {
    /// Opened by a destination, as its connection number `attempt`.
    Destination {
        broadcast: BroadcastKey,
        destination: DestinationKey,
        attempt: u64,
    },
    /// An encoder's, which publishes to a broadcast.
    Publisher(SessionKey),
    /// Of a client that plays a broadcast by RTMP.
    Player(SessionKey),
    /// Of a client that publishes to the test sink.
    Ingest(u64),
    /// Came to the shard's media port, for a WebRTC peer. Of two the greater came later.
    Peer(u64),
}

/// A TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub(crate) ConnOwner);

/// A name look-up of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LookupId {
    pub(crate) broadcast: BroadcastKey,
    pub(crate) destination: DestinationKey,
    pub(crate) attempt: u64,
}

/// An audio codec of one broadcast: Opus in, AAC of one bit rate out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AudioTranscoderId {
    pub(crate) broadcast: BroadcastKey,
    pub(crate) number: u64,
}

/// A decoder of one broadcast and the encoders behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VideoTranscoderId {
    pub(crate) broadcast: BroadcastKey,
    pub(crate) number: u64,
}

/// A still frame that is being encoded for one broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StillFrameId {
    pub(crate) broadcast: BroadcastKey,
    pub(crate) number: u64,
}

/// A preview that is being made of one broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PreviewId {
    pub(crate) broadcast: BroadcastKey,
    pub(crate) number: u64,
}

/// A file that a broadcast is recorded into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordingFileId {
    pub(crate) broadcast: BroadcastKey,
    pub(crate) number: u64,
}

/// A rendition. It is only used beside the [`VideoTranscoderId`] that says whose it is, so it carries
/// nothing but its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RenditionId(pub u64);

impl ConnId {
    /// A connection that no shard has made, for tests of a driver.
    pub const fn numbered(number: u64) -> Self {
        Self(ConnOwner::Ingest(number))
    }

    /// Tells it from the others of its owner.
    pub const fn number(self) -> u64 {
        match self.0 {
            ConnOwner::Destination { attempt, .. } => attempt,
            ConnOwner::Publisher(session) | ConnOwner::Player(session) => session.number,
            ConnOwner::Ingest(number) | ConnOwner::Peer(number) => number,
        }
    }

    /// A connection of a WebRTC peer.
    pub(crate) const fn of_peer(number: u64) -> Self {
        Self(ConnOwner::Peer(number))
    }

    /// Connection number `attempt` of a destination.
    pub(crate) fn of_destination(
        broadcast: BroadcastKey,
        destination: DestinationKey,
        attempt: u64,
    ) -> Self {
        Self(ConnOwner::Destination {
            broadcast,
            destination,
            attempt,
        })
    }
}

impl LookupId {
    /// A look-up that no shard has asked for, for tests of a driver.
    pub const fn numbered(number: u64) -> Self {
        Self {
            broadcast: BroadcastKey(0),
            destination: DestinationKey(0),
            attempt: number,
        }
    }

    /// Tells it from the others of its destination.
    pub const fn number(self) -> u64 {
        self.attempt
    }
}

macro_rules! numbered {
    ($id:ident) => {
        impl $id {
            /// One that no shard has asked for, for tests of a driver.
            pub const fn numbered(number: u64) -> Self {
                Self {
                    broadcast: BroadcastKey(0),
                    number,
                }
            }

            /// Tells it from the others of its shard.
            pub const fn number(self) -> u64 {
                self.number
            }
        }

        /// Broadcast and number, as they stand in logs.
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}/{}", self.broadcast.0, self.number)
            }
        }
    };
}

numbered!(AudioTranscoderId);
numbered!(VideoTranscoderId);
numbered!(StillFrameId);
numbered!(PreviewId);
numbered!(RecordingFileId);

/// Broadcast, destination and attempt, as they stand in logs.
impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ConnOwner::Destination {
                broadcast: BroadcastKey(broadcast),
                destination: DestinationKey(destination),
                attempt,
            } => write!(f, "{broadcast}/{destination}/{attempt}"),
            ConnOwner::Publisher(session) => {
                write!(f, "publisher {}/{}", session.broadcast.0, session.number)
            }
            ConnOwner::Player(session) => {
                write!(f, "player {}/{}", session.broadcast.0, session.number)
            }
            ConnOwner::Ingest(number) => write!(f, "ingest {number}"),
            ConnOwner::Peer(number) => write!(f, "peer {number}"),
        }
    }
}
