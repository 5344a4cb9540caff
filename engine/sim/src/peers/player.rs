//! Clients that play by RTMP: what they have sent is given, and what the shard writes is kept.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use shardcast_core::io::{ConnId, Input, TcpEvent};
use shardcast_link::{Command, HandedOver};

use super::{Arrival, World, broadcast, session};

/// One client.
#[derive(Debug)]
pub struct Player {
    socket: String,
    pub(super) conn: Option<ConnId>,
    /// What the shard has written and was not taken out.
    pub written: Vec<Bytes>,
    /// The shard has closed its connection.
    pub closed: bool,
    /// It reads nothing, so the kernel takes nothing.
    pub stalls: bool,
}

impl World {
    /// A client plays as session `name`; control has read this of it.
    pub fn play_rtmp(&mut self, name: &str, read: &[u8]) -> usize {
        self.players.push(Player {
            socket: name.to_owned(),
            conn: None,
            written: Vec::new(),
            closed: false,
            stalls: false,
        });
        self.command(Command::ViewRtmp {
            session: session(name),
            broadcast: broadcast(),
            connection: HandedOver {
                socket: name.to_owned(),
                remote: "192.0.2.10:40000".to_owned(),
                read_base64: BASE64.encode(read),
            },
            start_timeout_ms: 10_000,
        });
        self.players.len() - 1
    }

    /// Player `index` sends bytes.
    pub fn from_player(&mut self, index: usize, bytes: &[u8]) {
        self.player_event(index, TcpEvent::Received(bytes));
    }

    /// The connection of player `index` is lost.
    pub fn lose_player(&mut self, index: usize) {
        let event = TcpEvent::Closed {
            reason: "connection reset by peer".to_owned(),
            retryable: true,
        };
        self.player_event(index, event);
    }

    fn player_event(&mut self, index: usize, event: TcpEvent<'_>) {
        let player = &self.players[index];
        if let Some(conn) = player.conn.filter(|_| !player.closed) {
            self.shard.handle(self.now, Input::Tcp { conn, event });
            self.process_outputs();
        }
    }

    /// Takes the socket of a player, if it is one's.
    pub(super) fn adopt_player(&mut self, conn: ConnId, socket: &str) -> bool {
        let left = self.players.iter_mut();
        let mut left = left.filter(|it| it.socket == socket && it.conn.is_none());
        let found = left.next();
        let is_player = found.is_some();
        if let Some(player) = found {
            player.conn = Some(conn);
        }
        is_player
    }

    /// Something is written to a player; whether it is one.
    pub(super) fn write_to_player(&mut self, conn: ConnId, slices: &[Bytes]) -> bool {
        let mut players = self.players.iter_mut();
        let Some(player) = players.find(|it| it.conn == Some(conn)) else {
            return false;
        };
        if !player.stalls {
            player.written.extend_from_slice(slices);
            let bytes = slices.iter().map(Bytes::len).sum();
            self.later(Arrival::PlayerAccepted(conn, bytes));
        }
        true
    }

    pub(super) fn player_accepted(&mut self, conn: ConnId, bytes: usize) {
        let mut players = self.players.iter();
        if let Some(index) = players.position(|it| it.conn == Some(conn)) {
            self.player_event(index, TcpEvent::Accepted { bytes });
        }
    }

    pub(super) fn close_player(&mut self, conn: ConnId) {
        let players = self.players.iter_mut();
        players
            .filter(|it| it.conn == Some(conn))
            .for_each(|it| it.closed = true);
    }
}
