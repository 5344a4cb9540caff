//! Who may take the claim to a stream id, and what the end of a claim does.
//!
//! A session that never brought media ends nothing but itself: the session that it superseded gets
//! its claim back. While media of a broadcast is fresh and no open socket holds its id (the
//! WebSocket is stuck, or this process has been started again), the id is free to the publisher's
//! own address alone. A claim ends at once with `stop`, so that the SDK's retry (`stop`, 500 ms,
//! `publish`) finds the id free; what the shard still has of the old session is ended behind it. Until
//! the grace after a `stop` is over, the id is free only to the address that sent it.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use shardcast_link::{BroadcastId, SessionId};

use super::{
    client::{Client, LastMedia, PublishRequest, SocketId, is_same_client},
    effect::{Effect, notify},
    hub::{Hub, Returning},
    message::ServerMessage,
    session::{Phase, unpublish},
};
use crate::limits;

impl Hub {
    pub(super) fn may_publish(
        &self,
        now: Instant,
        socket: SocketId,
        client: Client,
        request: &PublishRequest,
    ) -> Result<(), &'static str> {
        request.admission?;
        self.has_capacity(socket, client)?;
        let holder = self.claim(&request.broadcast).map(|(_, holder)| holder);
        if let Some(holder) = holder {
            if holder.socket == socket {
                return Err("already_publishing");
            }
            let is_heard = self.sockets.get(&holder.socket).is_some_and(|socket| {
                now.saturating_duration_since(socket.heard) <= limits::SOCKET_DEAD
            });
            let is_active = if holder.is_starting() {
                now < holder.since + Duration::from_millis(holder.start_timeout_ms)
            } else {
                request.last_media.is_some_and(|media| media.is_fresh())
            };
            if is_heard && is_active {
                return Err("streamIdInUse");
            }
        }
        let is_foreign = match self.returning.get(&request.broadcast) {
            // Its publisher has sent `stop`, and may be about to come back: what the last report shows
            // is the rest of its media.
            Some(returning) => !returning.admits(socket, client.address),
            None => self.is_foreign(&request.broadcast, client.address, request.last_media),
        };
        if is_foreign {
            return Err("streamIdInUse");
        }
        Ok(())
    }

    /// Whether the client and this process may have one session more.
    pub(super) fn has_capacity(
        &self,
        socket: SocketId,
        client: Client,
    ) -> Result<(), &'static str> {
        let (mut of_socket, mut starting, mut of_client) = (0, 0, 0);
        for session in self.sessions.values() {
            of_socket += usize::from(session.socket == socket);
            if session.is_starting() {
                starting += 1;
                of_client += usize::from(session.client.key() == client.key());
            }
        }
        let of_client_max = if client.is_trusted {
            limits::STARTING_PER_TRUSTED_CLIENT_MAX
        } else {
            limits::STARTING_PER_CLIENT_MAX
        };
        let is_full = of_socket >= limits::STREAMS_PER_SOCKET_MAX
            || of_client >= of_client_max
            || starting >= limits::STARTING_MAX;
        if is_full {
            return Err("highResourceUsage");
        }
        Ok(())
    }

    /// Whether `session`, whose offer a shard is about to get, would replace fresh media of another
    /// client. Its `publish` may have come before that media was known.
    pub(crate) fn replaces_foreign_media(
        &self,
        session: &SessionId,
        last_media: Option<LastMedia>,
    ) -> bool {
        let Some(session) = self.sessions.get(session) else {
            return false;
        };
        let follows_stop = session.follows_stop_of.is_some();
        !follows_stop && self.is_foreign(&session.broadcast, session.client.address, last_media)
    }

    /// Refuses `session` because another client publishes.
    pub(crate) fn refuse_in_use(&mut self, session: &SessionId, out: &mut Vec<Effect>) {
        if let Some(session) = self.drop_session(session) {
            let message = ServerMessage::error(session.broadcast.stream(), "streamIdInUse");
            self.send_if_open(session.socket, message, out);
        }
    }

    /// Whether fresh media of `broadcast` comes from another client than the one at `address`.
    fn is_foreign(
        &self,
        broadcast: &BroadcastId,
        address: IpAddr,
        last_media: Option<LastMedia>,
    ) -> bool {
        let Some(media) = last_media.filter(|media| media.is_fresh()) else {
            return false;
        };
        let holder = self.claim(broadcast).map(|(_, holder)| holder);
        let publisher = match holder {
            Some(starting) if starting.is_starting() => starting
                .replaces
                .as_ref()
                .and_then(|id| self.sessions.get(id)),
            holder => holder,
        };
        let of_session = publisher.map(|session| session.client.address);
        let mut known = of_session.into_iter().chain(media.from).peekable();
        // No client is known: the engine that had the media is gone, and no report shows any.
        known.peek().is_some() && !known.any(|known| is_same_client(known, address))
    }

    /// Takes the claim off its holder. Media of a session that publishes goes on until the new
    /// one's arrives; the shard sees to that. Returns the session that publishes.
    pub(super) fn supersede(
        &mut self,
        now: Instant,
        broadcast: &BroadcastId,
        out: &mut Vec<Effect>,
    ) -> Option<SessionId> {
        let id = self.claims.remove(broadcast)?;
        let session = self.sessions.get_mut(&id)?;
        if session.phase == Phase::Publishing {
            session.phase = Phase::Superseded { since: now };
            return Some(id);
        }
        let replaced = session.replaces.take();
        unpublish(&id, session, out);
        self.drop_session(&id);
        replaced
    }

    /// Gives the claim to `broadcast` back to the session that one without media had superseded,
    /// if there is one: its media has gone on all the while.
    pub(super) fn give_back(&mut self, broadcast: &BroadcastId, superseded: Option<&SessionId>) {
        let Some(id) = superseded.filter(|_| !self.claims.contains_key(broadcast)) else {
            return;
        };
        if let Some(session) = self.sessions.get_mut(id)
            && matches!(session.phase, Phase::Superseded { .. })
        {
            session.phase = Phase::Publishing;
            self.claims.insert(broadcast.clone(), id.clone());
        }
    }

    /// `stop`, which has two meanings that cannot be distinguished: the user ends the broadcast, or the SDK clears
    /// the way for its retry and publishes again after 500 ms. The id is free at once, and the
    /// broadcast ends only when no client publishes it within `grace`.
    pub(crate) fn stop(
        &mut self,
        now: Instant,
        socket: SocketId,
        broadcast: &BroadcastId,
        grace: Duration,
        out: &mut Vec<Effect>,
    ) {
        let Some((id, session)) = self.claim_of(broadcast, socket) else {
            return self.stop_unclaimed(now, socket, broadcast, grace, out);
        };
        unpublish(&id, session, out);
        let (address, on_shard) = (session.client.address, session.is_on_shard());
        let had_media = !session.is_starting();
        let may_end = had_media || session.resumes_end();
        let superseded = session.replaces.take();
        session.phase = Phase::Stopping { since: now };
        self.claims.remove(broadcast);
        if !had_media {
            self.give_back(broadcast, superseded.as_ref());
        }
        if may_end {
            self.end_after(now, broadcast, (socket, address), grace, out);
        }
        if !on_shard {
            self.drop_session(&id);
            out.push(notify(socket, broadcast, "publish_finished"));
        }
    }

    fn stop_unclaimed(
        &mut self,
        now: Instant,
        socket: SocketId,
        broadcast: &BroadcastId,
        grace: Duration,
        out: &mut Vec<Effect>,
    ) {
        let claimed = self.claims.contains_key(broadcast);
        let Some(entry) = self.sockets.get_mut(&socket) else {
            return;
        };
        let address = entry.client.address;
        if entry.closing.remove(broadcast).is_some() && !claimed {
            self.end_after(now, broadcast, (socket, address), grace, out);
        } else if !entry.used {
            let message = ServerMessage::error(broadcast.stream(), "not_initialized_yet");
            out.push(Effect::Send { socket, message });
        }
    }

    /// `broadcast` ends, as the `client` with this socket and address has asked, unless a client
    /// publishes it within `grace`.
    fn end_after(
        &mut self,
        now: Instant,
        broadcast: &BroadcastId,
        client: (SocketId, IpAddr),
        grace: Duration,
        out: &mut Vec<Effect>,
    ) {
        let broadcast = broadcast.clone();
        if grace.is_zero() {
            self.returning.remove(&broadcast);
            out.push(Effect::Finish { broadcast });
        } else {
            let returning = Returning {
                deadline: now + grace,
                stopped_by: Some(client),
            };
            self.returning.insert(broadcast, returning);
        }
    }
}

impl Returning {
    /// Whether the client with this socket and address may publish it. Where it is unknown which
    /// client asked for the end, every client may.
    fn admits(&self, socket: SocketId, address: IpAddr) -> bool {
        self.stopped_by.is_none() || self.is_by(socket, address)
    }

    /// Whether the client with this socket and address is known to have asked for the end.
    pub(super) fn is_by(&self, socket: SocketId, address: IpAddr) -> bool {
        self.stopped_by
            .is_some_and(|(own, other)| own == socket || is_same_client(other, address))
    }
}
