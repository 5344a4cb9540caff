//! Connections that came to the shard's RTMP port.

use std::time::Instant;

use super::{Shard, TimerKey};
use crate::{
    io::{ConnId, Output, TcpEvent},
    limits::SINK_CONNECTIONS_MAX,
    sink::{Sink, SinkOutput},
};

impl Shard {
    /// Somebody has connected to the RTMP port. The connection is known by the result from now
    /// on; without one, close it: there are too many.
    pub fn accept(&mut self, now: Instant) -> Option<ConnId> {
        if self.sinks.len() >= SINK_CONNECTIONS_MAX {
            return None;
        }
        let conn = ConnId(self.id());
        let sink = Sink::new(now);
        self.timers
            .set(TimerKey::Sink(conn), Some(sink.next_timeout()));
        self.sinks.insert(conn, sink);
        Some(conn)
    }

    pub(super) fn sink_event(&mut self, now: Instant, conn: ConnId, event: &TcpEvent<'_>) {
        match event {
            TcpEvent::Received(bytes) => {
                if let Some(sink) = self.sinks.get_mut(&conn) {
                    sink.received(now, bytes);
                }
                self.settle_sink(conn);
            }
            TcpEvent::Closed { .. } => self.drop_sink(conn),
            TcpEvent::Connected | TcpEvent::Accepted { .. } | TcpEvent::Info(_) => {}
        }
    }

    pub(super) fn sink_timeout(&mut self, now: Instant, conn: ConnId) {
        if let Some(sink) = self.sinks.get_mut(&conn) {
            sink.timeout(now);
        }
        self.settle_sink(conn);
    }

    fn settle_sink(&mut self, conn: ConnId) {
        while let Some(sink) = self.sinks.get_mut(&conn) {
            match sink.poll() {
                Some(SinkOutput::Write(bytes)) => {
                    self.outputs.push_back(Output::Write {
                        conn,
                        slices: vec![bytes],
                    });
                }
                Some(SinkOutput::Close(how)) => {
                    self.outputs.push_back(Output::Close { conn, how });
                    self.drop_sink(conn);
                }
                None => {
                    let at = sink.next_timeout();
                    self.timers.set(TimerKey::Sink(conn), Some(at));
                    return;
                }
            }
        }
    }

    fn drop_sink(&mut self, conn: ConnId) {
        self.sinks.remove(&conn);
        self.timers.set(TimerKey::Sink(conn), None);
    }
}
