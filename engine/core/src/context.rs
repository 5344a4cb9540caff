//! What the machines of a shard share while an input is handled: time, the queue of outputs, the
//! timers and the budgets. It is handed down by `&mut`, so that each machine puts its effects out
//! itself and nobody carries them up.

use std::{
    collections::VecDeque,
    rc::Rc,
    time::{Duration, Instant},
};

use shardcast_link::{AddressRules, Event};
use str0m::net::{Protocol, Transmit};

use crate::{
    bucket::Bucket,
    config::ShardConfig,
    ids::{BroadcastKey, ConnId, DestinationKey, Ids, SessionKey},
    io::{Close, Output},
    limits::{DATA_REPORTED_OF_SHARD, TURN_OUTPUTS_MAX},
    timers::Timers,
    transcode_budget::Budget,
    webrtc::{
        Identity,
        demux::Demux,
        tcp_peers::{Sending, TcpPeers},
    },
};

/// Whom a deadline belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum TimerKey {
    Session(SessionKey),
    Broadcast(BroadcastKey),
    Destination(BroadcastKey, DestinationKey),
    /// The rings of a broadcast have something new for its viewers.
    Viewers(BroadcastKey),
    /// Messages of a broadcast are to be delivered.
    Data(BroadcastKey),
    /// An RTMP connection that came to the shard.
    Ingest(ConnId),
    /// A TCP connection to the media port has to prove whose it is.
    Peer(ConnId),
    Status,
}

/// Turns instants into the times of the media clock and of the wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    epoch: Instant,
    epoch_unix_ms: u64,
}

impl Clock {
    /// At `epoch` the wall clock shows `epoch_unix_ms`.
    pub(crate) fn new(epoch: Instant, epoch_unix_ms: u64) -> Self {
        Self {
            epoch,
            epoch_unix_ms,
        }
    }

    /// Microseconds since the epoch; 0 before it.
    pub(crate) fn us(&self, at: Instant) -> i64 {
        let since = at.saturating_duration_since(self.epoch);
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    /// When the media clock shows `us`; the epoch for what is before it.
    pub(crate) fn instant(&self, us: i64) -> Instant {
        self.epoch + Duration::from_micros(u64::try_from(us).unwrap_or(0))
    }

    /// What the wall clock shows at `at`, in milliseconds since 1970, if nobody has set it meanwhile.
    pub(crate) fn unix_ms(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.epoch);
        self.epoch_unix_ms + u64::try_from(since.as_millis()).unwrap_or(u64::MAX / 2)
    }
}

/// Datagrams of all sessions and payloads of all destinations, counted since the shard began.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Bytes of units that a destination was sent in another place of memory than the ring's.
    pub(crate) payload_copied_bytes: u64,
    pub(crate) datagrams_received: u64,
    pub(crate) datagrams_sent: u64,
    pub(crate) datagrams_unknown: u64,
}

/// Viewers of all broadcasts of the shard.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ViewerCount {
    /// All sessions.
    pub(crate) sessions: usize,
    /// Of them, those whose ICE and DTLS do not stand yet.
    pub(crate) starting: usize,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Context {
    /// When the input that is being handled happened.
    pub(crate) now: Instant,
    pub(crate) clock: Clock,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) timers: Timers<TimerKey>,
    pub(crate) ids: Ids,
    /// What all broadcasts together may spend on video codecs.
    pub(crate) budget: Budget,
    /// Which session a datagram or a command is for; sessions enter and leave by themselves.
    pub(crate) demux: Demux,
    pub(crate) tcp_peers: TcpPeers,
    pub(crate) viewers: ViewerCount,
    /// Bytes of messages over data channels that control may be told.
    pub(crate) data_reports: Bucket,
    pub(crate) counters: Counters,
    pub(crate) address_rules: Rc<AddressRules>,
    /// Certificate and addresses of the shard's WebRTC sessions.
    pub(crate) identity: Identity,
    /// CPU time of the shard's thread over the last second, in thousandths of a core.
    pub(crate) cpu_permille: u32,
    /// Number of the shard, from 0.
    pub(crate) shard: u16,
    /// Of all randomness but that of DTLS and ICE.
    pub(crate) seed: u64,
}

impl Context {
    pub(crate) fn new(config: &ShardConfig) -> Self {
        Self {
            now: config.epoch,
            clock: Clock::new(config.epoch, config.epoch_unix_ms),
            outputs: VecDeque::new(),
            timers: Timers::new(),
            ids: Ids::default(),
            budget: Budget::new(config.codec_capacity_permille, config.codecs_beside),
            demux: Demux::default(),
            tcp_peers: TcpPeers::default(),
            viewers: ViewerCount::default(),
            data_reports: Bucket::new(DATA_REPORTED_OF_SHARD),
            counters: Counters::default(),
            address_rules: Rc::new(config.address_rules.clone()),
            identity: Identity::new(config.advertise.clone(), config.tcp_candidates),
            cpu_permille: 0,
            shard: config.shard,
            seed: config.seed,
        }
    }

    /// The media clock now, in microseconds.
    pub(crate) fn now_us(&self) -> i64 {
        self.clock.us(self.now)
    }

    /// Whether so much was put out that it is to leave before more is made.
    pub(crate) fn is_turn_full(&self) -> bool {
        self.outputs.len() >= TURN_OUTPUTS_MAX
    }

    /// Puts something out for the driver.
    pub(crate) fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// Tells control.
    pub(crate) fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(Box::new(event)));
    }

    /// Puts a datagram of a session out.
    pub(crate) fn transmit(&mut self, transmit: Transmit) {
        let (from, to) = (transmit.source, transmit.destination);
        if transmit.proto == Protocol::Udp {
            self.counters.datagrams_sent += 1;
            let payload = transmit.contents.into();
            return self.output(Output::Datagram { from, to, payload });
        }
        match self.tcp_peers.send(self.now, to, &transmit.contents) {
            Sending::Write(conn, frame) => {
                self.counters.datagrams_sent += 1;
                let slices = vec![frame];
                self.output(Output::Write { conn, slices });
            }
            Sending::Dropped => {}
            Sending::Stalled(conn) => self.close_peer(conn, Close::Abort),
        }
    }

    /// Closes the TCP connections of a session that is over, behind its last words.
    pub(crate) fn close_peers(&mut self, session: SessionKey) {
        for conn in self.tcp_peers.of_session(session) {
            self.close_peer(conn, Close::Flush);
        }
    }

    /// Closes a peer's TCP connection.
    pub(crate) fn close_peer(&mut self, conn: ConnId, how: Close) {
        self.forget_peer(conn);
        self.output(Output::Close { conn, how });
    }

    /// A peer's TCP connection is closed.
    pub(crate) fn forget_peer(&mut self, conn: ConnId) {
        self.tcp_peers.remove(conn);
        self.timers.set(TimerKey::Peer(conn), None);
    }
}

#[cfg(test)]
impl Context {
    /// That of a shard with room for everything, at `now`.
    pub(crate) fn for_tests(now: Instant) -> Self {
        Self::new(&ShardConfig {
            shard: 0,
            shards: 1,
            engine: "test".to_owned(),
            advertise: Vec::new(),
            tcp_candidates: false,
            seed: 7,
            epoch: now,
            epoch_unix_ms: 0,
            capacity: 100,
            address_rules: AddressRules::default(),
            codec_capacity_permille: 1_000,
            codecs_beside: false,
        })
    }
}
