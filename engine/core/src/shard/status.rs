//! What the shard says of itself.

use std::time::{Duration, Instant};

use shardcast_link::{
    BroadcastStatus, ControlHello, Event, PublisherStatus, ShardHello, ShardStatus, VERSION,
    VideoStatus,
};

use super::{BroadcastKey, Peer, Shard};
use crate::broadcast::{Broadcast, DestinationKey};

/// How often status is reported, and what rates are measured over.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) datagrams_received: u64,
    pub(super) datagrams_sent: u64,
    pub(super) datagrams_unknown: u64,
    cpu_permille: u32,
}

impl Shard {
    /// A control process has connected: it is told everything.
    pub fn control_connected(&mut self, now: Instant) {
        let udp_port = self
            .config
            .advertise
            .first()
            .map_or(0, std::net::SocketAddr::port);
        self.event(Event::Hello(ShardHello {
            version: VERSION,
            engine: self.config.engine.clone(),
            shard: self.config.shard,
            shards: self.config.shards,
            udp_port,
            capacity: self.config.capacity,
            rtmp_port: self.config.rtmp_port,
        }));
        let status = self.shard_status(now);
        self.event(Event::Status(status));
    }

    /// CPU time of the shard's thread over the last second, in thousandths of a core.
    pub fn set_cpu_permille(&mut self, cpu_permille: u32) {
        self.counters.cpu_permille = cpu_permille;
        self.budget.set_executor(cpu_permille);
    }

    pub(super) fn hello(&mut self, _now: Instant, hello: &ControlHello) {
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

    /// Once a second: report, and start a new second of rates.
    pub(super) fn status(&mut self, now: Instant) {
        let status = self.shard_status(now);
        self.event(Event::Status(status));
        for broadcast in self.broadcasts.values_mut() {
            broadcast.tick();
        }
        for sink in self.sinks.values_mut() {
            sink.tick();
        }
        for peer in self.peers.values_mut() {
            peer.bytes_at_last_status = peer.publisher.reception().bytes;
        }
    }

    pub(super) fn report_destination(
        &mut self,
        now: Instant,
        key: BroadcastKey,
        destination: DestinationKey,
    ) {
        let Some(broadcast) = self.broadcasts.get(&key) else {
            return;
        };
        let Some(slot) = broadcast.slots.iter().find(|slot| slot.key == destination) else {
            return;
        };
        let status = broadcast.destination_status(now, slot, |at| self.unix_ms(at));
        let broadcast = broadcast.wanted.id.clone();
        tracing::info!(
            %broadcast,
            destination = %status.id,
            state = ?status.state,
            problem = status.last_problem.as_ref().map(|problem| problem.message.as_str()),
            "destination"
        );
        self.event(Event::Destination { broadcast, status });
    }

    fn shard_status(&self, now: Instant) -> ShardStatus {
        ShardStatus {
            at_unix_ms: self.unix_ms(now),
            cpu_permille: self.counters.cpu_permille,
            datagrams_received: self.counters.datagrams_received,
            datagrams_sent: self.counters.datagrams_sent,
            datagrams_unknown: self.counters.datagrams_unknown,
            sinks: self
                .sinks
                .values()
                .filter_map(crate::sink::Sink::status)
                .collect(),
            codec: self.budget.status(self.codec_used_permille()),
            parts: 0,
            broadcasts: self
                .broadcasts
                .values()
                .map(|each| self.broadcast_status(now, each))
                .collect(),
        }
    }

    fn broadcast_status(&self, now: Instant, broadcast: &Broadcast) -> BroadcastStatus {
        let mut status = broadcast.status(now, |at| self.unix_ms(at));
        let peer = broadcast.peer().and_then(|id| self.peers.get(&id));
        status.publisher = peer.map(|peer| publisher_status(now, peer, broadcast));
        status
    }
}

fn publisher_status(now: Instant, peer: &Peer, broadcast: &Broadcast) -> PublisherStatus {
    let publisher = &peer.publisher;
    let reception = publisher.reception();
    let intake = &broadcast.intake;
    PublisherStatus {
        session: publisher.session.clone(),
        since_unix_ms: peer.first_media_unix_ms,
        remote: publisher
            .remote()
            .map(|remote| remote.to_string())
            .unwrap_or_default(),
        video: intake.has_video().then(|| video_status(now, broadcast)),
        audio: intake.has_audio().then(|| intake.audio_status()),
        bytes_received: reception.bytes,
        bitrate_bps: 8 * reception.bytes.saturating_sub(peer.bytes_at_last_status),
        packets_lost: reception.packets_lost,
        jitter_ms: reception.jitter_ms,
        rtt_ms: reception.rtt_ms,
        media_age_ms: u64::try_from(publisher.media_age(now).as_millis()).unwrap_or(u64::MAX),
    }
}

/// The size of what is not H.264 is known by its decoder alone.
fn video_status(now: Instant, broadcast: &Broadcast) -> VideoStatus {
    let mut video = broadcast.intake.video_status();
    video.problem = broadcast.video_problem(now);
    if video.width == 0
        && let Some((width, height)) = broadcast.renditions.decoded_size()
    {
        (video.width, video.height) = (width, height);
    }
    video
}
