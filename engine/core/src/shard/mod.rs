//! The switchboard: takes every input to the broadcast or the RTMP connection that it is for. What
//! comes of it they put into the [`Context`] themselves.

mod commands;
mod ingest;
#[cfg(feature = "simulation")]
pub mod simulation_hook;
mod status;
mod tcp_peers;
mod viewers;

use std::{collections::HashMap, net::SocketAddr, time::Instant};

use shardcast_link::{BroadcastId, Event, WorkCounters};
use str0m::net::Protocol;

use crate::{
    broadcast::Broadcast,
    config::ShardConfig,
    context::{Context, TimerKey},
    ids::{BroadcastKey, ConnId, ConnOwner, RecordingFileId, SessionKey},
    io::{Input, Output, RecordResult, TcpEvent},
    rtmp::ingest::TestSink,
    webrtc::{demux::Found, route::Route},
};

/// All broadcasts of one core. See the crate's documentation.
#[derive(Debug)]
pub struct Shard {
    config: ShardConfig,
    ctx: Context,
    broadcasts: HashMap<BroadcastKey, Broadcast>,
    broadcast_keys: HashMap<BroadcastId, BroadcastKey>,
    /// RTMP connections that came to the shard.
    ingest: HashMap<ConnId, TestSink>,
    /// What its driver has done.
    work: WorkCounters,
    /// See [`Self::is_interrupted`].
    interrupted: bool,
}

impl Shard {
    /// A shard without broadcasts.
    pub fn new(config: ShardConfig) -> Self {
        let mut ctx = Context::new(&config);
        ctx.timers
            .set(TimerKey::Status, Some(config.epoch + status::INTERVAL));
        Self {
            config,
            ctx,
            broadcasts: HashMap::new(),
            broadcast_keys: HashMap::new(),
            ingest: HashMap::new(),
            work: WorkCounters::default(),
            interrupted: false,
        }
    }

    /// Something has happened. Afterwards [`Self::poll`] until it is empty.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        debug_assert!(now >= self.ctx.now, "time goes back");
        self.ctx.now = now;
        match input {
            Input::Datagram { from, to, payload } => self.datagram(from, to, payload),
            Input::Tcp { conn, event } => self.tcp(conn, event),
            Input::Resolved { lookup, result } => {
                self.with(lookup.broadcast, |broadcast, ctx| {
                    broadcast.resolved(ctx, lookup, result);
                });
            }
            Input::AudioFrame { transcoder, frame } => {
                self.with(transcoder.broadcast, |broadcast, ctx| {
                    broadcast.audio_frame(ctx, transcoder, frame);
                });
            }
            Input::StillFrame { still, result } => {
                self.with(still.broadcast, |broadcast, ctx| {
                    broadcast.still(ctx, still, result);
                });
            }
            Input::Preview { preview, result } => {
                self.with(preview.broadcast, |broadcast, ctx| {
                    broadcast.preview(ctx, preview, result);
                });
            }
            Input::Video { transcoder, result } => {
                self.with(transcoder.broadcast, |broadcast, ctx| {
                    broadcast.video(ctx, transcoder, result);
                });
            }
            Input::Recorded { file, result } => self.recorded(file, result),
            Input::Command(command) => self.command(command),
            Input::Timeout => self.timeouts(),
        }
    }

    /// The next thing to be done; none until something happens again.
    pub fn poll(&mut self) -> Option<Output> {
        self.ctx.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is wanted at the latest.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.ctx.timers.earliest()
    }

    /// All broadcasts of this shard.
    pub fn broadcast_ids(&self) -> Vec<BroadcastId> {
        self.broadcast_keys.keys().cloned().collect()
    }

    /// Runs something on a broadcast, if it is still there.
    fn with(&mut self, key: BroadcastKey, run: impl FnOnce(&mut Broadcast, &mut Context)) {
        if let Some(broadcast) = self.broadcasts.get_mut(&key) {
            run(broadcast, &mut self.ctx);
        }
    }

    fn tcp(&mut self, conn: ConnId, event: TcpEvent<'_>) {
        match conn.0 {
            ConnOwner::Destination {
                broadcast,
                destination,
                ..
            } => self.with(broadcast, |broadcast, ctx| {
                broadcast.tcp(ctx, destination, conn, event);
            }),
            ConnOwner::Publisher(session) => self.with(session.broadcast, |broadcast, ctx| {
                broadcast.encoder_tcp(ctx, session, &event);
            }),
            ConnOwner::Player(session) => self.with(session.broadcast, |broadcast, ctx| {
                broadcast.player_tcp(ctx, session, &event);
            }),
            ConnOwner::Ingest(_) => self.ingest_event(conn, &event),
            ConnOwner::Peer(_) => self.peer_event(conn, &event),
        }
    }

    /// What became of a file. Its broadcast may be gone by the time it is closed.
    fn recorded(&mut self, file: RecordingFileId, result: RecordResult) {
        if let RecordResult::Closed { name } | RecordResult::Failed { name, .. } = &result
            && let Some(file) = name.clone()
        {
            self.ctx.event(Event::Recorded { file });
        }
        self.with(file.broadcast, |broadcast, ctx| {
            broadcast.recorded(ctx, file, result);
        });
    }

    /// Whether the last [`Input::Timeout`] ended before all that was due was done. The rest is due at once, but what
    /// was put out leaves first.
    pub fn is_interrupted(&self) -> bool {
        let due = self.ctx.timers.earliest();
        self.interrupted && due.is_some_and(|due| due <= self.ctx.now)
    }

    fn timeouts(&mut self) {
        self.interrupted = false;
        while let Some(key) = self.ctx.timers.pop_due(self.ctx.now) {
            self.timeout(key);
            if self.ctx.is_turn_full() {
                self.interrupted = true;
                return;
            }
        }
    }

    fn timeout(&mut self, key: TimerKey) {
        match key {
            TimerKey::Session(session) => self.with(session.broadcast, |broadcast, ctx| {
                broadcast.session_timeout(ctx, session);
            }),
            TimerKey::Broadcast(key) => self.with(key, Broadcast::timeout),
            TimerKey::Destination(key, destination) => self.with(key, |broadcast, ctx| {
                broadcast.destination_timeout(ctx, destination);
            }),
            TimerKey::Viewers(key) => self.with(key, Broadcast::feed_viewers),
            TimerKey::Data(key) => self.with(key, Broadcast::deliver_data),
            TimerKey::Ingest(conn) => self.ingest_timeout(conn),
            TimerKey::Peer(conn) => self.refuse_peer(conn),
            TimerKey::Status => {
                let next = self.ctx.now + status::INTERVAL;
                self.ctx.timers.set(TimerKey::Status, Some(next));
                self.status();
            }
        }
    }

    fn datagram(&mut self, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        self.ctx.counters.datagrams_received += 1;
        let route = Route {
            protocol: Protocol::Udp,
            from,
            to: self.candidate(to),
        };
        let session = match self.ctx.demux.find(from, payload) {
            Found::Known(session) => Some(session),
            Found::Unverified(session) => {
                let authentic = self.authenticates(session, route, payload);
                authentic.then(|| {
                    self.ctx.demux.bind_address(from, session);
                    session
                })
            }
            Found::Nobody => None,
        };
        match session {
            Some(session) => self.with(session.broadcast, |broadcast, ctx| {
                broadcast.datagram(ctx, session, route, payload);
            }),
            None => self.ctx.counters.datagrams_unknown += 1,
        }
    }

    /// The candidate that stands for a local address. str0m answers from where it was reached at, which
    /// must be a candidate; behind NAT the local address is none.
    fn candidate(&self, to: SocketAddr) -> SocketAddr {
        let advertise = &self.config.advertise;
        if advertise.contains(&to) {
            return to;
        }
        let mut of_family = advertise.iter().filter(|it| it.is_ipv4() == to.is_ipv4());
        of_family.next().copied().unwrap_or(to)
    }

    /// Whether a STUN request on a new way is really from the session that it names.
    fn authenticates(&self, session: SessionKey, route: Route, payload: &[u8]) -> bool {
        let broadcast = self.broadcasts.get(&session.broadcast);
        broadcast.is_some_and(|it| it.authenticates(&self.ctx, session, route, payload))
    }
}

#[cfg(test)]
mod tests {
    use shardcast_link::AddressRules;

    use super::*;

    #[test]
    fn a_local_address_behind_nat_stands_for_the_candidate_of_its_family() {
        let advertise = [
            "192.0.2.1:50000",
            "198.51.100.1:50000",
            "[2001:db8::1]:50000",
        ];
        let advertise = advertise.map(|address| address.parse().unwrap());
        let shard = Shard::new(ShardConfig {
            shard: 0,
            shards: 1,
            engine: "test".to_owned(),
            advertise: advertise.to_vec(),
            tcp_candidates: true,
            seed: 7,
            epoch: Instant::now(),
            epoch_unix_ms: 0,
            capacity: 100,
            address_rules: AddressRules::default(),
            codec_capacity_permille: 0,
            codecs_beside: false,
        });
        let [first, second, sixth] = advertise;
        for (to, candidate) in [
            ("10.0.0.5:50000", first),
            ("198.51.100.1:50000", second),
            ("[fd00::5]:50000", sixth),
        ] {
            assert_eq!(shard.candidate(to.parse().unwrap()), candidate, "{to}");
        }
    }
}
