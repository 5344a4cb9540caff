//! Who publishes what over which socket. Pure: every method takes the time and what is known
//! elsewhere, and appends what shall happen to a list of [`Effect`]s.
//!
//! A stream id is *claimed* by at most one session; who may take a claim, and what its end does, is
//! decided in [`super::claims`].

use std::{collections::HashMap, net::IpAddr, time::Instant};

use shardcast_link::{BroadcastId, SessionId};

use super::{
    message::ServerMessage,
    renegotiation::Renegotiation,
    session::{Phase, Session, Socket},
    turns::Turns,
};
use crate::limits;

/// A signalling socket; never used twice in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SocketId(pub(crate) u64);

/// Who is at the other end of a socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    /// Its own, not that of a proxy in front of us.
    pub(crate) address: IpAddr,
    /// The address may use REST. It may be a proxy that does not say for whom it speaks.
    pub(crate) is_trusted: bool,
}

/// What shall happen, in this order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    Send {
        socket: SocketId,
        message: ServerMessage,
    },
    /// Close with this WebSocket code.
    Close {
        socket: SocketId,
        code: u16,
    },
    /// Hand the offer to a shard; the outcome comes back by [`Hub::offer_handed_over`].
    Offer {
        session: SessionId,
        broadcast: BroadcastId,
        sdp: String,
        start_timeout_ms: u64,
    },
    /// Hand a further offer to the shard that has the session.
    Renegotiate {
        session: SessionId,
        shard: u16,
        sdp: String,
    },
    Candidate {
        session: SessionId,
        shard: u16,
        candidate: String,
    },
    Unpublish {
        session: SessionId,
        shard: u16,
    },
    /// Media flows.
    Started {
        broadcast: BroadcastId,
        name: String,
        meta_data: String,
    },
    /// The broadcast is over, and its destinations with it.
    Finish {
        broadcast: BroadcastId,
    },
    /// A publisher was told that its media has not come in time.
    TimedOut {
        broadcast: BroadcastId,
    },
}

/// A `publish` and what is known around it.
#[derive(Clone, Debug)]
pub(crate) struct PublishRequest {
    pub(crate) broadcast: BroadcastId,
    pub(crate) name: String,
    pub(crate) meta_data: String,
    /// The word of refusal, when tokens or settings do not allow it.
    pub(crate) admission: Result<(), &'static str>,
    pub(crate) last_media: Option<LastMedia>,
    pub(crate) start_timeout_ms: u64,
}

/// Media of a broadcast as its shard last reported it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastMedia {
    pub(crate) age_ms: u64,
    /// Where it came from, when the shard has told.
    pub(crate) from: Option<IpAddr>,
}

/// All sockets and sessions of this process.
#[derive(Debug)]
pub(crate) struct Hub {
    /// Makes session ids unique beyond this process.
    instance: String,
    sessions_made: u64,
    pub(super) sockets: HashMap<SocketId, Socket>,
    pub(super) sessions: HashMap<SessionId, Session>,
    pub(super) claims: HashMap<BroadcastId, SessionId>,
    /// Streams that stopped while their media was stale: the SDK is about to publish again. They
    /// end then if it does not.
    pub(super) returning: HashMap<BroadcastId, Returning>,
    pub(super) turns: Turns,
}

/// A broadcast that ends unless somebody publishes it in time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Returning {
    pub(super) deadline: Instant,
    /// Of the client that said `stop`.
    pub(super) address: IpAddr,
}

impl Hub {
    pub(crate) fn new(instance: String) -> Self {
        Self {
            instance,
            sessions_made: 0,
            sockets: HashMap::new(),
            sessions: HashMap::new(),
            claims: HashMap::new(),
            returning: HashMap::new(),
            turns: Turns::default(),
        }
    }

    /// Whether this process gave `session` its id.
    pub(super) fn was_made_here(&self, session: &SessionId) -> bool {
        let rest = session.0.strip_prefix(self.instance.as_str());
        rest.is_some_and(|rest| rest.starts_with('-'))
    }

    /// Number of open sockets.
    pub(crate) fn socket_count(&self) -> usize {
        self.sockets.len()
    }

    /// Whether somebody publishes `broadcast`, or is about to.
    pub(crate) fn is_claimed(&self, broadcast: &BroadcastId) -> bool {
        self.claims.contains_key(broadcast) || self.returning.contains_key(broadcast)
    }

    /// The broadcasts for which that holds, some of them twice.
    pub(crate) fn claimed(&self) -> impl Iterator<Item = &BroadcastId> {
        self.claims.keys().chain(self.returning.keys())
    }

    /// Whether `socket` is the one that publishes `broadcast`.
    pub(crate) fn is_held_by(&self, broadcast: &BroadcastId, socket: SocketId) -> bool {
        self.claim(broadcast)
            .is_some_and(|(_, session)| session.socket == socket)
    }

    pub(crate) fn socket_opened(&mut self, now: Instant, socket: SocketId, client: Client) {
        let entry = Socket {
            client,
            heard: now,
            used: false,
            closing: HashMap::new(),
        };
        self.sockets.insert(socket, entry);
    }

    /// Any frame has come.
    pub(crate) fn socket_heard(&mut self, now: Instant, socket: SocketId) {
        if let Some(socket) = self.sockets.get_mut(&socket) {
            socket.heard = now;
        }
    }

    pub(crate) fn socket_closed(&mut self, now: Instant, socket: SocketId) {
        self.sockets.remove(&socket);
        let of_socket = |(_, session): &(&SessionId, &mut Session)| session.socket == socket;
        let mut dropped = Vec::new();
        for (id, session) in self.sessions.iter_mut().filter(of_socket) {
            session.gone = Some(now);
            if !session.is_on_shard() {
                dropped.push(id.clone());
            }
        }
        for id in dropped {
            self.drop_session(&id);
        }
    }

    pub(crate) fn publish(
        &mut self,
        now: Instant,
        socket: SocketId,
        request: PublishRequest,
        out: &mut Vec<Effect>,
    ) {
        let stream = request.broadcast.stream().to_owned();
        // A socket that has closed in the meantime publishes nothing.
        let Some(client) = self.sockets.get(&socket).map(|socket| socket.client) else {
            return;
        };
        if let Err(definition) = self.may_publish(now, socket, client, &request) {
            out.push(Effect::Send {
                socket,
                message: ServerMessage::error(&stream, definition),
            });
            return;
        }
        let replaces = self.supersede(now, &request.broadcast, out);
        if let Some(socket) = self.sockets.get_mut(&socket) {
            socket.used = true;
            socket.closing.remove(&request.broadcast);
        }
        let returning = self.returning.remove(&request.broadcast);
        self.sessions_made += 1;
        let id = SessionId(format!("{}-{}", self.instance, self.sessions_made));
        self.claims.insert(request.broadcast.clone(), id.clone());
        let session = Session {
            broadcast: request.broadcast,
            socket,
            client,
            replaces,
            follows_stop_of: returning.map(|returning| returning.address),
            phase: Phase::AwaitingOffer,
            since: now,
            start_timeout_ms: request.start_timeout_ms,
            name: request.name,
            meta_data: request.meta_data,
            shard: None,
            has_turn: false,
            renegotiation: Renegotiation::default(),
            candidates_waiting: Vec::new(),
            candidate_count: 0,
            gone: None,
        };
        self.sessions.insert(id, session);
        out.push(Effect::Send {
            socket,
            message: ServerMessage::Start { stream },
        });
    }

    pub(crate) fn offer(
        &mut self,
        now: Instant,
        socket: SocketId,
        broadcast: &BroadcastId,
        sdp: Option<String>,
        out: &mut Vec<Effect>,
    ) {
        let refuse = |definition| Effect::Send {
            socket,
            message: ServerMessage::error(broadcast.stream(), definition),
        };
        let Some((id, session)) = self.claim_of(broadcast, socket) else {
            return out.push(refuse("not_initialized_yet"));
        };
        if session.phase != Phase::AwaitingOffer {
            return self.offer_again(now, &id, sdp, out);
        }
        let Some(sdp) = sdp.filter(|sdp| !sdp.is_empty()) else {
            return out.push(refuse("notSetRemoteDescription"));
        };
        session.phase = Phase::AwaitingShard { sdp: sdp.clone() };
        let start_timeout_ms = session.start_timeout_ms;
        out.push(Effect::Offer {
            session: id,
            broadcast: broadcast.clone(),
            sdp,
            start_timeout_ms,
        });
    }

    /// The offer of `session` is on its way to `shard`; candidates follow it.
    pub(crate) fn offer_handed_over(
        &mut self,
        session: &SessionId,
        shard: u16,
        out: &mut Vec<Effect>,
    ) {
        let Some(entry) = self.sessions.get_mut(session) else {
            return;
        };
        entry.phase = Phase::Offered;
        entry.shard = Some(shard);
        for candidate in entry.candidates_waiting.drain(..) {
            out.push(Effect::Candidate {
                session: session.clone(),
                shard,
                candidate,
            });
        }
    }

    pub(crate) fn candidate(
        &mut self,
        socket: SocketId,
        broadcast: &BroadcastId,
        candidate: String,
        out: &mut Vec<Effect>,
    ) {
        let used = self.sockets.get(&socket).is_some_and(|socket| socket.used);
        let Some((id, session)) = self.claim_of(broadcast, socket) else {
            // Behind a `stop` they are stragglers.
            if !used {
                let message = ServerMessage::error(broadcast.stream(), "not_initialized_yet");
                out.push(Effect::Send { socket, message });
            }
            return;
        };
        // An empty one says that no more will come.
        if candidate.is_empty()
            || candidate.len() > limits::CANDIDATE_BYTES_MAX
            || session.candidate_count >= limits::CANDIDATES_PER_SESSION_MAX
        {
            return;
        }
        session.candidate_count += 1;
        match session.shard {
            Some(shard) => out.push(Effect::Candidate {
                session: id,
                shard,
                candidate,
            }),
            None => session.candidates_waiting.push(candidate),
        }
    }

    pub(super) fn claim(&self, broadcast: &BroadcastId) -> Option<(&SessionId, &Session)> {
        let id = self.claims.get(broadcast)?;
        self.sessions.get(id).map(|session| (id, session))
    }

    /// The session that claims `broadcast`, when it is one of `socket`.
    pub(super) fn claim_of(
        &mut self,
        broadcast: &BroadcastId,
        socket: SocketId,
    ) -> Option<(SessionId, &mut Session)> {
        let id = self.claims.get(broadcast)?;
        let session = self
            .sessions
            .get_mut(id)
            .filter(|session| session.socket == socket)?;
        Some((id.clone(), session))
    }

    pub(super) fn drop_session(&mut self, id: &SessionId) -> Option<Session> {
        let session = self.sessions.remove(id)?;
        if self.claims.get(&session.broadcast) == Some(id) {
            self.claims.remove(&session.broadcast);
            if session.is_starting() {
                self.give_back(&session.broadcast, session.replaces.as_ref());
            }
        }
        Some(session)
    }

    pub(super) fn send_if_open(
        &self,
        socket: SocketId,
        message: ServerMessage,
        out: &mut Vec<Effect>,
    ) {
        if self.sockets.contains_key(&socket) {
            out.push(Effect::Send { socket, message });
        }
    }
}

pub(super) fn unpublish(id: &SessionId, session: &Session, out: &mut Vec<Effect>) {
    if let Some(shard) = session.shard {
        out.push(Effect::Unpublish {
            session: id.clone(),
            shard,
        });
    }
}

pub(super) fn notify(
    socket: SocketId,
    broadcast: &BroadcastId,
    definition: &'static str,
) -> Effect {
    let stream = broadcast.stream().to_owned();
    Effect::Send {
        socket,
        message: ServerMessage::Notification { stream, definition },
    }
}
