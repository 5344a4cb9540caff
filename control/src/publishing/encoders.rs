//! Sessions of encoders: they have no offer, and a shard gets their connection as soon as the hub lets them in.

use shardcast_link::{BroadcastId, SessionId};

use super::{client::SocketId, hub::Hub, session::Phase};

impl Hub {
    /// The session that was let in over `socket` and that no shard has yet, and how long its media may take, in
    /// milliseconds. It is an encoder's from now on.
    pub(crate) fn encoder_to_hand_over(
        &mut self,
        socket: SocketId,
        broadcast: &BroadcastId,
    ) -> Option<(SessionId, u64)> {
        let (id, session) = self.claim_of(broadcast, socket)?;
        if session.phase != Phase::AwaitingOffer {
            return None;
        }
        session.by_rtmp = true;
        Some((id, session.start_timeout_ms))
    }

    /// An encoder was let in, and cannot be handed over.
    pub(crate) fn drop_encoder(&mut self, session: &SessionId) {
        self.drop_session(session);
    }

    /// Whether a session is there that came over `socket`.
    pub(crate) fn has_session_of(&self, socket: SocketId) -> bool {
        self.sessions
            .values()
            .any(|session| session.socket == socket)
    }
}
