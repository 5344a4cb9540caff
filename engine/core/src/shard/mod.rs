//! The switchboard: takes every input to the small machine that it belongs to, and collects what
//! the machines want done.

mod budget;
mod commands;
mod demux;
mod lanes;
mod media;
#[cfg(test)]
mod simulation;
mod sinks;
mod status;

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::Instant,
};

use shardcast_link::{BroadcastId, EndReason, Event, SessionId};

use self::{
    budget::Budget,
    demux::{Demux, Found},
    status::Counters,
};
use crate::{
    broadcast::{Broadcast, DestinationKey, PeerId},
    destination::AddressRules,
    io::{ConnId, Input, LaneId, LookupId, Output, StillId, VideoLaneId},
    sink::Sink,
    timers::Timers,
    webrtc::{Identity, publisher::Publisher},
};

/// What a shard is told when it is made.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Number of this shard, from 0.
    pub shard: u16,
    /// How many shards the engine has.
    pub shards: u16,
    /// Unique per start of the engine process.
    pub engine: String,
    /// Addresses that go into SDP answers: those of the UDP socket, or what a 1:1 NAT makes of them.
    pub advertise: Vec<SocketAddr>,
    /// The TCP port on which this shard is offered RTMP connections, if it is.
    pub rtmp_port: Option<u16>,
    /// Of all randomness but that of DTLS and ICE.
    pub seed: u64,
    /// Start of the shard's clock, and what the wall clock shows then.
    pub epoch: Instant,
    pub epoch_unix_ms: u64,
    /// Relative weight in placement, 100 for a whole core.
    pub capacity: u32,
    /// Where destinations may be.
    pub address_rules: AddressRules,
    /// What may be spent on video codecs, in thousandths of a core; 0 re-encodes nothing.
    pub codec_capacity_permille: u32,
    /// Codecs run on the core of the shard, which comes first there.
    pub codecs_beside: bool,
}

/// Whom a deadline belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum TimerKey {
    Peer(PeerId),
    Broadcast(BroadcastKey),
    Destination(BroadcastKey, DestinationKey),
    Sink(ConnId),
    Status,
}

/// A broadcast, named inside the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct BroadcastKey(u64);

/// A publisher and the broadcast that it is for.
#[derive(Debug)]
struct Peer {
    publisher: Publisher,
    broadcast: BroadcastKey,
    first_media_unix_ms: u64,
    bytes_at_last_status: u64,
}

/// All broadcasts of one core. See the crate's documentation.
#[derive(Debug)]
pub struct Shard {
    config: ShardConfig,
    identity: Identity,
    outputs: VecDeque<Output>,
    timers: Timers<TimerKey>,
    next_id: u64,
    broadcasts: HashMap<BroadcastKey, Broadcast>,
    broadcast_keys: HashMap<BroadcastId, BroadcastKey>,
    peers: HashMap<PeerId, Peer>,
    sessions: HashMap<SessionId, PeerId>,
    demux: Demux,
    conns: HashMap<ConnId, (BroadcastKey, DestinationKey)>,
    lookups: HashMap<LookupId, (BroadcastKey, DestinationKey)>,
    lanes: HashMap<LaneId, BroadcastKey>,
    video_lanes: HashMap<VideoLaneId, BroadcastKey>,
    budget: Budget,
    /// Pictures that are being made; each is answered.
    stills: HashMap<StillId, BroadcastKey>,
    sinks: HashMap<ConnId, Sink>,
    counters: Counters,
    address_rules: Rc<AddressRules>,
}

impl Shard {
    pub fn new(config: ShardConfig) -> Self {
        let identity = Identity::new(config.advertise.clone());
        let address_rules = Rc::new(config.address_rules.clone());
        let budget = Budget::new(config.codec_capacity_permille, config.codecs_beside);
        let mut timers = Timers::new();
        timers.set(TimerKey::Status, Some(config.epoch + status::INTERVAL));
        Self {
            config,
            identity,
            outputs: VecDeque::new(),
            timers,
            next_id: 1,
            broadcasts: HashMap::new(),
            broadcast_keys: HashMap::new(),
            peers: HashMap::new(),
            sessions: HashMap::new(),
            demux: Demux::default(),
            conns: HashMap::new(),
            lookups: HashMap::new(),
            lanes: HashMap::new(),
            video_lanes: HashMap::new(),
            budget,
            stills: HashMap::new(),
            sinks: HashMap::new(),
            counters: Counters::default(),
            address_rules,
        }
    }

    /// Something has happened. Afterwards [`Self::poll`] until it is empty.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Datagram { from, to, payload } => self.datagram(now, from, to, payload),
            Input::Tcp { conn, event } => {
                if let Some((broadcast, destination)) = self.conns.get(&conn).copied() {
                    self.tcp(now, broadcast, destination, conn, event);
                } else {
                    self.sink_event(now, conn, &event);
                }
            }
            Input::Resolved { lookup, result } => {
                if let Some((broadcast, destination)) = self.lookups.remove(&lookup)
                    && let Some(slot) = self.slot(broadcast, destination)
                    && slot.lookup == Some(lookup)
                {
                    slot.lookup = None;
                    slot.destination.resolved(now, result);
                    self.settle_destination(now, broadcast, destination);
                }
            }
            Input::AudioFrames { lane, frames } => {
                if let Some(key) = self.lanes.get(&lane).copied() {
                    if let Some(broadcast) = self.broadcasts.get_mut(&key) {
                        broadcast.aac(lane, frames);
                        broadcast.feed_all(now);
                    }
                    self.settle_broadcast(now, key);
                }
            }
            Input::Still { still, result } => self.still(now, still, result),
            Input::Video { lane, result } => self.video(now, lane, result),
            Input::Command(command) => self.command(now, command),
            Input::Timeout => self.timeouts(now),
        }
    }

    /// The next thing to be done; none until something happens again.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is wanted at the latest.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.earliest()
    }

    /// All broadcasts of this shard.
    pub fn broadcast_ids(&self) -> Vec<BroadcastId> {
        self.broadcast_keys.keys().cloned().collect()
    }

    fn timeouts(&mut self, now: Instant) {
        while let Some(key) = self.timers.pop_due(now) {
            match key {
                TimerKey::Peer(peer) => {
                    self.with_peer(now, peer, |publisher| publisher.timeout(now));
                }
                TimerKey::Broadcast(key) => self.broadcast_timeout(now, key),
                TimerKey::Destination(key, destination) => {
                    if let Some(slot) = self.slot(key, destination) {
                        slot.destination.timeout(now);
                    }
                    self.settle_destination(now, key, destination);
                }
                TimerKey::Sink(conn) => self.sink_timeout(now, conn),
                TimerKey::Status => {
                    self.timers
                        .set(TimerKey::Status, Some(now + status::INTERVAL));
                    self.status(now);
                }
            }
        }
    }

    fn broadcast_timeout(&mut self, now: Instant, key: BroadcastKey) {
        let now_us = self.us(now);
        let Some(broadcast) = self.broadcasts.get_mut(&key) else {
            return;
        };
        let wants_keyframe = broadcast.timeout(now, now_us);
        let peer = broadcast.peer();
        if wants_keyframe && let Some(peer) = peer {
            self.with_peer(now, peer, |publisher| publisher.request_keyframe(now));
        }
        self.settle_broadcast(now, key);
    }

    fn datagram(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        self.counters.datagrams_received += 1;
        // str0m answers from the address it was reached at, which must be a candidate.
        let behind_nat = !self.config.advertise.contains(&to);
        let to = self
            .config
            .advertise
            .first()
            .filter(|_| behind_nat)
            .copied()
            .unwrap_or(to);
        let peer = match self.demux.find(from, payload) {
            Found::Known(peer) => Some(peer),
            Found::Claimed(peer) => {
                Some(peer).filter(|peer| self.proves(now, *peer, from, to, payload))
            }
            Found::Nobody => None,
        };
        match peer {
            Some(peer) => {
                self.with_peer(now, peer, |publisher| {
                    publisher.datagram(now, from, to, payload);
                });
            }
            None => self.counters.datagrams_unknown += 1,
        }
    }

    /// Whether a STUN request from a new address is really from the peer that it names; if so, the
    /// address is remembered.
    fn proves(
        &mut self,
        now: Instant,
        id: PeerId,
        from: SocketAddr,
        to: SocketAddr,
        payload: &[u8],
    ) -> bool {
        let Some(peer) = self.peers.get(&id) else {
            return false;
        };
        let check = || peer.publisher.accepts(now, from, to, payload);
        let proved = catch_unwind(AssertUnwindSafe(check)).unwrap_or(false);
        if proved {
            self.demux.learn(from, id);
        }
        proved
    }

    /// Runs something on a publisher and then does what it wants. A panic in the protocols below
    /// ends this one session, not the shard.
    fn with_peer(&mut self, now: Instant, id: PeerId, run: impl FnOnce(&mut Publisher)) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if catch_unwind(AssertUnwindSafe(|| run(&mut peer.publisher))).is_err() {
            tracing::error!(session = %peer.publisher.session, "a publisher's session failed and is ended");
            self.drop_peer(now, id, EndReason::Internal);
            return;
        }
        self.settle_peer(now, id);
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn slot(
        &mut self,
        broadcast: BroadcastKey,
        destination: DestinationKey,
    ) -> Option<&mut crate::broadcast::Slot> {
        self.broadcasts.get_mut(&broadcast)?.slot(destination)
    }

    fn us(&self, at: Instant) -> i64 {
        let since = at.saturating_duration_since(self.config.epoch);
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    fn unix_ms(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.config.epoch);
        self.config.epoch_unix_ms + u64::try_from(since.as_millis()).unwrap_or(u64::MAX / 2)
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(Box::new(event)));
    }
}
