//! When to look into the socket again after it was drained.

use std::time::Instant;

use super::receive::Look;
use crate::limits::LINGER;

/// Where the share of rewarded pauses is kept as a fraction of this.
const WHOLE: u32 = 1 << 16;

/// Each new pause counts for so much of the share.
const WEIGHT: u32 = 32;

/// Above this share pauses are made, below the other they are not. They pay where more than one
/// datagram comes within one on average; with datagrams that come independently of each other, that is
/// a share of 1 - 1/e, 63 %. Around it both ways cost the same.
const PAYS: u32 = WHOLE / 100 * 65;
const PAYS_NOT: u32 = WHOLE / 100 * 55;

/// Decides whether to wait for the socket, so that each datagram is a wake, or to pause first, so that
/// those gather which come meanwhile.
///
/// A pause is rewarded when something comes within it. It is known of pauses that are not made too: what
/// wakes the shard says how long it took to come. So a single publisher, whose packets come in bursts
/// that one drain takes, is waited for; ten publishers, of which some packet comes every millisecond,
/// are paused for; and so is one whose browser spreads the packets of a picture.
#[derive(Debug, Default)]
pub(super) struct Linger {
    /// Of pauses that were rewarded, as a fraction of [`WHOLE`].
    rewarded: u32,
    pauses: bool,
    before: Before,
}

/// What came before a drain.
#[derive(Clone, Copy, Debug, Default)]
enum Before {
    /// The shard waited for the socket: since then, if no pause was made before.
    Wait(Option<Instant>),
    Pause,
    /// Drains that have all found something, one behind the other, since then.
    Burst(Instant),
    #[default]
    Nothing,
}

impl Linger {
    /// To be called after each drain that began at `began`: when the next one is to begin.
    pub(super) fn after_drain(&mut self, began: Instant, found: bool) -> Look {
        let is_soon = |since: Instant| began.saturating_duration_since(since) < LINGER;
        match self.before {
            Before::Pause => self.count(found),
            Before::Wait(Some(since)) if found => self.count(is_soon(since)),
            // It does not end, so that something comes at any time.
            Before::Burst(since) if !is_soon(since) => self.count(true),
            _ => {}
        }
        if !found {
            self.before = match self.before {
                Before::Pause => Before::Wait(None),
                wait @ Before::Wait(_) => wait,
                Before::Burst(_) | Before::Nothing => Before::Wait(Some(began)),
            };
            return Look::Readable;
        }
        let burst = match self.before {
            Before::Burst(since) => since,
            _ => began,
        };
        if self.pauses || !is_soon(burst) {
            self.before = Before::Pause;
            return Look::At(Instant::now() + LINGER);
        }
        self.before = Before::Burst(burst);
        // The rest of a burst comes while its beginning is handled.
        Look::Next
    }

    fn count(&mut self, rewarded: bool) {
        let gain = if rewarded { WHOLE / WEIGHT } else { 0 };
        self.rewarded = self.rewarded - self.rewarded / WEIGHT + gain;
        self.pauses = self.rewarded > if self.pauses { PAYS_NOT } else { PAYS };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Lets datagrams come at these distances for a while, drains as it is told to, and returns the
    /// looks that it took per datagram, burst drains left out.
    fn wakes(distance_us: impl Fn(usize) -> u64) -> f64 {
        let mut linger = Linger::default();
        let start = Instant::now();
        let (mut now, mut comes, mut datagrams, mut wakes) = (start, start, 0_usize, 0_usize);
        while datagrams < 5_000 {
            let mut found = false;
            while comes <= now {
                datagrams += 1;
                found = true;
                comes += Duration::from_micros(distance_us(datagrams));
            }
            match linger.after_drain(now, found) {
                Look::Next => now += Duration::from_micros(20),
                Look::Readable => {
                    now = now.max(comes);
                    wakes += usize::from(datagrams > 1_000);
                }
                Look::At(_) => {
                    now += LINGER;
                    wakes += usize::from(datagrams > 1_000);
                }
            }
        }
        wakes as f64 / (datagrams - 1_000) as f64
    }

    #[test]
    fn a_burst_is_one_wake() {
        // Ten packets of a picture, as a sender without a pacer emits them.
        let each = wakes(|n| if n.is_multiple_of(10) { 33_000 } else { 15 });
        assert!(each < 0.11, "{each} wakes for each datagram");
    }

    #[test]
    fn lone_datagrams_are_one_wake_each() {
        let each = wakes(|_| 20_000);
        assert!(
            (0.99..1.01).contains(&each),
            "{each} wakes for each datagram"
        );
    }

    #[test]
    fn a_spread_picture_is_paused_for() {
        let each = wakes(|n| if n.is_multiple_of(20) { 23_500 } else { 500 });
        assert!(each < 0.65, "{each} wakes for each datagram");
    }

    #[test]
    fn many_publishers_are_paused_for() {
        // Distances of 50 to 450 µs, in no order.
        let each = wakes(|n| 50 + (n as u64 * 7_919) % 401);
        assert!(each < 0.27, "{each} wakes for each datagram");
    }

    #[test]
    fn a_flood_is_drained_with_pauses() {
        let each = wakes(|_| 5);
        assert!(each < 0.01, "{each} wakes for each datagram");
    }
}
