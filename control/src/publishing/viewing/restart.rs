//! ICE restarts of viewers by WHEP: the session goes on, whatever becomes of one.

use std::time::Instant;

use shardcast_link::{BroadcastId, Command, SessionId};

use crate::publishing::{client::SocketId, effect::Effect, hub::Hub, message::ServerMessage};

impl Hub {
    /// A WHEP client restarts ICE; `sdp` is its offer under other credentials.
    pub(crate) fn restart_view(
        &mut self,
        now: Instant,
        socket: SocketId,
        broadcast: &BroadcastId,
        sdp: String,
        out: &mut Vec<Effect>,
    ) {
        let client = self.sockets.get(&socket).map(|entry| entry.client);
        let Some((id, view)) = self.views.get_mut(socket, broadcast) else {
            return;
        };
        let shard = view.shard;
        // A restart gathers candidates anew.
        view.candidate_count = 0;
        if !client.is_some_and(|client| self.views.take(now, client, shard)) {
            return self.view_not_restarted(&id, "highResourceUsage", None, out);
        }
        let command = Command::Renegotiate { session: id, sdp };
        out.push(Effect::View { shard, command });
    }

    /// The ICE restart of a viewer is refused, for these reasons; the session goes on as it was.
    pub(crate) fn view_not_restarted(
        &self,
        id: &SessionId,
        definition: &'static str,
        message: Option<String>,
        out: &mut Vec<Effect>,
    ) {
        let Some(view) = self.views.sessions.get(id) else {
            return;
        };
        let message = ServerMessage::Error {
            stream: Some(view.broadcast.stream().to_owned()),
            definition,
            message,
        };
        self.send_if_open(view.socket, message, out);
    }
}
