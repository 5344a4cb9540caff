//! The TCP connections of the simulation: each ends at a server that behaves as its site does.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use shardcast_core::io::{ConnId, Input, TcpEvent, TcpInfo};

use super::{Arrival, Site, World, address_of, server::Server};

pub(super) struct Conn {
    pub(super) site: Site,
    pub(super) server: Server,
    /// Bytes the simulated kernel has not taken yet.
    pub(super) unsent: VecDeque<Bytes>,
    pub(super) opened: Instant,
    pub(super) open: bool,
    /// Bytes that the server has read.
    pub(super) taken: u64,
}

impl World {
    /// What the server has read is acknowledged.
    pub(super) fn inspect(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(&id).filter(|conn| conn.open) else {
            return;
        };
        let info = TcpInfo {
            acked_bytes: conn.taken,
            in_flight: !conn.unsent.is_empty(),
            rtt_us: 1_000,
            ..TcpInfo::default()
        };
        self.later(Arrival::Info(id, info));
    }

    pub(super) fn connect(&mut self, id: ConnId, addr: SocketAddr) {
        let name = self
            .sites
            .keys()
            .find(|name| address_of(name, addr.port()) == addr);
        let name = name.expect("a known address").clone();
        let site = self.sites[&name];
        self.history.entry(name).or_default().push(id);
        let server = Server::new(site);
        let unsent = VecDeque::new();
        self.conns.insert(
            id,
            Conn {
                site,
                server,
                unsent,
                opened: self.now,
                open: true,
                taken: 0,
            },
        );
        match site {
            Site::BlackHole => {}
            Site::Refuses => self.later(Arrival::Closed(id, "connection refused")),
            _ => self.later(Arrival::Connected(id)),
        }
    }

    /// The simulated kernels take what their servers' pace allows.
    pub(super) fn take_bytes(&mut self) {
        let mut ids: Vec<ConnId> = self.conns.keys().copied().collect();
        ids.sort();
        for id in ids {
            let conn = self.conns.get_mut(&id).unwrap();
            if !conn.open {
                continue;
            }
            let mut room = match conn.site {
                Site::Slow(bytes) => bytes,
                _ => usize::MAX,
            };
            let mut taken = 0;
            while room > 0
                && let Some(mut bytes) = conn.unsent.pop_front()
            {
                let part = bytes.split_to(bytes.len().min(room));
                room -= part.len();
                taken += part.len();
                conn.server.receive(&part);
                if !bytes.is_empty() {
                    conn.unsent.push_front(bytes);
                }
            }
            let answers = conn.server.answers();
            let resets = matches!(conn.site, Site::ResetsAfterMs(ms)
                if conn.server.media_since(conn.opened)
                    && self.now - conn.opened > Duration::from_millis(ms));
            conn.taken += taken as u64;
            if taken > 0 {
                let event = TcpEvent::Accepted { bytes: taken };
                self.shard.handle(self.now, Input::Tcp { conn: id, event });
                self.settle();
            }
            for answer in answers {
                self.later(Arrival::Received(id, answer));
            }
            if resets {
                self.later(Arrival::Closed(id, "connection reset by peer"));
            }
        }
    }
}
