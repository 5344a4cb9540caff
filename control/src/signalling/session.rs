//! One attempt to publish, from `publish` to the shard's word that it is over; and the socket it
//! came by.

use std::{collections::HashMap, time::Instant};

use shardcast_link::BroadcastId;

use super::{SocketId, renegotiation::Renegotiation};

/// An open socket of the [`super::Hub`].
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) heard: Instant,
    /// Whether it has ever published.
    pub(super) used: bool,
    /// Streams whose peer connection was closed while media flowed: the `stop` that follows is
    /// the user's.
    pub(super) closing: HashMap<BroadcastId, Instant>,
}

/// A session of the [`super::Hub`].
#[derive(Debug)]
pub(super) struct Session {
    pub(super) broadcast: BroadcastId,
    pub(super) socket: SocketId,
    pub(super) phase: Phase,
    /// When `publish` came.
    pub(super) since: Instant,
    pub(super) start_timeout_ms: u64,
    pub(super) name: String,
    pub(super) meta_data: String,
    /// The shard that has the offer.
    pub(super) shard: Option<u16>,
    pub(super) renegotiation: Renegotiation,
    /// Candidates that came before the offer could be handed over.
    pub(super) candidates_waiting: Vec<String>,
    pub(super) candidate_count: usize,
    /// Its socket has closed then; another one may still take the stream over.
    pub(super) gone: Option<Instant>,
}

/// How far a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// `start` was sent.
    AwaitingOffer,
    /// The offer is here, but no shard is reachable.
    AwaitingShard { sdp: String },
    /// The shard has the offer.
    Offered,
    /// The client has the answer.
    Answered,
    /// Media flows.
    Publishing,
    /// Told to end.
    Stopping { since: Instant },
    /// Another session has the id now; this one goes when the shard says so.
    Superseded { since: Instant },
}

impl Session {
    /// Whether the shard knows of it.
    pub(super) fn is_on_shard(&self) -> bool {
        !matches!(
            self.phase,
            Phase::AwaitingOffer | Phase::AwaitingShard { .. }
        )
    }

    /// Whether it waits for its first media.
    pub(super) fn is_starting(&self) -> bool {
        matches!(
            self.phase,
            Phase::AwaitingOffer | Phase::AwaitingShard { .. } | Phase::Offered | Phase::Answered
        )
    }
}
