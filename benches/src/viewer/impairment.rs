//! A bad network between server and viewer: bursts of loss, delay, and a bottleneck with a queue. Pure: the
//! caller gives the time, and the numbers come from a seed.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};

/// The bottleneck drops what would wait longer: twice the round trip of most access networks.
const QUEUE_TIME_MAX: Duration = Duration::from_millis(200);
/// Datagrams under way: a second at 100 Mbit/s. More are lost, whatever the other limits are.
const UNDER_WAY_MAX: usize = 10_000;
/// First bytes of RTP and RTCP (RFC 7983).
const MEDIA: std::ops::RangeInclusive<u8> = 128..=191;

/// How bad the network from the server to the viewer is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ImpairmentOptions {
    /// Share of media datagrams that are lost, in percent, 0 to 50. Those of ICE and DTLS are not.
    pub loss_percent: f64,
    /// Datagrams lost at once, on average; 1 when below.
    pub burst: f64,
    /// Delay of every datagram.
    pub delay: Duration,
    /// Rate of the bottleneck in bits a second; `None`: unlimited.
    pub rate_bps: Option<u64>,
    /// Seed of the loss.
    pub seed: u64,
}

/// The network of one viewer.
#[derive(Debug)]
pub(super) struct Impairment<T> {
    options: ImpairmentOptions,
    random: StdRng,
    in_burst: bool,
    under_way: VecDeque<(Instant, T)>,
    free_at: Option<Instant>,
    /// Datagrams that were lost.
    pub(super) lost: u64,
}

impl<T> Impairment<T> {
    pub(super) fn new(options: ImpairmentOptions) -> Self {
        Self {
            random: StdRng::seed_from_u64(options.seed),
            options,
            in_burst: false,
            under_way: VecDeque::new(),
            free_at: None,
            lost: 0,
        }
    }

    /// Changes the rate of the bottleneck.
    pub(super) fn set_rate(&mut self, rate_bps: Option<u64>) {
        self.options.rate_bps = rate_bps;
    }

    /// A datagram of the server reaches the network.
    pub(super) fn push(&mut self, now: Instant, first_byte: u8, bytes: usize, datagram: T) {
        let leaves = self.leaves(now, bytes);
        let is_full = self.under_way.len() >= UNDER_WAY_MAX;
        let is_lost = is_full || (MEDIA.contains(&first_byte) && self.loses());
        match leaves.filter(|_| !is_lost) {
            Some(at) => self
                .under_way
                .push_back((at + self.options.delay, datagram)),
            None => self.lost += 1,
        }
    }

    /// When the bottleneck has sent it; `None` if its queue is full.
    fn leaves(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        let Some(rate_bps) = self.options.rate_bps.filter(|rate| *rate > 0) else {
            return Some(now);
        };
        let free_at = self.free_at.map_or(now, |at| at.max(now));
        if free_at.duration_since(now) > QUEUE_TIME_MAX {
            return None;
        }
        let leaves = free_at + Duration::from_secs_f64(bytes as f64 * 8.0 / rate_bps as f64);
        self.free_at = Some(leaves);
        Some(leaves)
    }

    /// Two states, as Gilbert's model: whole bursts are lost, and nothing else.
    fn loses(&mut self) -> bool {
        let share = (self.options.loss_percent / 100.0).clamp(0.0, 0.5);
        let burst = self.options.burst.max(1.0);
        let changes = if self.in_burst {
            1.0 / burst
        } else {
            share / (burst * (1.0 - share))
        };
        if share > 0.0 && self.random.random_bool(changes.min(1.0)) {
            self.in_burst = !self.in_burst;
        }
        self.in_burst
    }

    /// The next datagram that has arrived.
    pub(super) fn pop(&mut self, now: Instant) -> Option<T> {
        let (at, _) = self.under_way.front()?;
        if *at > now {
            return None;
        }
        Some(self.under_way.pop_front()?.1)
    }

    /// When the next datagram arrives.
    pub(super) fn next_at(&self) -> Option<Instant> {
        Some(self.under_way.front()?.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTP: u8 = 0x80;
    const STUN: u8 = 0;

    #[test]
    fn loss_has_the_share_and_the_bursts_that_are_asked_for() {
        for (loss_percent, burst) in [(1.0, 1.0), (5.0, 1.0), (5.0, 4.0), (20.0, 8.0)] {
            let mut network = Impairment::new(ImpairmentOptions {
                loss_percent,
                burst,
                seed: 7,
                ..ImpairmentOptions::default()
            });
            let now = Instant::now();
            let (mut bursts, mut before) = (0, 0);
            for n in 0..100_000_u32 {
                let lost = network.lost;
                network.push(now, RTP, 1_200, n);
                bursts += u32::from(network.lost > lost && lost == before);
                before = network.lost.min(lost);
                while network.pop(now).is_some() {}
            }
            let share = network.lost as f64 / 1_000.0;
            assert!((share / loss_percent - 1.0).abs() < 0.2, "{share} %");
            assert!(bursts > 0);
        }
    }

    #[test]
    fn ice_is_never_lost_and_everything_is_delayed() {
        let mut network = Impairment::new(ImpairmentOptions {
            loss_percent: 50.0,
            delay: Duration::from_millis(40),
            ..ImpairmentOptions::default()
        });
        let now = Instant::now();
        for n in 0..100 {
            network.push(now, STUN, 100, n);
        }
        assert_eq!(network.next_at(), Some(now + Duration::from_millis(40)));
        assert_eq!(network.pop(now + Duration::from_millis(39)), None);
        let all = std::iter::from_fn(|| network.pop(now + Duration::from_millis(40)));
        assert_eq!(all.count(), 100);
    }

    #[test]
    fn a_bottleneck_passes_its_rate_and_drops_the_rest() {
        let mut network = Impairment::new(ImpairmentOptions {
            rate_bps: Some(1_000_000),
            ..ImpairmentOptions::default()
        });
        let start = Instant::now();
        let mut passed = 0;
        // 4 Mbit/s for a second.
        for n in 0..1_000 {
            let now = start + Duration::from_millis(n);
            network.push(now, RTP, 500, ());
            while network.pop(now).is_some() {
                passed += 1;
            }
        }
        assert!((245..=250).contains(&passed), "{passed}");
        assert!((650..=750).contains(&network.lost), "{}", network.lost);
    }
}
