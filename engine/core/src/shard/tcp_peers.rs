//! TCP connections of WebRTC peers: each has to begin with a STUN request that names a session and is
//! authentic (RFC 6544, 7.2), and then carries its datagrams.

use std::time::{Duration, Instant};

use super::Shard;
use crate::{
    context::TimerKey,
    ids::{ConnId, SessionKey},
    io::{Close, Incoming, TcpEvent},
    limits::PEER_PROOF_MS,
    webrtc::{demux::Found, route::Route},
};

impl Shard {
    /// Somebody has connected to the shard. The connection has this id from now on; without one the driver
    /// closes it, since there are too many.
    pub fn accept(&mut self, now: Instant, incoming: Incoming) -> Option<ConnId> {
        self.ctx.now = now;
        let to = self.candidate(incoming.to);
        let ctx = &mut self.ctx;
        let conn = ConnId::of_peer(ctx.ids.next());
        if !ctx.tcp_peers.admit(ctx.now, conn, incoming.from, to) {
            return None;
        }
        if let Some(oldest) = ctx.tcp_peers.surplus() {
            self.refuse_peer(oldest);
        }
        let deadline = self.ctx.now + Duration::from_millis(PEER_PROOF_MS);
        self.ctx.timers.set(TimerKey::Peer(conn), Some(deadline));
        Some(conn)
    }

    pub(super) fn peer_event(&mut self, conn: ConnId, event: &TcpEvent<'_>) {
        match event {
            TcpEvent::Received(bytes) => self.peer_received(conn, bytes),
            TcpEvent::Accepted { bytes } => {
                self.ctx.tcp_peers.accepted(self.ctx.now, conn, *bytes);
            }
            TcpEvent::Closed { .. } => self.ctx.forget_peer(conn),
            TcpEvent::Connected | TcpEvent::Info(_) => {}
        }
    }

    /// It has not proved in time whose it is.
    pub(super) fn refuse_peer(&mut self, conn: ConnId) {
        self.ctx.tcp_peers.refused += 1;
        self.ctx.close_peer(conn, Close::Abort);
    }

    fn peer_received(&mut self, conn: ConnId, mut bytes: &[u8]) {
        let mut frames = self.ctx.tcp_peers.take_reader(conn);
        loop {
            // Each frame may end the session, and the connection with it.
            let Some((route, session)) = self.ctx.tcp_peers.route(conn) else {
                return;
            };
            match frames.next(&mut bytes) {
                Ok(Some(frame)) => {
                    let is_ours = self.peer_datagram(conn, route, session, frame);
                    if !is_ours && session.is_none() {
                        return self.refuse_peer(conn);
                    }
                }
                Ok(None) => break,
                Err(_) => return self.refuse_peer(conn),
            }
        }
        self.ctx.tcp_peers.put_reader(conn, frames);
    }

    /// Whether the datagram is of a session.
    fn peer_datagram(
        &mut self,
        conn: ConnId,
        route: Route,
        known: Option<SessionKey>,
        payload: &[u8],
    ) -> bool {
        self.ctx.counters.datagrams_received += 1;
        let session = match self.ctx.demux.session_of(known, payload) {
            Found::Known(session) => Some(session),
            Found::Unverified(session) => {
                let proves = self.authenticates(session, route, payload);
                proves.then(|| self.prove_peer(conn, session))
            }
            Found::Nobody => None,
        };
        match session {
            Some(session) => self.with(session.broadcast, |broadcast, ctx| {
                broadcast.datagram(ctx, session, route, payload);
            }),
            None => self.ctx.counters.datagrams_unknown += 1,
        }
        session.is_some()
    }

    fn prove_peer(&mut self, conn: ConnId, session: SessionKey) -> SessionKey {
        self.ctx.timers.set(TimerKey::Peer(conn), None);
        if let Some(surplus) = self.ctx.tcp_peers.prove(conn, session) {
            self.ctx.close_peer(surplus, Close::Abort);
        }
        session
    }
}
