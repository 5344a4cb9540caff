//! Audio that waits for the next picture, so that both go out in one write.
//!
//! ```text
//!  pictures   │                  expected ┆│                           ┆
//!  audio         a        a        a       │     a        a       a
//!  written    │                            │aaa                        │aaa
//!                └────────── waits ────────┘
//! ```
//!
//! Each write is a system call and a packet of its own for each destination. Audio waits only where no
//! rendition is made and the pace of the pictures says that one is about to come, and no longer than 45 ms: if it does not come, a
//! deadline writes the audio alone. Both have their time stamps, so waiting moves neither. A server of RTMP keeps seconds; who
//! watches over WebRTC hears what waits later, so viewers are sent audio at once unless a picture is expected within 12 ms.

use std::time::{Duration, Instant};

/// Audio waits at most for so long: for the next of 25 pictures a second, and 5 ms that it may be late.
const WAIT: Duration = Duration::from_millis(45);
/// For viewers at most for so long: less than one Opus packet.
const WAIT_OF_VIEWERS: Duration = Duration::from_millis(12);
/// A picture is expected for so long after it should have come.
const LATE: Duration = Duration::from_millis(4);
/// A longer pause is none of the pace of pictures.
const STEP_US_MAX: i64 = 250_000;
/// Pictures over which the pace is a mean.
const MEAN_OF: i64 = 16;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct PictureWait {
    picture_at: Option<Instant>,
    /// Mean distance of pictures; 0 until two have come.
    step_us: i64,
    until: Option<Instant>,
}

impl PictureWait {
    /// A picture of the publisher has come.
    pub(crate) fn picture(&mut self, now: Instant) {
        let Some(before) = self.picture_at.replace(now) else {
            return;
        };
        let step_us = now.saturating_duration_since(before).as_micros();
        match i64::try_from(step_us) {
            Ok(step_us) if step_us < STEP_US_MAX => {
                let from_us = if self.step_us == 0 {
                    step_us
                } else {
                    self.step_us
                };
                self.step_us = from_us + (step_us - from_us) / MEAN_OF;
            }
            _ => self.step_us = 0,
        }
    }

    /// Audio is there: whether it waits.
    pub(crate) fn waits(&mut self, now: Instant) -> bool {
        if self.until.is_none() && self.is_expected(now, WAIT) {
            self.until = Some(now + WAIT);
        }
        self.until.is_some_and(|until| now < until)
    }

    /// How long viewers' audio waits for the picture.
    pub(crate) fn of_viewers(&self, now: Instant) -> Duration {
        match self.is_expected(now, WAIT_OF_VIEWERS) {
            true => WAIT_OF_VIEWERS,
            false => Duration::ZERO,
        }
    }

    fn is_expected(&self, now: Instant, within: Duration) -> bool {
        let Some(at) = self.picture_at.filter(|_| self.step_us > 0) else {
            return false;
        };
        let expected = at + Duration::from_micros(self.step_us.unsigned_abs());
        expected <= now + within && now <= expected + LATE
    }

    /// Everything that was in the rings is written.
    pub(crate) fn over(&mut self) {
        self.until = None;
    }

    /// Until when audio waits at the latest.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Pictures every 33 ms, the last one at the time that is given back.
    fn pictures() -> (PictureWait, Instant) {
        let t0 = Instant::now();
        let mut wait = PictureWait::default();
        for n in 0..30 {
            wait.picture(t0 + n * ms(33));
        }
        (wait, t0 + 29 * ms(33))
    }

    #[test]
    fn audio_waits_for_the_next_picture_and_no_longer_than_45_ms() {
        for (since_ms, waits, near) in [
            (1, true, false),
            (20, true, false),
            (21, true, true),
            (36, true, true),
            (38, false, false),
        ] {
            let (mut wait, last) = pictures();
            let now = last + ms(since_ms);
            assert_eq!(wait.waits(now), waits, "{since_ms} ms behind a picture");
            let of_viewers = if near {
                WAIT_OF_VIEWERS
            } else {
                Duration::ZERO
            };
            assert_eq!(wait.of_viewers(now), of_viewers, "{since_ms} ms behind it");
            assert_eq!(wait.until().is_some(), waits);
            assert!(!waits || !wait.waits(now + WAIT), "audio that comes then");
        }
    }

    #[test]
    fn audio_that_comes_meanwhile_does_not_lengthen_the_wait() {
        let (mut wait, last) = pictures();
        let now = last + ms(5);
        assert!(wait.waits(now) && wait.waits(now + ms(20)));
        assert_eq!(wait.until(), Some(now + WAIT));
        wait.over();
        assert_eq!(wait.until(), None);
    }

    #[test]
    fn of_slow_pictures_only_the_next_45_ms_are_waited_for() {
        let t0 = Instant::now();
        let mut wait = PictureWait::default();
        for n in 0..30 {
            wait.picture(t0 + n * ms(100));
        }
        let last = t0 + 29 * ms(100);
        assert!(!wait.waits(last + ms(54)) && wait.waits(last + ms(56)));
    }

    #[test]
    fn without_pictures_nothing_waits() {
        let now = Instant::now();
        let mut wait = PictureWait::default();
        assert!(!wait.waits(now));
        wait.picture(now);
        assert!(!wait.waits(now + ms(33)));
        // Pictures have stopped.
        let (mut wait, last) = pictures();
        assert!((40..2_000).all(|since| !wait.waits(last + ms(since))));
        // The first after a pause says nothing of the next.
        wait.picture(last + ms(2_000));
        assert!((0..100).all(|since| !wait.waits(last + ms(2_000 + since))));
    }
}
