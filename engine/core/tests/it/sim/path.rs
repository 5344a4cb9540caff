//! The network between a client and the shard: loses RTP in bursts, delays, and jitters so that
//! datagrams overtake each other. Everything follows from a seed.

use std::time::{Duration, Instant};

/// Payload type of Opus in a client's offer.
const OPUS_PAYLOAD_TYPE: u8 = 111;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Path {
    /// Share of RTP datagrams that are lost, in thousandths.
    pub(crate) loss_permille: u64,
    /// Mean length of a run of lost datagrams.
    pub(crate) burst: u64,
    /// Each way.
    pub(crate) delay_ms: u64,
    /// Up to so much more on the way to the shard.
    pub(crate) jitter_ms: u64,
    /// Datagrams overtake each other, as on several paths at once. Else what is late holds up what is
    /// behind it, as in a queue.
    pub(crate) reorders: bool,
    pub(crate) seed: u64,
}

/// A path in use.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    path: Path,
    random: u64,
    losing: bool,
    last_up: Option<Instant>,
    up: Vec<(Instant, Vec<u8>)>,
    down: Vec<(Instant, Vec<u8>)>,
    /// Opus packets that were lost, and sent.
    pub(crate) audio_lost: u64,
    pub(crate) audio_sent: u64,
    pub(crate) video_lost: u64,
}

impl Traffic {
    pub(crate) fn on(path: Path) -> Self {
        Self {
            path,
            random: path.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            ..Self::default()
        }
    }

    /// To the shard.
    pub(crate) fn send(&mut self, now: Instant, datagram: Vec<u8>) {
        if is_rtp(&datagram) {
            let opus = datagram[1] & 0x7f == OPUS_PAYLOAD_TYPE;
            let lost = self.loses();
            self.audio_sent += u64::from(opus);
            self.audio_lost += u64::from(lost && opus);
            self.video_lost += u64::from(lost && !opus);
            if lost {
                return;
            }
        }
        let jitter_us = self.below(self.path.jitter_ms * 1_000 + 1);
        let at = now + Duration::from_millis(self.path.delay_ms) + Duration::from_micros(jitter_us);
        let behind = self.last_up.filter(|_| !self.path.reorders);
        let at = behind.map_or(at, |last| at.max(last));
        self.last_up = Some(at);
        self.up.push((at, datagram));
    }

    /// To the client.
    pub(crate) fn answer(&mut self, now: Instant, datagram: &[u8]) {
        let at = now + Duration::from_millis(self.path.delay_ms);
        self.down.push((at, datagram.to_vec()));
    }

    pub(crate) fn arrived(&mut self, now: Instant) -> Vec<Vec<u8>> {
        due(&mut self.up, now)
    }

    pub(crate) fn answered(&mut self, now: Instant) -> Vec<Vec<u8>> {
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
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
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
