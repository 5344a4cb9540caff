//! Decides where a publisher's Opus packets belong on the media clock.
//!
//! RTP times are the sender's word. They stop while a microphone stalls, a track is replaced or a
//! page mutes by `replaceTrack(null)`, and then say of all that follows that it is late. A network
//! makes packets late as well. The two look the same for one packet and differ over a few: what a
//! network held back comes faster than real time until it has caught up, and frames that come the
//! same way are as late.
//!
//! ```text
//!  late by 80 ms or more: packets are held
//!      one comes in time, or they     the network: each is placed where its RTP time says
//!      come three times too fast
//!      none for 80 ms of arrivals     the RTP clock stood still: the timeline is shifted by the
//!                                     least of what they were late, then each is placed
//! ```
//!
//! Nothing is lost either way: what was held is passed on, and whoever fills gaps is told of it.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    codec::opus,
    timeline::{Stream, Timeline},
};

/// Packets that are late by less are placed at once (80 ms).
const LATE_US: i64 = 80_000;
/// One packet that is late by less shows that the RTP clock did not stand still (50 ms).
const IN_TIME_US: i64 = 50_000;
/// Both grow with the jitter of the network: 2.2 and 1.4 times the usual lateness.
const LATE_PER_USUAL_PERCENT: i64 = 220;
const IN_TIME_PER_USUAL_PERCENT: i64 = 140;
/// The usual lateness counts up to this (200 ms).
const USUAL_US_MAX: i64 = 200_000;
/// So much of the arrival of late packets decides (80 ms: four packets of the usual 20 ms).
const CONFIRM_US: i64 = 80_000;
/// Lateness that fell by more than this meanwhile (160 ms: three times the pace of real time, and
/// twice what jitter explains) is that of packets which a network held back.
const CATCHING_UP_US: i64 = 160_000;
/// And this decides when no further packet comes.
const CONFIRM_MS_MAX: u64 = 120;
/// Packets held at a time; 120 ms of the shortest Opus packets, of 2.5 ms.
const HELD_MAX: usize = 48;
/// Packets in a row that may be lost: a second of 20 ms each.
const LOST_MAX: u32 = 50;
/// A jump of the RTP time beyond what was lost is a jump, and not rounding.
const JUMP_US: i64 = 60_000;

/// An Opus packet as it came, in the order of its sequence numbers.
#[derive(Debug)]
pub(crate) struct OpusArrival {
    /// Extended RTP sequence number.
    pub(crate) sequence: u64,
    /// Extended RTP time at 48 kHz.
    pub(crate) rtp: u64,
    /// When it came, by the shard's clock.
    pub(crate) arrived_us: i64,
    pub(crate) packet: Arc<[u8]>,
}

/// An Opus packet and its place.
#[derive(Debug)]
pub(crate) struct PlacedPacket {
    pub(crate) pts_us: i64,
    pub(crate) packet: Arc<[u8]>,
    /// So many packets before it did not come.
    pub(crate) lost: u32,
}

#[derive(Debug)]
struct Held {
    arrival: OpusArrival,
    late_us: i64,
    lost: u32,
}

#[derive(Debug, Default)]
pub(crate) struct AudioReceiver {
    held: VecDeque<Held>,
    decide_at: Option<Instant>,
    /// Mean lateness of packets that were placed.
    usual_us: i64,
    /// Sequence number of the last packet, and the RTP time behind it.
    last: Option<(u64, u64)>,
    placed: VecDeque<PlacedPacket>,
}

impl AudioReceiver {
    pub(crate) fn packet(&mut self, now: Instant, timeline: &mut Timeline, arrival: OpusArrival) {
        let (lost, jumped) = self.follow(&arrival);
        let late_us = timeline.audio_lateness_us(arrival.rtp, arrival.arrived_us);
        let held = Held {
            arrival,
            late_us,
            lost,
        };
        if jumped && late_us <= -LATE_US {
            // No network delivers what was not sent yet: the RTP clock jumped ahead.
            self.release(timeline);
            timeline.shift_audio(held.arrival.rtp, late_us);
            self.place(timeline, held);
        } else if late_us < self.scaled(IN_TIME_US, IN_TIME_PER_USUAL_PERCENT) {
            self.release(timeline);
            self.usual_us += (late_us.clamp(0, USUAL_US_MAX) - self.usual_us) / 32;
            self.place(timeline, held);
        } else if self.held.is_empty() && late_us < self.scaled(LATE_US, LATE_PER_USUAL_PERCENT) {
            self.usual_us += (late_us.min(USUAL_US_MAX) - self.usual_us) / 32;
            self.place(timeline, held);
        } else {
            self.hold(now, timeline, held);
        }
    }

    pub(crate) fn timeout(&mut self, now: Instant, timeline: &mut Timeline) {
        if self.decide_at.is_some_and(|at| now >= at) {
            self.shift(timeline);
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.decide_at
    }

    pub(crate) fn poll(&mut self) -> Option<PlacedPacket> {
        self.placed.pop_front()
    }

    /// When the first packet came that is still to be placed: audio is there from then on.
    pub(crate) fn held_since_us(&self) -> Option<i64> {
        self.held.front().map(|held| held.arrival.arrived_us)
    }

    /// How many packets are missing before this one, and whether its RTP time is further ahead than
    /// they explain.
    fn follow(&mut self, arrival: &OpusArrival) -> (u32, bool) {
        let samples = opus::duration_samples(&arrival.packet).unwrap_or_default();
        let behind = arrival.rtp.wrapping_add(u64::from(samples));
        let Some((sequence, expected)) = self.last.replace((arrival.sequence, behind)) else {
            return (0, false);
        };
        let lost = arrival.sequence.saturating_sub(sequence.saturating_add(1));
        // Beyond a second it is another track, whose numbers begin anywhere.
        let lost = u32::try_from(lost).ok().filter(|lost| *lost <= LOST_MAX);
        let lost = lost.unwrap_or_default();
        let ahead = (arrival.rtp as u32).wrapping_sub(expected as u32) as i32;
        let ahead_us = i64::from(ahead) * 1_000 / 48;
        let explained_us = i64::from(lost) * i64::from(samples) * 1_000 / 48;
        (lost, ahead_us - explained_us > JUMP_US)
    }

    fn scaled(&self, least_us: i64, percent: i64) -> i64 {
        least_us.max(self.usual_us * percent / 100)
    }

    fn hold(&mut self, now: Instant, timeline: &mut Timeline, held: Held) {
        let arrived_us = held.arrival.arrived_us;
        self.held.push_back(held);
        self.decide_at
            .get_or_insert(now + Duration::from_millis(CONFIRM_MS_MAX));
        let since_us = self.held_since_us().unwrap_or(arrived_us);
        if self.is_catching_up() {
            self.release(timeline);
        } else if arrived_us - since_us >= CONFIRM_US || self.held.len() >= HELD_MAX {
            self.shift(timeline);
        }
    }

    fn is_catching_up(&self) -> bool {
        let ends = self.held.front().zip(self.held.back());
        ends.is_some_and(|(first, last)| first.late_us - last.late_us > CATCHING_UP_US)
    }

    /// The RTP clock stood still: what is held belongs where it came.
    fn shift(&mut self, timeline: &mut Timeline) {
        let least = self.held.iter().min_by_key(|held| held.late_us);
        if let Some((rtp, late_us)) = least.map(|held| (held.arrival.rtp, held.late_us)) {
            timeline.shift_audio(rtp, late_us);
        }
        self.release(timeline);
    }

    fn release(&mut self, timeline: &mut Timeline) {
        self.decide_at = None;
        while let Some(held) = self.held.pop_front() {
            self.place(timeline, held);
        }
    }

    fn place(&mut self, timeline: &mut Timeline, held: Held) {
        let Held { arrival, lost, .. } = held;
        self.placed.push_back(PlacedPacket {
            pts_us: timeline.place(Stream::Audio, arrival.rtp, arrival.arrived_us),
            packet: arrival.packet,
            lost,
        });
    }
}
