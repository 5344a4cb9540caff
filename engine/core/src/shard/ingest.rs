//! Connections that came to the shard's RTMP port.

use std::time::Instant;

use super::Shard;
use crate::{
    context::TimerKey,
    ids::{ConnId, ConnOwner},
    io::TcpEvent,
    limits::INGEST_CONNECTIONS_MAX,
    rtmp::ingest::TestSink,
};

impl Shard {
    /// An encoder has connected to the RTMP port. The connection has this id from now on; without one
    /// the driver closes it, since there are too many.
    pub fn accept(&mut self, now: Instant) -> Option<ConnId> {
        self.ctx.now = now;
        if self.ingest.len() >= INGEST_CONNECTIONS_MAX {
            return None;
        }
        let conn = ConnId(ConnOwner::Ingest(self.ctx.ids.next()));
        let sink = TestSink::new(conn, now);
        let timer = TimerKey::Ingest(conn);
        self.ctx.timers.set(timer, Some(sink.next_timeout()));
        self.ingest.insert(conn, sink);
        Some(conn)
    }

    pub(super) fn ingest_event(&mut self, conn: ConnId, event: &TcpEvent<'_>) {
        let Some(sink) = self.ingest.get_mut(&conn) else {
            return;
        };
        let is_open = match event {
            TcpEvent::Received(bytes) => sink.received(&mut self.ctx, bytes),
            TcpEvent::Closed { .. } => false,
            TcpEvent::Connected | TcpEvent::Accepted { .. } | TcpEvent::Info(_) => return,
        };
        self.keep_ingest(conn, is_open);
    }

    pub(super) fn ingest_timeout(&mut self, conn: ConnId) {
        if let Some(sink) = self.ingest.get_mut(&conn) {
            let is_open = sink.timeout(&mut self.ctx);
            self.keep_ingest(conn, is_open);
        }
    }

    /// Sets the timer of a connection, or forgets one that is closed.
    fn keep_ingest(&mut self, conn: ConnId, is_open: bool) {
        if !is_open {
            self.ingest.remove(&conn);
        }
        let at = self.ingest.get(&conn).map(TestSink::next_timeout);
        self.ctx.timers.set(TimerKey::Ingest(conn), at);
    }
}
