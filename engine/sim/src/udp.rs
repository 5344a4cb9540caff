//! The network between a client and the shard: loses RTP in bursts, delays, stalls, and jitters so
//! that datagrams overtake each other. Everything follows from a seed.

use std::time::{Duration, Instant};

use crate::random::Random;

/// Payload type of Opus in a client's offer.
const OPUS_PAYLOAD_TYPE: u8 = 111;

/// What a network does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Path {
    /// Share of RTP datagrams that are lost, in thousandths.
    pub loss_permille: u64,
    /// Mean length of a run of lost datagrams.
    pub burst: u64,
    /// Each way.
    pub delay_ms: u64,
    /// Up to so much more on the way to the shard.
    pub jitter_ms: u64,
    /// Datagrams overtake each other, as on several paths at once. Else what is late holds up what is
    /// behind it, as in a queue.
    pub reorders: bool,
    /// Keeps datagrams once for a while.
    pub stall: Option<Stall>,
    /// Sender reports do not arrive (RFC 3550, 6.4.1).
    pub loses_reports: bool,
    /// Decides which datagrams are lost, and how late each is.
    pub seed: u64,
}

/// Keeps what is sent to the shard and then delivers it at twenty times its pace; nothing is lost.
#[derive(Clone, Copy, Debug)]
pub struct Stall {
    /// When it begins, from the first datagram on.
    pub after_ms: u64,
    /// How long it lasts, in milliseconds.
    pub ms: u64,
    /// Keeps Opus alone.
    pub audio_only: bool,
}

/// A path in use.
#[derive(Debug, Default)]
pub struct Traffic {
    path: Path,
    random: Random,
    losing: bool,
    began: Option<Instant>,
    last_up: Option<Instant>,
    /// The same of Opus, while that alone stalls.
    last_audio: Option<Instant>,
    up: Vec<(Instant, Vec<u8>)>,
    down: Vec<(Instant, Vec<u8>)>,
    /// Opus packets that were lost.
    pub audio_lost: u64,
    /// Opus packets that were sent, lost ones included.
    pub audio_sent: u64,
    /// Other RTP datagrams that were lost.
    pub video_lost: u64,
}

impl Traffic {
    /// A path on which nothing was sent yet.
    pub fn on(path: Path) -> Self {
        Self {
            path,
            random: Random::new(path.seed),
            ..Self::default()
        }
    }

    /// To the shard.
    pub fn send(&mut self, now: Instant, datagram: Vec<u8>) {
        let began = *self.began.get_or_insert(now);
        if self.path.loses_reports && is_sender_report(&datagram) {
            return;
        }
        let opus = is_rtp(&datagram) && datagram[1] & 0x7f == OPUS_PAYLOAD_TYPE;
        if is_rtp(&datagram) {
            let lost = self.loses();
            self.audio_sent += u64::from(opus);
            self.audio_lost += u64::from(lost && opus);
            self.video_lost += u64::from(lost && !opus);
            if lost {
                return;
            }
        }
        let jitter_us = self.below(self.path.jitter_ms * 1_000 + 1);
        let stall = self.path.stall.filter(|stall| opus || !stall.audio_only);
        let leaves = stall.map_or(now, |stall| stall.ends(began, now));
        let at =
            leaves + Duration::from_millis(self.path.delay_ms) + Duration::from_micros(jitter_us);
        let last_up = match stall {
            Some(stall) if stall.audio_only => &mut self.last_audio,
            _ => &mut self.last_up,
        };
        let behind = last_up.filter(|_| !self.path.reorders);
        let at = behind.map_or(at, |last| at.max(last));
        *last_up = Some(at);
        self.up.push((at, datagram));
    }

    /// To the client.
    pub fn answer(&mut self, now: Instant, datagram: &[u8]) {
        let at = now + Duration::from_millis(self.path.delay_ms);
        self.down.push((at, datagram.to_vec()));
    }

    /// What has arrived at the shard by now.
    pub fn arrived(&mut self, now: Instant) -> Vec<Vec<u8>> {
        due(&mut self.up, now)
    }

    /// What has arrived at the client by now.
    pub fn answered(&mut self, now: Instant) -> Vec<Vec<u8>> {
        due(&mut self.down, now)
    }

    /// Two states (Gilbert): a run of losses has the mean length `burst`.
    fn loses(&mut self) -> bool {
        let (loss, burst) = (self.path.loss_permille, self.path.burst.max(1));
        let chance = self.below(1_000_000);
        self.losing = if self.losing {
            chance >= 1_000_000 / burst
        } else {
            chance < 1_000_000 * loss / burst / (1_000 - loss)
        };
        self.losing
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.between(0, bound - 1)
    }
}

impl Stall {
    /// When a datagram goes on that was sent at `now`.
    fn ends(self, began: Instant, now: Instant) -> Instant {
        let start = began + Duration::from_millis(self.after_ms);
        let end = start + Duration::from_millis(self.ms);
        if now < start || now >= end {
            return now;
        }
        end + (now - start) / 20
    }
}

fn due(queue: &mut Vec<(Instant, Vec<u8>)>, now: Instant) -> Vec<Vec<u8>> {
    let mut due: Vec<_> = queue.extract_if(.., |(at, _)| *at <= now).collect();
    due.sort_by_key(|(at, _)| *at);
    due.into_iter().map(|(_, datagram)| datagram).collect()
}

/// Neither STUN nor DTLS (RFC 7983), nor RTCP (RFC 5761, 4).
fn is_rtp(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, kind, ..] if !(192..=223).contains(kind))
}

/// A compound packet of RTCP begins with the report of its sender, if that sends media.
fn is_sender_report(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, 200, ..])
}
