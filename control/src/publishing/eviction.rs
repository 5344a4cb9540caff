//! Ends of broadcasts that their publisher did not ask for.

use shardcast_link::BroadcastId;

use super::{
    client::SocketId,
    effect::{Effect, notify},
    hub::Hub,
    message::ServerMessage,
};

/// Why a publisher loses its broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Eviction {
    /// REST has stopped or deleted it: the publisher shall stay away.
    ByRest,
    /// This server stops: the publisher may look for the next one.
    ByShutdown,
}

impl Hub {
    /// Takes the broadcast from its publisher.
    ///
    /// The SDK takes a peer connection that fails for an accident and publishes again after some
    /// nine seconds. `stop` makes it close its peer connection itself, and then it does not.
    pub(crate) fn evict(&mut self, broadcast: &BroadcastId, why: Eviction, out: &mut Vec<Effect>) {
        self.returning.remove(broadcast);
        for socket in self.questions.remove(broadcast).unwrap_or_default() {
            self.dismiss(socket, broadcast, why, out);
        }
        // The claim of a session without media goes back to the one that it had superseded.
        while let Some(id) = self.claims.get(broadcast).cloned() {
            let Some(session) = self.drop_session(&id) else {
                return;
            };
            self.dismiss(session.socket, broadcast, why, out);
        }
    }

    fn dismiss(
        &self,
        socket: SocketId,
        broadcast: &BroadcastId,
        why: Eviction,
        out: &mut Vec<Effect>,
    ) {
        if !self.sockets.contains_key(&socket) {
            return;
        }
        out.push(notify(socket, broadcast, "publish_finished"));
        if why == Eviction::ByRest {
            let stream = broadcast.stream().to_owned();
            let message = ServerMessage::Stop { stream };
            out.push(Effect::Send { socket, message });
        }
    }
}
