//! The TCP connections of the destinations: each ends at a server that behaves as its fault mode says.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use shardcast_core::{
    io::{Close, ConnId, Input, TcpEvent},
    rtmp::ServerConfig,
};

use super::{Arrival, World, address_of, recording::Recording};
use crate::{
    rtmp_server::{Connecting, Failure, FaultMode, RtmpServer, ServerEvent},
    tcp::{Path, Wire},
};

/// From the shard to a server, and back.
const ONE_WAY: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(super) struct Conn {
    pub(super) server: RtmpServer,
    pub(super) recording: Recording,
    wire: Wire,
    pub(super) open: bool,
    /// The shard has ended it in order: what is still under way arrives.
    lingers: bool,
    reading: bool,
}

impl Conn {
    fn new(now: Instant, mode: FaultMode, takes_opus: bool) -> Self {
        let config = ServerConfig {
            takes_opus,
            ..ServerConfig::default()
        };
        Self {
            server: RtmpServer::new(mode, config, false),
            recording: Recording::default(),
            wire: Wire::new(now, path(mode)),
            open: true,
            lingers: false,
            reading: true,
        }
    }

    pub(super) fn set_mode(&mut self, mode: FaultMode) {
        self.server.mode = mode;
        self.wire.path = path(mode);
    }
}

fn path(mode: FaultMode) -> Path {
    let path = Path::steady(ONE_WAY);
    match mode {
        FaultMode::Crawls(bytes_per_s) => path.crawling(bytes_per_s),
        _ => path,
    }
}

impl World {
    pub(super) fn resolve(&mut self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        match self.hosts.get(host) {
            None | Some(FaultMode::NoName) => Err("no such host".to_owned()),
            // The address carries the name, so that a connection finds its server.
            Some(_) => Ok(vec![address_of(host, port)]),
        }
    }

    pub(super) fn connect(&mut self, id: ConnId, addr: SocketAddr, tls: bool) {
        let name = self
            .hosts
            .keys()
            .find(|name| address_of(name, addr.port()) == addr);
        let name = name.expect("a known address").clone();
        let mode = self.hosts[&name];
        let takes_opus = self.opus_hosts.contains(&name);
        self.history.entry(name).or_default().push(id);
        self.conns.insert(id, Conn::new(self.now, mode, takes_opus));
        match mode.connecting(tls) {
            Connecting::Hangs => {}
            Connecting::Stands => self.later(Arrival::Connected(id)),
            Connecting::Fails { reason, retryable } => {
                self.later(Arrival::Closed(id, reason, retryable));
            }
        }
        if mode == FaultMode::HangsUp {
            self.later(Arrival::Closed(id, "closed by the peer", true));
        }
    }

    pub(super) fn write(&mut self, id: ConnId, slices: Vec<Bytes>) {
        if self.write_to_player(id, &slices) {
            return;
        }
        if let Some(encoder) = self.encoder_of(id) {
            return encoder.receive(&slices);
        }
        let large = slices.iter().filter(|slice| slice.len() > 2_000);
        let places = large.map(|slice| slice.as_ptr() as usize);
        self.written_at.entry(id).or_default().extend(places);
        self.written_now.insert(id);
        let conn = self.conns.get_mut(&id);
        let conn = conn.expect("written to a connection that was made");
        conn.wire.write(slices);
        self.pump(id);
    }

    pub(super) fn close(&mut self, id: ConnId, how: Close) {
        self.close_player(id);
        if let Some(encoder) = self.encoder_of(id) {
            encoder.closed = true;
        }
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.open = false;
            conn.lingers = how == Close::Flush;
        }
    }

    /// The kernel takes what it has room for.
    fn pump(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let (taken, segments) = conn.wire.take(self.now);
        let cut = conn.wire.cut;
        if taken > 0 && conn.open {
            self.agenda.at(self.now, Arrival::Accepted(id, taken));
        }
        for (at, bytes) in segments.into_iter().filter(|_| !cut) {
            self.agenda.at(at, Arrival::Arrived(id, bytes));
        }
    }

    /// What the kernel knows of a connection.
    pub(super) fn inspect(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get(&id).filter(|conn| conn.open) {
            let info = conn.wire.info();
            self.later(Arrival::Info(id, info));
        }
    }

    /// Bytes are at the server, which reads them.
    pub(super) fn arrived(&mut self, id: ConnId, bytes: &Bytes) {
        let now = self.now;
        let conn = self.conns.get_mut(&id).unwrap();
        if conn.wire.cut || !conn.reading || !(conn.open || conn.lingers) {
            return;
        }
        let was_publishing = conn.server.publishing;
        let events = conn.server.read(bytes).expect("the shard speaks RTMP");
        if events.iter().any(|it| matches!(it, ServerEvent::HangsUp)) {
            self.agenda.at(
                now + ONE_WAY,
                Arrival::Closed(id, "closed by the peer", true),
            );
        }
        for event in events {
            if let Some(answer) = conn.recording.record(event) {
                let at = conn.wire.down(now + conn.server.lateness());
                self.agenda.at(at, Arrival::Received(id, answer.bytes));
            }
        }
        let failure = conn.server.failure();
        if let Some((ms, failure)) = failure.filter(|_| conn.server.publishing && !was_publishing) {
            let at = now + Duration::from_millis(ms);
            self.agenda.at(at, Arrival::Fails(id, failure));
        }
        self.later(Arrival::Acked(id, bytes.len()));
    }

    pub(super) fn acked(&mut self, id: ConnId, bytes: usize) {
        let now = self.now;
        let conn = self.conns.get_mut(&id).unwrap();
        conn.wire.acknowledged(now, bytes);
        self.pump(id);
    }

    /// A connection fails as its fault mode says.
    pub(super) fn fails(&mut self, id: ConnId, failure: Failure) {
        let conn = self.conns.get_mut(&id).unwrap();
        match failure {
            Failure::Reset => self.later(Arrival::Closed(id, "connection reset by peer", true)),
            Failure::Fin => self.later(Arrival::Closed(id, "closed by the peer", true)),
            Failure::StopReading => conn.reading = false,
            Failure::Cut => conn.wire.cut = true,
            Failure::Unpublish => {
                let bytes = conn.server.unpublish();
                self.later(Arrival::Received(id, bytes));
            }
        }
    }

    /// Tells the shard what happened on a connection, unless either side has closed it.
    pub(super) fn tcp(&mut self, conn: ConnId, event: TcpEvent<'_>) {
        if self.conns[&conn].open {
            self.shard.handle(self.now, Input::Tcp { conn, event });
        }
    }
}
