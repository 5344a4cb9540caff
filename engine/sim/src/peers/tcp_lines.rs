//! TCP connections of viewers to the shard: datagrams in frames (RFC 4571), torn and joined as TCP does.

use std::{collections::HashMap, net::SocketAddr};

use bytes::Bytes;
use shardcast_core::io::{ConnId, Incoming, Input, TcpEvent};

use super::{SHARD_ADDRESS, World};

/// What a viewer on TCP is sent in pieces of: no frame comes in one.
const PIECE_BYTES: usize = 7;

/// One connection.
#[derive(Debug)]
pub struct Line {
    address: SocketAddr,
    received: Vec<u8>,
    /// It reads nothing, so the kernel takes nothing after what is under way.
    pub stalls: bool,
    /// Bytes that the shard has written to it.
    pub written: usize,
}

/// All of them that are open.
#[derive(Debug, Default)]
pub struct Lines {
    open: HashMap<ConnId, Line>,
    /// Of the next connections as they are made.
    pub refused: u64,
}

impl Lines {
    pub(super) fn has(&self, conn: ConnId) -> bool {
        self.open.contains_key(&conn)
    }

    pub(super) fn close(&mut self, conn: ConnId) {
        self.open.remove(&conn);
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.open.len()
    }

    /// The connection from `address`.
    pub fn of(&mut self, address: SocketAddr) -> Option<&mut Line> {
        self.open.values_mut().find(|line| line.address == address)
    }
}

impl World {
    /// Connects to the shard; `None` if it refuses.
    pub fn connect_line(&mut self, address: SocketAddr) -> Option<ConnId> {
        let incoming = Incoming {
            from: address,
            to: SHARD_ADDRESS.parse().unwrap(),
        };
        let conn = self.shard.accept(self.now, incoming);
        match conn {
            Some(conn) => {
                let line = Line {
                    address,
                    received: Vec::new(),
                    stalls: false,
                    written: 0,
                };
                self.lines.open.insert(conn, line);
            }
            None => self.lines.refused += 1,
        }
        self.process_outputs();
        conn
    }

    /// Sends bytes on a connection, if it is open.
    pub fn line_sends(&mut self, conn: ConnId, bytes: &[u8]) {
        if self.lines.has(conn) {
            let event = TcpEvent::Received(bytes);
            self.shard.handle(self.now, Input::Tcp { conn, event });
            self.process_outputs();
        }
    }

    /// Sends a datagram on the connection from `address`, which is made if there is none.
    pub(super) fn framed(&mut self, address: SocketAddr, datagram: &[u8]) {
        let open = self.lines.open.iter();
        let mut known = open.filter(|(_, line)| line.address == address);
        let known = known.next().map(|(conn, _)| *conn);
        let Some(conn) = known.or_else(|| self.connect_line(address)) else {
            return;
        };
        let length = u16::try_from(datagram.len()).unwrap().to_be_bytes();
        let frame = [&length, datagram].concat();
        for piece in frame.chunks(PIECE_BYTES) {
            self.line_sends(conn, piece);
        }
    }

    /// The shard has written to a viewer.
    pub(super) fn line_written(&mut self, conn: ConnId, slices: &[Bytes]) {
        let now = self.now;
        let Some(line) = self.lines.open.get_mut(&conn) else {
            return;
        };
        let bytes: usize = slices.iter().map(Bytes::len).sum();
        line.written += bytes;
        if line.stalls {
            return;
        }
        self.agenda
            .at(now, super::Arrival::LineAccepted(conn, bytes));
        for slice in slices {
            line.received.extend_from_slice(slice);
        }
        while let Some((length, rest)) = line.received.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*length));
            let Some(datagram) = rest.get(..length).map(<[u8]>::to_vec) else {
                break;
            };
            line.received.drain(..2 + length);
            let mut viewers = self.viewers.iter_mut();
            if let Some(viewer) = viewers.find(|viewer| viewer.address == line.address) {
                viewer.receive(now, &datagram);
            }
        }
    }

    pub(super) fn line_accepted(&mut self, conn: ConnId, bytes: usize) {
        if self.lines.has(conn) {
            let event = TcpEvent::Accepted { bytes };
            self.shard.handle(self.now, Input::Tcp { conn, event });
        }
    }
}
