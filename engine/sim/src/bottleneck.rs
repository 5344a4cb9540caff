//! A way with a bottleneck: a rate, a queue before it that overflows, a delay behind it, and bursts of loss.
//! Everything follows from a seed.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::random::Random;

/// What the way does.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Bits a second.
    pub rate_bps: u64,
    /// What would wait longer is lost.
    pub queue: Duration,
    /// Of each datagram, behind the bottleneck.
    pub delay: Duration,
    /// Share of datagrams that are lost, in thousandths.
    pub loss_permille: u64,
    /// Mean length of a run of lost datagrams.
    pub burst: u64,
}

/// A way in use.
#[derive(Debug)]
pub struct Bottleneck<T> {
    /// May be changed at any time.
    pub way: Way,
    random: Random,
    is_losing: bool,
    free_at: Option<Instant>,
    under_way: VecDeque<(Instant, T)>,
}

impl<T> Bottleneck<T> {
    /// A way on which nothing was sent yet.
    pub fn new(way: Way, seed: u64) -> Self {
        Self {
            way,
            random: Random::new(seed),
            is_losing: false,
            free_at: None,
            under_way: VecDeque::new(),
        }
    }

    /// When a datagram of so many bytes arrives; `None` if it is lost.
    pub fn carry(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        let free_at = self.free_at.map_or(now, |at| at.max(now));
        if free_at - now > self.way.queue {
            return None;
        }
        let takes = Duration::from_secs_f64(bytes as f64 * 8.0 / self.way.rate_bps as f64);
        self.free_at = Some(free_at + takes);
        (!self.loses()).then_some(free_at + takes + self.way.delay)
    }

    /// Sends a datagram.
    pub fn push(&mut self, now: Instant, bytes: usize, datagram: T) {
        if let Some(at) = self.carry(now, bytes) {
            self.under_way.push_back((at, datagram));
        }
    }

    /// The next datagram that has arrived.
    pub fn pop(&mut self, now: Instant) -> Option<T> {
        let (at, _) = self.under_way.front()?;
        if *at > now {
            return None;
        }
        Some(self.under_way.pop_front()?.1)
    }

    /// Two states (Gilbert): a run of losses has the mean length `burst`.
    fn loses(&mut self) -> bool {
        let (loss, burst) = (self.way.loss_permille, self.way.burst.max(1));
        let chance = self.random.between(0, 999_999);
        self.is_losing = if self.is_losing {
            chance >= 1_000_000 / burst
        } else {
            chance < 1_000_000 * loss / burst / (1_000 - loss)
        };
        self.is_losing
    }
}
