//! Attempts to publish about which the backend of their application is being asked. They hold no claim,
//! and REST may end their broadcast meanwhile.

use shardcast_link::BroadcastId;

use super::{
    client::{Client, SocketId},
    hub::Hub,
};

impl Hub {
    /// The backend is to be asked whether `socket` may publish `broadcast`. Returns who is at its other
    /// end.
    ///
    /// # Errors
    /// With the word of refusal where the answer would make no difference.
    pub(crate) fn begin_question(
        &mut self,
        socket: SocketId,
        broadcast: &BroadcastId,
    ) -> Result<Client, &'static str> {
        // A socket that has closed reads no refusal.
        let entry = self.sockets.get(&socket).ok_or("not_initialized_yet")?;
        let client = entry.client;
        if self.is_held_by(broadcast, socket) {
            return Err("already_publishing");
        }
        self.has_capacity(socket, client)?;
        let sockets = self.questions.entry(broadcast.clone()).or_default();
        if !sockets.contains(&socket) {
            sockets.push(socket);
        }
        Ok(client)
    }

    /// The backend has answered, or its answer is no longer awaited. False if the attempt was ended in
    /// the meantime, and its client was sent that.
    pub(crate) fn end_question(&mut self, socket: SocketId, broadcast: &BroadcastId) -> bool {
        let Some(sockets) = self.questions.get_mut(broadcast) else {
            return false;
        };
        let before = sockets.len();
        sockets.retain(|other| *other != socket);
        let was_open = sockets.len() < before;
        if sockets.is_empty() {
            self.questions.remove(broadcast);
        }
        was_open
    }

    /// Whether a `stop` of `socket` says something about `broadcast`: it publishes it, or its peer
    /// connection was closed while media flowed.
    pub(crate) fn awaits_stop(&self, socket: SocketId, broadcast: &BroadcastId) -> bool {
        let entry = self.sockets.get(&socket);
        let is_closing = entry.is_some_and(|entry| entry.closing.contains_key(broadcast));
        is_closing || self.is_held_by(broadcast, socket)
    }
}
