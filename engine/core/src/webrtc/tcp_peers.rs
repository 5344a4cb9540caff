//! The TCP connections of peers that UDP does not reach (RFC 6544, passive): whose each is, and what
//! may wait on it.
//!
//! A datagram for a peer that reads too slowly is dropped, as a network would lose it: nothing waits for
//! such a peer but the bytes that its connection may hold.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use str0m::net::Protocol;

use super::{
    framing::{FrameReader, framed},
    route::Route,
};
use crate::{
    ids::{ConnId, SessionKey},
    limits::{
        PEER_CONNECTIONS_MAX, PEER_OUTSTANDING_BYTES_MAX, PEER_STALL_MS,
        PEER_UNPROVEN_CONNECTIONS_MAX, SESSION_ADDRESSES_MAX,
    },
};

/// One connection.
#[derive(Debug)]
struct TcpPeer {
    route: Route,
    /// Whose it is, once a STUN request on it was authentic.
    session: Option<SessionKey>,
    frames: FrameReader,
    /// Written and not taken by the kernel, in bytes.
    outstanding: usize,
    /// Too much was outstanding, and half of that is still.
    is_congested: bool,
    /// When the kernel last took something, or nothing was outstanding.
    moved: Instant,
}

/// What becomes of a datagram for a peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sending {
    /// To be written on this connection.
    Write(ConnId, Bytes),
    /// The connection holds what it may, or is gone.
    Dropped,
    /// It has taken nothing for so long that it is given up.
    Stalled(ConnId),
}

/// All TCP connections of peers of a shard.
#[derive(Debug, Default)]
pub(crate) struct TcpPeers {
    peers: HashMap<ConnId, TcpPeer>,
    by_address: HashMap<SocketAddr, ConnId>,
    by_session: HashMap<SessionKey, Vec<ConnId>>,
    /// Those that have not proved yet whose they are, the oldest first.
    unproven: BTreeSet<ConnId>,
    /// Connections refused since the shard began, and those closed because they proved nothing.
    pub(crate) refused: u64,
    /// Datagrams dropped since then because their peers read too slowly.
    pub(crate) dropped: u64,
}

impl TcpPeers {
    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    /// Enters a connection. False if it is not taken: there are as many as may be, or there is one from
    /// this address already.
    pub(crate) fn admit(
        &mut self,
        now: Instant,
        conn: ConnId,
        from: SocketAddr,
        to: SocketAddr,
    ) -> bool {
        let is_taken =
            self.peers.len() < PEER_CONNECTIONS_MAX && !self.by_address.contains_key(&from);
        if !is_taken {
            self.refused += 1;
            return false;
        }
        let peer = TcpPeer {
            route: Route {
                protocol: Protocol::Tcp,
                from,
                to,
            },
            session: None,
            frames: FrameReader::default(),
            outstanding: 0,
            is_congested: false,
            moved: now,
        };
        self.peers.insert(conn, peer);
        self.by_address.insert(from, conn);
        self.unproven.insert(conn);
        true
    }

    /// The oldest unproven connection, if there are more of them than may be: strangers who only connect
    /// push one another out, and no honest peer for longer than its first round trip.
    pub(crate) fn surplus(&self) -> Option<ConnId> {
        let oldest = self.unproven.first().copied();
        oldest.filter(|_| self.unproven.len() > PEER_UNPROVEN_CONNECTIONS_MAX)
    }

    /// Forgets a connection; whether it was there.
    pub(crate) fn remove(&mut self, conn: ConnId) -> bool {
        let Some(peer) = self.peers.remove(&conn) else {
            return false;
        };
        self.by_address.remove(&peer.route.from);
        self.unproven.remove(&conn);
        if let Some(session) = peer.session {
            self.leave(conn, session);
        }
        true
    }

    /// The connections of a session.
    pub(crate) fn of_session(&self, session: SessionKey) -> Vec<ConnId> {
        self.by_session.get(&session).cloned().unwrap_or_default()
    }

    /// How the datagrams of a connection come, and whose they are; `None` if it is not open.
    pub(crate) fn route(&self, conn: ConnId) -> Option<(Route, Option<SessionKey>)> {
        let peer = self.peers.get(&conn)?;
        Some((peer.route, peer.session))
    }

    /// Takes the reader of a connection out, for as long as what was received is read.
    pub(crate) fn take_reader(&mut self, conn: ConnId) -> FrameReader {
        let peer = self.peers.get_mut(&conn);
        peer.map(|peer| std::mem::take(&mut peer.frames))
            .unwrap_or_default()
    }

    /// Puts it back; nothing happens if the connection was closed meanwhile.
    pub(crate) fn put_reader(&mut self, conn: ConnId, frames: FrameReader) {
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.frames = frames;
        }
    }

    /// `session` has proved that it is at the other end of `conn`. Returns a connection of it that is to
    /// be closed since it has too many.
    pub(crate) fn prove(&mut self, conn: ConnId, session: SessionKey) -> Option<ConnId> {
        let peer = self.peers.get_mut(&conn)?;
        let before = peer.session.replace(session);
        self.unproven.remove(&conn);
        if let Some(before) = before {
            self.leave(conn, before);
        }
        let all = self.by_session.entry(session).or_default();
        all.push(conn);
        (all.len() > SESSION_ADDRESSES_MAX).then(|| all.first().copied())?
    }

    fn leave(&mut self, conn: ConnId, session: SessionKey) {
        if let Some(all) = self.by_session.get_mut(&session) {
            all.retain(|other| *other != conn);
            if all.is_empty() {
                self.by_session.remove(&session);
            }
        }
    }

    /// The kernel has taken so many bytes.
    pub(crate) fn accepted(&mut self, now: Instant, conn: ConnId, bytes: usize) {
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.outstanding = peer.outstanding.saturating_sub(bytes);
            peer.moved = now;
            peer.is_congested &= peer.outstanding > PEER_OUTSTANDING_BYTES_MAX / 2;
        }
    }

    /// What becomes of a datagram to `to`.
    pub(crate) fn send(&mut self, now: Instant, to: SocketAddr, datagram: &[u8]) -> Sending {
        let conn = self.by_address.get(&to).copied();
        let peer = conn.and_then(|conn| Some((conn, self.peers.get_mut(&conn)?)));
        let Some(((conn, peer), frame)) = peer.zip(framed(datagram)) else {
            self.dropped += 1;
            return Sending::Dropped;
        };
        if peer.outstanding == 0 {
            peer.moved = now;
        }
        peer.is_congested |= peer.outstanding + frame.len() > PEER_OUTSTANDING_BYTES_MAX;
        if !peer.is_congested {
            peer.outstanding += frame.len();
            return Sending::Write(conn, frame.into());
        }
        self.dropped += 1;
        let still = now.saturating_duration_since(peer.moved);
        if still >= Duration::from_millis(PEER_STALL_MS) {
            return Sending::Stalled(conn);
        }
        Sending::Dropped
    }
}

#[cfg(test)]
#[path = "tcp_peers_tests.rs"]
mod tests;
