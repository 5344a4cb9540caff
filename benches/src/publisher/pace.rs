//! When a picture is taken: a camera in good light, and one in poor light.

use std::{f64::consts::TAU, time::Duration};

use str0m::media::{Frequency, MediaTime};

/// Share by which the frame rate swings around its mean.
const SWING: f64 = 0.6;

/// How the pictures of a publisher follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// One as far from the next as any.
    #[default]
    Constant,
    /// The frame rate swings between 0.6 and 2.5 times its mean once a second. Timestamps are true,
    /// and the first picture of each second stays where it is, so that the flashes keep their beeps.
    Varying,
}

impl Pace {
    /// When picture number `n` is due, from the beginning.
    pub(super) fn due(self, n: u64, fps: u32) -> Duration {
        let fps = u64::from(fps.max(1));
        match self {
            Self::Constant => Duration::from_nanos(n * 1_000_000_000 / fps),
            Self::Varying => {
                let share = (n % fps) as f64 / fps as f64;
                let warped = share + SWING * (TAU * share).sin() / TAU;
                Duration::from_secs(n / fps) + Duration::from_secs_f64(warped.clamp(0.0, 1.0))
            }
        }
    }

    /// The same on the clock of RTP.
    pub(super) fn media_time(self, n: u64, fps: u32) -> MediaTime {
        let ticks = match self {
            Self::Constant => n * 90_000 / u64::from(fps.max(1)),
            Self::Varying => (self.due(n, fps).as_micros() * 9 / 100) as u64,
        };
        MediaTime::new(ticks, Frequency::NINETY_KHZ)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_vary_and_each_second_begins_where_it_would() {
        for fps in [15, 24, 30, 60] {
            let due = |n| Pace::Varying.due(n, fps).as_secs_f64();
            let mean = 1.0 / f64::from(fps);
            let distances: Vec<f64> = (0..u64::from(fps)).map(|n| due(n + 1) - due(n)).collect();
            let shortest = distances.iter().copied().fold(f64::MAX, f64::min) / mean;
            let longest = distances.iter().copied().fold(0.0, f64::max) / mean;
            assert!((0.39..0.5).contains(&shortest), "{shortest} at {fps}");
            assert!((1.5..1.61).contains(&longest), "{longest} at {fps}");
            assert_eq!(
                Pace::Varying.due(u64::from(fps) * 7, fps),
                Duration::from_secs(7)
            );
        }
    }
}
