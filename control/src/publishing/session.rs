//! One attempt to publish, from `publish` to the shard's word that it is over; and the socket it
//! came by.

use std::{collections::HashMap, time::Instant};

use shardcast_link::{BroadcastId, SessionId};

use super::{
    client::{Client, SocketId},
    effect::Effect,
    hub::Returning,
    renegotiation::Renegotiation,
};

/// An open socket of the [`super::hub::Hub`].
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) client: Client,
    pub(super) heard: Instant,
    /// Whether it has ever published.
    pub(super) used: bool,
    /// Streams whose peer connection was closed while media flowed: the `stop` that follows is
    /// the user's.
    pub(super) closing: HashMap<BroadcastId, Instant>,
}

/// A session of the [`super::hub::Hub`].
#[derive(Debug)]
pub(super) struct Session {
    pub(super) broadcast: BroadcastId,
    pub(super) socket: SocketId,
    /// Outlives its socket.
    pub(super) client: Client,
    /// The session whose media goes on until media of this one arrives. It gets the claim back if
    /// that never happens.
    pub(super) replaces: Option<SessionId>,
    /// The end by a `stop` that was due when `publish` came.
    pub(super) follows_stop_of: Option<Returning>,
    pub(super) phase: Phase,
    /// When `publish` came.
    pub(super) since: Instant,
    pub(super) start_timeout_ms: u64,
    /// It is an encoder's.
    pub(super) by_rtmp: bool,
    pub(super) name: String,
    pub(super) meta_data: String,
    /// The shard that has the offer.
    pub(super) shard: Option<u16>,
    /// The offer was waiting for its turn and is being handed over.
    pub(super) has_turn: bool,
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
    /// The offer is here, but no shard is reachable, or it is not yet the client's turn there.
    AwaitingShard { sdp: String },
    /// The shard has the offer.
    Offered,
    /// The client has the answer.
    Answered,
    /// Media flows.
    Publishing,
    /// Told to end.
    Stopping { since: Instant },
    /// Another session has the claim now; this one ends when the shard reports media of that one.
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

    /// Whether its client had asked for the end of the broadcast before it published again, as the
    /// SDK does with each retry. Its `stop` then asks for the end again, with or without media.
    pub(super) fn resumes_end(&self) -> bool {
        self.follows_stop_of
            .is_some_and(|stop| stop.is_by(self.socket, self.client.address))
    }

    /// Hands the candidates that wait to `shard`, which has the session `id`.
    pub(super) fn hand_candidates_over(
        &mut self,
        id: &SessionId,
        shard: u16,
        out: &mut Vec<Effect>,
    ) {
        for candidate in self.candidates_waiting.drain(..) {
            out.push(Effect::Candidate {
                session: id.clone(),
                shard,
                candidate,
            });
        }
    }

    /// Whether it waits for its first media.
    pub(super) fn is_starting(&self) -> bool {
        matches!(
            self.phase,
            Phase::AwaitingOffer | Phase::AwaitingShard { .. } | Phase::Offered | Phase::Answered
        )
    }
}

/// Tells the shard of `session`, if it has one, that the session is over.
pub(super) fn unpublish(id: &SessionId, session: &Session, out: &mut Vec<Effect>) {
    if let Some(shard) = session.shard {
        out.push(Effect::Unpublish {
            session: id.clone(),
            shard,
        });
    }
}
