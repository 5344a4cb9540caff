//! A TCP connection as the shard's side of it sees one: a socket buffer that fills, a line with a
//! pace and a delay, acknowledgements that come back, and a cable that can be cut.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use shardcast_core::io::TcpInfo;

use crate::random::Random;

/// What is sent in one piece at most, in bytes.
const SEGMENT_BYTES_MAX: usize = 16 << 10;

/// How bytes from the server come out of the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    Whole,
    /// In pieces of so many bytes.
    Pieces(usize),
}

/// A line between the shard and a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    pub(crate) one_way: Duration,
    pub(crate) bytes_per_s: u64,
    /// The kernel's send buffer.
    pub(crate) buffer_bytes: usize,
    /// What a server that does not read still takes into its kernel.
    pub(crate) window_bytes: usize,
    pub(crate) reads: Reads,
}

impl Path {
    /// Takes everything at once.
    pub(crate) fn steady(one_way: Duration) -> Self {
        Self {
            one_way,
            bytes_per_s: 100_000_000,
            buffer_bytes: 4 << 20,
            window_bytes: 1 << 20,
            reads: Reads::Whole,
        }
    }

    /// The line of a server that takes so many bytes a second.
    pub(crate) fn crawling(self, bytes_per_s: u64) -> Self {
        Self {
            bytes_per_s,
            buffer_bytes: self.buffer_bytes.min(4_000),
            ..self
        }
    }

    pub(crate) fn new(random: &mut Random, steady: bool) -> Self {
        if steady {
            return Self::steady(Duration::from_millis(10));
        }
        Self {
            one_way: Duration::from_micros(random.pick(&[100, 5_000, 20_000, 120_000])),
            bytes_per_s: random.pick(&[200_000, 1_000_000, 10_000_000]),
            buffer_bytes: random.pick(&[2_048, 20_000, 80_000, 200_000]),
            window_bytes: random.pick(&[500, 4_000, 60_000]),
            reads: random.pick(&[
                Reads::Whole,
                Reads::Whole,
                Reads::Whole,
                Reads::Pieces(1),
                Reads::Pieces(7),
                Reads::Pieces(1_000),
            ]),
        }
    }
}

/// The sending half of a connection.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) path: Path,
    /// Written, and not taken by the kernel.
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    /// Taken by the kernel, and not acknowledged.
    unacked_bytes: usize,
    acked_bytes: u64,
    /// Since when something is unacknowledged without a break.
    unacked_since: Option<Instant>,
    line_free: Instant,
    down_free: Instant,
    pub(crate) cut: bool,
}

impl Wire {
    pub(crate) fn new(now: Instant, path: Path) -> Self {
        Self {
            path,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            unacked_bytes: 0,
            acked_bytes: 0,
            unacked_since: None,
            line_free: now,
            down_free: now,
            cut: false,
        }
    }

    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    pub(crate) fn unacked_since(&self) -> Option<Instant> {
        self.unacked_since
    }

    pub(crate) fn write(&mut self, slices: Vec<Bytes>) {
        self.waiting_bytes += slices.iter().map(Bytes::len).sum::<usize>();
        self.waiting.extend(slices);
    }

    /// Moves what fits into the kernel: how many bytes it took, and when which arrive.
    pub(crate) fn take(&mut self, now: Instant) -> (usize, Vec<(Instant, Bytes)>) {
        let mut taken = 0;
        let mut segments = Vec::new();
        loop {
            let room = self.path.buffer_bytes.saturating_sub(self.unacked_bytes);
            let segment = self.segment(room.min(SEGMENT_BYTES_MAX));
            if segment.is_empty() {
                break;
            }
            taken += segment.len();
            self.unacked_bytes += segment.len();
            self.unacked_since.get_or_insert(now);
            let pace = segment.len() as u64 * 1_000_000 / self.path.bytes_per_s;
            self.line_free = self.line_free.max(now) + Duration::from_micros(pace);
            segments.push((self.line_free + self.path.one_way, segment));
        }
        (taken, segments)
    }

    fn segment(&mut self, bytes_max: usize) -> Bytes {
        let mut segment = BytesMut::new();
        while segment.len() < bytes_max
            && let Some(mut slice) = self.waiting.pop_front()
        {
            let part = slice.split_to(slice.len().min(bytes_max - segment.len()));
            segment.extend_from_slice(&part);
            if !slice.is_empty() {
                self.waiting.push_front(slice);
            }
        }
        self.waiting_bytes -= segment.len();
        segment.freeze()
    }

    pub(crate) fn acknowledged(&mut self, now: Instant, bytes: usize) {
        self.unacked_bytes -= bytes;
        self.acked_bytes += bytes as u64;
        self.unacked_since = (self.unacked_bytes > 0).then_some(now);
    }

    /// When an answer of the server arrives that it gives at `at`: behind all earlier ones.
    pub(crate) fn down(&mut self, at: Instant) -> Instant {
        self.down_free = self.down_free.max(at + self.path.one_way);
        self.down_free
    }

    pub(crate) fn info(&self) -> TcpInfo {
        TcpInfo {
            acked_bytes: self.acked_bytes,
            in_flight: self.unacked_bytes + self.waiting_bytes > 0,
            rtt_us: u32::try_from(2 * self.path.one_way.as_micros()).unwrap(),
            ..TcpInfo::default()
        }
    }
}
