//! Connections to the test sink.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use shardcast_link::HandedOver;

use super::Shard;
use crate::{
    context::TimerKey,
    ids::{ConnId, ConnOwner},
    io::{Close, Output, TcpEvent},
    limits::INGEST_CONNECTIONS_MAX,
    rtmp::ingest::TestSink,
};

impl Shard {
    /// Control hands a connection to the test sink over.
    pub(super) fn sink(&mut self, connection: HandedOver) {
        let conn = ConnId(ConnOwner::Ingest(self.ctx.ids.next()));
        let (socket, read) = (connection.socket, BASE64.decode(connection.read_base64));
        self.ctx.output(Output::Adopt { conn, socket });
        let mut sink = TestSink::new(conn, self.ctx.now);
        let is_full = self.ingest.len() >= INGEST_CONNECTIONS_MAX;
        if is_full || !sink.resume(&mut self.ctx, &read.unwrap_or_default()) {
            let how = Close::Flush;
            return self.ctx.output(Output::Close { conn, how });
        }
        self.ingest.insert(conn, sink);
        self.keep_ingest(conn, true);
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
