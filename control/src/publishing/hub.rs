//! The hub: which client publishes which broadcast over which socket. Pure: every method takes the time
//! and what is known elsewhere, and appends what shall happen to a list of [`Effect`]s.
//!
//! A stream id is *claimed* by at most one session; who may take a claim, and what its end does, is
//! decided in [`super::claims`].

use std::{collections::HashMap, net::IpAddr, time::Instant};

use shardcast_link::{BroadcastId, SessionId};

use super::{
    client::{Client, PublishRequest, SocketId},
    effect::Effect,
    message::ServerMessage,
    offer_queue::OfferQueue,
    renegotiation::Renegotiation,
    session::{Phase, Session, Socket},
    viewing::Views,
};

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
    pub(super) offer_queue: OfferQueue,
    /// Sockets whose attempt to publish waits for the backend's answer. Each has as many as it may
    /// have streams ([`crate::limits::STREAMS_PER_SOCKET_MAX`]).
    pub(super) questions: HashMap<BroadcastId, Vec<SocketId>>,
    pub(super) views: Views,
}

/// A broadcast that ends unless a client publishes it in time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Returning {
    pub(super) deadline: Instant,
    /// Socket and address of the client that sent `stop`. `None` where that client is not known.
    pub(super) stopped_by: Option<(SocketId, IpAddr)>,
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
            offer_queue: OfferQueue::default(),
            questions: HashMap::new(),
            views: Views::default(),
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

    /// Whether a client publishes `broadcast`, or is about to.
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
        self.questions.retain(|_, sockets| {
            sockets.retain(|other| *other != socket);
            !sockets.is_empty()
        });
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
        if request.was_asked && !self.end_question(socket, &request.broadcast) {
            return;
        }
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
        let id = self.new_session_id();
        self.claims.insert(request.broadcast.clone(), id.clone());
        let session = Session {
            broadcast: request.broadcast,
            socket,
            client,
            replaces,
            follows_stop_of: returning,
            phase: Phase::AwaitingOffer,
            since: now,
            start_timeout_ms: request.start_timeout_ms,
            by_rtmp: false,
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

    pub(super) fn new_session_id(&mut self) -> SessionId {
        self.sessions_made += 1;
        SessionId(format!("{}-{}", self.instance, self.sessions_made))
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
