//! How fast a viewer is sent its video: what is there at once is spread, and no faster than its network carries, where
//! that is known.

use std::time::{Duration, Instant};

use crate::limits::{
    VIEWER_BURST_BYTES, VIEWER_BURST_MS, VIEWER_CATCH_UP_BPS_MIN, VIEWER_LIVE_BPS,
    VIEWER_PACE_STEP_MS,
};

/// How fast a viewer is sent what is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    bits_per_s: u64,
    /// What goes out at once.
    burst_bytes: i64,
}

impl Pace {
    /// The pace of what was there before the viewer, or of what has just come.
    pub(super) fn of(is_past: bool, video_bps: u64, carried_bps: Option<u64>) -> Self {
        let catch_up = (video_bps.saturating_mul(5) / 2).max(VIEWER_CATCH_UP_BPS_MIN);
        let usual = match is_past {
            true => catch_up,
            false => catch_up.max(VIEWER_LIVE_BPS),
        };
        let most = i64::from(VIEWER_BURST_BYTES);
        let Some(carried_bps) = carried_bps.filter(|bps| *bps < usual) else {
            return Self {
                bits_per_s: usual,
                burst_bytes: most,
            };
        };
        // Slower than the video would not end.
        let bits_per_s = carried_bps.max(video_bps.saturating_mul(5) / 4);
        let burst_bytes = i64::try_from(bits_per_s / 8 * VIEWER_BURST_MS / 1_000);
        Self {
            bits_per_s,
            burst_bytes: burst_bytes.unwrap_or(most).min(most),
        }
    }
}

/// Spreads what is sent at once: a keyframe, and what is caught up with.
#[derive(Debug)]
pub(super) struct Pacer {
    /// Bytes that may be sent now; below 0 for the last packet.
    credit: i64,
    at: Instant,
}

impl Pacer {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            credit: VIEWER_BURST_BYTES.into(),
            at: now,
        }
    }

    /// Sends `bytes` now, or says when.
    pub(super) fn take(&mut self, now: Instant, bytes: usize, pace: Pace) -> Result<(), Instant> {
        let bytes_per_s = pace.bits_per_s / 8;
        let since_us = now.saturating_duration_since(self.at).as_micros();
        let since_us = u64::try_from(since_us).unwrap_or(u64::MAX);
        let earned = since_us.saturating_mul(bytes_per_s) / 1_000_000;
        if earned > 0 {
            let earned = i64::try_from(earned).unwrap_or(i64::MAX);
            self.credit = self.credit.saturating_add(earned);
            self.at = now;
        }
        self.credit = self.credit.min(pace.burst_bytes);
        if self.credit <= 0 {
            return Err(now + Duration::from_millis(VIEWER_PACE_STEP_MS));
        }
        self.credit -= i64::try_from(bytes).unwrap_or(i64::MAX);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long so many packets of 1,000 bytes take, and how many of them go out at once.
    fn spread(pace: Pace, packets: u32) -> (Duration, u32) {
        let start = Instant::now();
        let (mut pacer, mut now, mut at_once) = (Pacer::new(start), start, 0);
        for _ in 0..packets {
            while let Err(at) = pacer.take(now, 1_000, pace) {
                now = at;
            }
            at_once += u32::from(now == start);
        }
        (now - start, at_once)
    }

    #[test]
    fn a_keyframe_takes_no_more_of_a_slow_network_than_that_carries() {
        let (fast, at_once) = spread(Pace::of(false, 800_000, None), 30);
        assert_eq!((fast, at_once), (Duration::ZERO, 30));
        let (slow, at_once) = spread(Pace::of(false, 800_000, Some(1_200_000)), 30);
        assert!((120..220).contains(&slow.as_millis()), "{slow:?}");
        assert!(at_once < 10, "{at_once} packets at once");
    }

    #[test]
    fn the_pace_is_above_the_bit_rate_of_the_video_whatever_the_network_is() {
        let pace = Pace::of(false, 800_000, Some(100_000));
        assert_eq!(pace.bits_per_s, 1_000_000);
        let rich = Pace::of(false, 800_000, Some(u64::MAX));
        assert_eq!(rich.bits_per_s, VIEWER_LIVE_BPS);
    }
}
