//! The status of a shard.

use std::time::{Duration, Instant};

use shardcast_link::{
    ControlHello, Event, ShardHello, ShardStatus, TcpPeersStatus, VERSION, WorkCounters,
};

use super::Shard;
use crate::rtmp::ingest::TestSink;

/// How often status is reported, and what rates are measured over.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

impl Shard {
    /// A control process has connected: it is sent the whole status.
    pub fn control_connected(&mut self, now: Instant) {
        self.ctx.now = now;
        let udp_port = self
            .config
            .advertise
            .first()
            .map_or(0, std::net::SocketAddr::port);
        self.ctx.event(Event::Hello(ShardHello {
            version: VERSION,
            engine: self.config.engine.clone(),
            shard: self.config.shard,
            shards: self.config.shards,
            udp_port,
            capacity: self.config.capacity,
        }));
        let status = self.shard_status();
        self.ctx.event(Event::Status(status));
    }

    /// CPU time of the shard's thread over the last second, in thousandths of a core.
    pub fn set_cpu_permille(&mut self, cpu_permille: u32) {
        self.ctx.cpu_permille = cpu_permille;
        self.ctx.budget.set_executor(cpu_permille);
    }

    /// What the driver has done since it started.
    pub fn set_work(&mut self, work: WorkCounters) {
        self.work = work;
    }

    /// Once a second: report, and start a new second of rates.
    pub(super) fn status(&mut self) {
        let status = self.shard_status();
        self.ctx.event(Event::Status(status));
        let now = self.ctx.now;
        self.broadcasts
            .values_mut()
            .for_each(|broadcast| broadcast.tick(now));
        self.ingest.values_mut().for_each(TestSink::tick);
    }

    fn shard_status(&self) -> ShardStatus {
        let ctx = &self.ctx;
        let broadcasts = self.broadcasts.values();
        ShardStatus {
            at_unix_ms: ctx.clock.unix_ms(ctx.now),
            cpu_permille: ctx.cpu_permille,
            datagrams_received: ctx.counters.datagrams_received,
            datagrams_sent: ctx.counters.datagrams_sent,
            datagrams_unknown: ctx.counters.datagrams_unknown,
            tcp_peers: TcpPeersStatus {
                connections: ctx.tcp_peers.len() as u64,
                refused: ctx.tcp_peers.refused,
                dropped: ctx.tcp_peers.dropped,
            },
            sinks: self.ingest.values().filter_map(TestSink::status).collect(),
            codec: ctx.budget.status(),
            work: WorkCounters {
                payload_copied_bytes: ctx.counters.payload_copied_bytes,
                ..self.work
            },
            parts: 0,
            broadcasts: broadcasts.map(|each| each.status(ctx)).collect(),
        }
    }
}

pub(super) fn hello(hello: &ControlHello) {
    if hello.version == VERSION {
        tracing::info!(control = hello.instance, "control has connected");
    } else {
        tracing::warn!(
            control = hello.instance,
            theirs = hello.version,
            ours = VERSION,
            "control speaks another version of the link: finish the upgrade"
        );
    }
}
