//! Spacing of video frames: constant, or varying like that of a camera in poor light.

use std::{f64::consts::TAU, time::Duration};

use str0m::media::{Frequency, MediaTime};

/// Share of the mean distance by which the distance of frames varies.
const SWING: f64 = 0.6;

/// Spacing of a publisher's video frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// All frames have the same distance.
    #[default]
    Constant,
    /// The frame rate varies between 0.6 and 2.5 times its mean, with a period of one second.
    /// Timestamps follow it. The first frame of each second keeps its time, so that flashes and
    /// beeps stay together.
    Varying,
}

impl Pace {
    /// When frame number `n` is due, from the beginning of the session.
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

    /// The same on the RTP clock of 90 kHz.
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
