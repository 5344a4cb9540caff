//! The machines on the way of each datagram and access unit, one by one, for the benches. Compiled with
//! the cargo feature `simulation` alone. Each `step` is what one packet or one unit costs the machine.

use std::{
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use shardcast_link::SessionId;

use crate::{
    broadcast::ring::{Kind, Ring, Unit},
    codec::h264::ParameterSets,
    context::TimerKey,
    ids::{BroadcastKey, DestinationKey, SessionKey},
    timeline::{Stream, Timeline},
    timers::Timers,
    webrtc::demux::{Demux, Found},
};

const FRAME_US: i64 = 33_333;
/// One keyframe every two seconds.
const GOP_FRAMES: u64 = 60;

fn session(number: u64) -> SessionKey {
    SessionKey {
        broadcast: BroadcastKey(number),
        number,
    }
}

/// Finds the session of a media datagram among those of a full shard.
#[derive(Debug)]
pub struct DemuxPath {
    demux: Demux,
    addresses: Vec<SocketAddr>,
    next: usize,
}

impl DemuxPath {
    /// So many sessions, each at an address of its own.
    pub fn new(sessions: u16) -> Self {
        let mut demux = Demux::default();
        let mut addresses = Vec::new();
        for number in 0..sessions {
            let session = session(u64::from(number));
            demux.add(session, SessionId(number.to_string()), number.to_string());
            let address = SocketAddr::from(([192, 0, 2, 1], 10_000 + number));
            demux.bind_address(address, session);
            addresses.push(address);
        }
        Self {
            demux,
            addresses,
            next: 0,
        }
    }

    /// One datagram; whether its session was found.
    pub fn step(&mut self) -> bool {
        self.next = (self.next + 1) % self.addresses.len().max(1);
        let from = self.addresses.get(self.next).copied();
        // The first byte of RTP (RFC 3550 5.1).
        from.is_some_and(|from| matches!(self.demux.find(from, &[0x80, 96]), Found::Known(_)))
    }
}

/// Pushes access units into a ring and reads each with the cursors of several consumers.
#[derive(Debug)]
pub struct RingPath {
    ring: Ring,
    config: Rc<ParameterSets>,
    payload: Bytes,
    frames: u64,
}

impl RingPath {
    /// A ring whose units have this payload.
    ///
    /// # Errors
    /// When the parameter sets are none.
    pub fn new(sps: &Bytes, pps: &Bytes, payload: Bytes) -> Result<Self, String> {
        let config = ParameterSets::new(sps, std::slice::from_ref(pps));
        Ok(Self {
            ring: Ring::default(),
            config: Rc::new(config.map_err(|error| error.to_string())?),
            payload,
            frames: 0,
        })
    }

    /// One unit for `consumers`; the bytes that they read, none of them copied.
    pub fn step(&mut self, consumers: usize) -> usize {
        let at_us = self.frames as i64 * FRAME_US;
        let unit = Unit {
            kind: Kind::Video {
                key: self.frames.is_multiple_of(GOP_FRAMES),
                config: Rc::clone(&self.config),
            },
            pts_us: at_us,
            dts_us: at_us,
            payload: self.payload.clone(),
        };
        self.frames += 1;
        self.ring.push(unit, None);
        let newest = self.ring.end() - 1;
        (0..consumers)
            .filter_map(|_| self.ring.get(newest).map(|unit| unit.payload.clone()))
            .map(|payload| payload.len())
            .sum()
    }
}

/// Moves the deadline of one destination among those of a full shard.
#[derive(Debug)]
pub struct TimersPath {
    timers: Timers<TimerKey>,
    now: Instant,
    deadlines: u64,
    next: u64,
}

impl TimersPath {
    /// So many deadlines.
    pub fn new(deadlines: u64) -> Self {
        let mut path = Self {
            timers: Timers::new(),
            now: Instant::now(),
            deadlines,
            next: 0,
        };
        for _ in 0..deadlines {
            path.step();
        }
        path
    }

    /// One deadline set anew, and the earliest read; whether there is one.
    pub fn step(&mut self) -> bool {
        self.now += Duration::from_micros(100);
        self.next = (self.next + 1) % self.deadlines.max(1);
        let key = TimerKey::Destination(BroadcastKey(self.next), DestinationKey(0));
        self.timers
            .set(key, Some(self.now + Duration::from_secs(10)));
        self.timers.earliest().is_some()
    }
}

/// Places audio and video packets on the media clock.
#[derive(Debug)]
pub struct TimelinePath {
    timeline: Timeline,
    packets: u64,
}

impl Default for TimelinePath {
    fn default() -> Self {
        Self::new()
    }
}

impl TimelinePath {
    /// A publisher that has not sent anything.
    pub fn new() -> Self {
        Self {
            timeline: Timeline::new(),
            packets: 0,
        }
    }

    /// One audio packet of 20 ms and one frame; the place of the frame in microseconds.
    pub fn step(&mut self) -> i64 {
        let now_us = self.packets as i64 * 20_000;
        let _ = self
            .timeline
            .place(Stream::Audio, self.packets * 960, now_us);
        let placed = self
            .timeline
            .place(Stream::Video, self.packets * 1_800, now_us);
        self.packets += 1;
        placed
    }
}
