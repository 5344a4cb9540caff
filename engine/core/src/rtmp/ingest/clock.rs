//! From the timestamps of an encoder to the media clock of its shard.
//!
//! RTMP counts milliseconds modulo 2^32 from wherever the encoder likes (RTMP specification 5.3.1.3), and one
//! clock is behind audio and video. The first message is placed at its arrival and all others at their
//! distance from it, so what the network delays and what the encoder bunches up moves nothing.
//!
//! Two clocks drift. Where the messages of some seconds all come too early or too late, the place is moved by
//! two milliseconds a second, which no player notices. A timestamp that no clock could have reached is a jump:
//! it is placed at its arrival again.

/// A step back of one kind beyond this is a jump, in milliseconds. Encoders order messages by time, and what
/// they mend of their clocks is less.
const BACK_MS_MAX: i64 = 1_000;
/// A message that is placed further before or behind its arrival is a jump, in microseconds. A network that
/// stalls for longer costs the connection.
const EARLY_US_MAX: i64 = 5_000_000;
const LATE_US_MAX: i64 = 20_000_000;
/// Encoders that write three bytes of a timestamp begin at 0 again after 2^24 ms, in four hours and forty
/// minutes.
const SHORT_WRAP_MS: i64 = 1 << 24;
/// Drift is measured over so long, in microseconds: longer than the buffers of encoders.
const WINDOW_US: i64 = 10_000_000;
/// What arrivals may be off before the place is moved, in microseconds.
const DRIFT_US: i64 = 100_000;
/// By how much it is moved at a time, and how often at most, in microseconds.
const SLEW_US: i64 = 1_000;
const SLEW_EVERY_US: i64 = 500_000;

/// A kind of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Track {
    Video,
    Audio,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct EncoderClock {
    /// The timestamp of the last message, as it came and without wraps.
    last: Option<(u32, i64)>,
    /// Of each kind.
    last_video_ms: Option<i64>,
    last_audio_ms: Option<i64>,
    /// Added to the timestamps.
    offset_us: i64,
    drift: Drift,
}

/// The least lateness of the messages of a window, which the network and the encoder did not cause.
#[derive(Clone, Copy, Debug, Default)]
struct Drift {
    window_from_us: Option<i64>,
    least_us: Option<i64>,
    /// Of the last whole window.
    off_us: i64,
    slewed_at_us: i64,
}

impl EncoderClock {
    /// When the message with this timestamp belongs, in microseconds on the media clock. It has arrived at
    /// `now_us`.
    pub(crate) fn place(&mut self, track: Track, timestamp_ms: u32, now_us: i64) -> i64 {
        let ms = self.unwrapped(timestamp_ms);
        let last_ms = match track {
            Track::Video => &mut self.last_video_ms,
            Track::Audio => &mut self.last_audio_ms,
        };
        let stepped_back = last_ms.is_some_and(|last_ms| ms < last_ms - BACK_MS_MAX);
        *last_ms = Some(ms);
        let late_us = now_us - (ms * 1_000 + self.offset_us);
        let is_first = self.drift.window_from_us.is_none();
        if is_first || stepped_back || !(-EARLY_US_MAX..=LATE_US_MAX).contains(&late_us) {
            self.offset_us += late_us;
            self.drift = Drift {
                window_from_us: Some(now_us),
                slewed_at_us: now_us,
                ..Drift::default()
            };
            return now_us;
        }
        self.offset_us += self.drift.slew_us(late_us, now_us);
        ms * 1_000 + self.offset_us
    }

    /// What comes from now on is placed so much later, since its place is taken.
    pub(crate) fn lead(&mut self, by_us: i64) {
        self.offset_us += by_us;
        self.drift.least_us = None;
    }

    /// Timestamps that go on over 2^32, and over 2^24.
    fn unwrapped(&mut self, timestamp_ms: u32) -> i64 {
        let Some((last, last_ms)) = self.last else {
            self.last = Some((timestamp_ms, i64::from(timestamp_ms)));
            return i64::from(timestamp_ms);
        };
        let mut step_ms = i64::from(timestamp_ms.wrapping_sub(last).cast_signed());
        let short_ms = step_ms + SHORT_WRAP_MS;
        if (-BACK_MS_MAX..=BACK_MS_MAX).contains(&short_ms) && i64::from(last) < SHORT_WRAP_MS {
            step_ms = short_ms;
        }
        let back_ms = step_ms - SHORT_WRAP_MS;
        if (-BACK_MS_MAX..=BACK_MS_MAX).contains(&back_ms) && last < 1_000 {
            // Audio of before the wrap behind video of after it.
            step_ms = back_ms;
        }
        let ms = last_ms + step_ms;
        self.last = Some((timestamp_ms, ms));
        ms
    }
}

impl Drift {
    /// By how much the place is to be moved now.
    fn slew_us(&mut self, late_us: i64, now_us: i64) -> i64 {
        self.least_us = Some(
            self.least_us
                .map_or(late_us, |least_us| least_us.min(late_us)),
        );
        if self
            .window_from_us
            .is_none_or(|from_us| now_us - from_us >= WINDOW_US)
        {
            self.window_from_us = Some(now_us);
            self.off_us = self.least_us.take().unwrap_or(0);
        }
        if self.off_us.abs() <= DRIFT_US || now_us - self.slewed_at_us < SLEW_EVERY_US {
            return 0;
        }
        self.slewed_at_us = now_us;
        let by_us = SLEW_US * self.off_us.signum();
        self.off_us -= by_us;
        by_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Places a frame of each 40 ms from timestamp `start` on; times relative to the first.
    fn run(clock: &mut EncoderClock, start: u32, mask: u32) -> Vec<i64> {
        let mut places = (0..100_u32).map(|n| {
            let now_us = 5_000_000 + i64::from(n) * 40_000;
            let timestamp_ms = start.wrapping_add(n * 40) & mask;
            clock.place(Track::Video, timestamp_ms, now_us)
        });
        let first = places.next().unwrap();
        std::iter::once(0)
            .chain(places.map(|place| place - first))
            .collect()
    }

    #[test]
    fn timestamps_may_begin_anywhere_and_wrap_at_32_and_at_24_bits() {
        let even: Vec<i64> = (0..100).map(|n| n * 40_000).collect();
        for (start, mask) in [
            (0, u32::MAX),
            (777_777, u32::MAX),
            (u32::MAX - 1_000, u32::MAX),
            ((1 << 31) - 1_000, u32::MAX),
            ((1 << 24) - 1_000, u32::MAX),
            ((1 << 24) - 1_000, (1 << 24) - 1),
        ] {
            let mut clock = EncoderClock::default();
            assert_eq!(run(&mut clock, start, mask), even, "{start} {mask:x}");
        }
    }

    #[test]
    fn what_the_network_delays_keeps_its_place() {
        let mut clock = EncoderClock::default();
        assert_eq!(clock.place(Track::Video, 0, 1_000_000), 1_000_000);
        // A stall of three seconds, and then all of it at once; audio comes a little out of order.
        for (track, ms) in [
            (Track::Audio, 20),
            (Track::Video, 40),
            (Track::Audio, 41),
            (Track::Video, 80),
            (Track::Audio, 64),
        ] {
            let place = clock.place(track, ms, 4_000_000);
            assert_eq!(place, 1_000_000 + i64::from(ms) * 1_000);
        }
    }

    #[test]
    fn jumps_and_steps_back_are_placed_at_their_arrival() {
        for (timestamp_ms, jumps) in [
            (10_040, false),
            (9_500, false),
            (16_000, true),
            (8_000, true),
            (0, true),
            (3_000_000_000, true),
        ] {
            let mut clock = EncoderClock::default();
            clock.place(Track::Video, 10_000, 1_000_000);
            let place = clock.place(Track::Video, timestamp_ms, 1_040_000);
            let kept = 1_000_000 + (i64::from(timestamp_ms) - 10_000) * 1_000;
            assert_eq!(
                place,
                if jumps { 1_040_000 } else { kept },
                "{timestamp_ms}"
            );
            let next = clock.place(Track::Video, timestamp_ms + 40, 1_080_000);
            assert_eq!(next, place + 40_000);
        }
    }

    #[test]
    fn drift_is_followed_without_a_step() {
        for permille in [-1, 1] {
            let mut clock = EncoderClock::default();
            let mut last_us = 0;
            for n in 0..90_000_i64 {
                let now_us = 1_000_000 + n * 40_000 + n * 40 * permille;
                let place = clock.place(Track::Video, u32::try_from(n * 40).unwrap(), now_us);
                assert!(n == 0 || (38_000..=42_000).contains(&(place - last_us)));
                assert!((place - now_us).abs() < 200_000, "{n}: {}", place - now_us);
                last_us = place;
            }
        }
    }
}
