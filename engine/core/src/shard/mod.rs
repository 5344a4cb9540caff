//! The switchboard: takes every input to the broadcast or the RTMP connection that it is for. What
//! comes of it they put into the [`Context`] themselves.

mod commands;
mod ingest;
#[cfg(feature = "simulation")]
pub mod simulation_hook;
mod status;
mod viewers;

use std::{collections::HashMap, net::SocketAddr, time::Instant};

use shardcast_link::{BroadcastId, WorkCounters};

use crate::{
    broadcast::Broadcast,
    config::ShardConfig,
    context::{Context, TimerKey},
    ids::{BroadcastKey, ConnId, ConnOwner, SessionKey},
    io::{Input, Output, TcpEvent},
    rtmp::ingest::TestSink,
    webrtc::demux::Found,
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
    /// CPU time of the shard's thread over the last second, in thousandths of a core.
    cpu_permille: u32,
    /// What its driver has done.
    work: WorkCounters,
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
            cpu_permille: 0,
            work: WorkCounters::default(),
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
            Input::Video { transcoder, result } => {
                self.with(transcoder.broadcast, |broadcast, ctx| {
                    broadcast.video(ctx, transcoder, result);
                });
            }
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
            ConnOwner::Ingest(_) => self.ingest_event(conn, &event),
        }
    }

    fn timeouts(&mut self) {
        while let Some(key) = self.ctx.timers.pop_due(self.ctx.now) {
            match key {
                TimerKey::Session(session) => self.with(session.broadcast, |broadcast, ctx| {
                    broadcast.session_timeout(ctx, session);
                }),
                TimerKey::Broadcast(key) => self.with(key, Broadcast::timeout),
                TimerKey::Destination(key, destination) => self.with(key, |broadcast, ctx| {
                    broadcast.destination_timeout(ctx, destination);
                }),
                TimerKey::Viewers(key) => self.with(key, Broadcast::feed_viewers),
                TimerKey::Ingest(conn) => self.ingest_timeout(conn),
                TimerKey::Status => {
                    let next = self.ctx.now + status::INTERVAL;
                    self.ctx.timers.set(TimerKey::Status, Some(next));
                    self.status();
                }
            }
        }
    }

    fn datagram(&mut self, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        self.ctx.counters.datagrams_received += 1;
        // str0m answers from the address it was reached at, which must be a candidate.
        let behind_nat = !self.config.advertise.contains(&to);
        let to = self
            .config
            .advertise
            .first()
            .filter(|_| behind_nat)
            .copied()
            .unwrap_or(to);
        let session = match self.ctx.demux.find(from, payload) {
            Found::Known(session) => Some(session),
            Found::Unverified(session) => {
                Some(session).filter(|session| self.authenticates(*session, from, to, payload))
            }
            Found::Nobody => None,
        };
        match session {
            Some(session) => self.with(session.broadcast, |broadcast, ctx| {
                broadcast.datagram(ctx, session, from, to, payload);
            }),
            None => self.ctx.counters.datagrams_unknown += 1,
        }
    }

    /// Whether a STUN request from a new address is really from the session that it names; if so, the
    /// address is remembered.
    fn authenticates(
        &mut self,
        session: SessionKey,
        from: SocketAddr,
        to: SocketAddr,
        payload: &[u8],
    ) -> bool {
        let Some(broadcast) = self.broadcasts.get(&session.broadcast) else {
            return false;
        };
        let authentic = broadcast.authenticates(&self.ctx, session, from, to, payload);
        if authentic {
            self.ctx.demux.bind_address(from, session);
        }
        authentic
    }
}
