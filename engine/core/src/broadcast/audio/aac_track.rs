//! An encoder's own AAC as units: passed on as it came, with frames of silence where it is absent.
//!
//! ```text
//!  encoder   frame │ frame │               │ frame     a frame is 21 or 23 ms
//!  units     frame │ frame │ silence × n   │ frame
//! ```
//!
//! RTMP brings everything in order, so a gap is what the encoder left out: it lost the time, or has gone.
//! Silence is coded as the encoder's audio is, so destinations see no other sequence header.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{
    broadcast::ingest::decode_clock::STEP_US_MIN,
    broadcast::ring::{Kind, Unit},
    codec::aac::AacConfig,
};

/// A frame that is so much behind the one before is next to it all the same, in frames: encoders round and
/// bunch.
const GAP_FRAMES_MIN: i64 = 3;
/// With video running, audio is taken as absent when it is so far behind, in microseconds. Encoders interleave
/// within a second.
const ABSENT_US: i64 = 1_500_000;
/// Once it is absent, and when the encoder is gone, silence stays so far behind, so that audio that returns
/// is not cut.
const SILENCE_BEHIND_US: i64 = 100_000;
/// Most that is filled at one time; a larger gap is jumped over.
const FILL_US_MAX: i64 = 2_000_000;
/// Frames whose place is taken by silence are left out: they are the rest of a stall. When so much in a row is left
/// out, in microseconds, the encoder's audio is as late as that behind its video, and is waited for from then on.
const LEFT_OUT_US_MAX: i64 = 2_000_000;
/// The longest wait for late audio, in microseconds.
const PATIENCE_US_MAX: i64 = 10_000_000;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct AacTrack {
    config: AacConfig,
    /// Behind the last unit.
    end_us: Option<i64>,
    last_us: Option<i64>,
    /// The last units were silence.
    absent: bool,
    /// The encoder is gone.
    gone: bool,
    /// What was left out in a row for being late, in microseconds.
    left_out_us: i64,
    /// Audio is taken as absent when it is so far behind the video.
    patience_us: i64,
    frames_filled: u64,
    /// Placed, and not in the rings yet.
    units: VecDeque<Unit>,
}

impl AacTrack {
    /// Of an encoder whose audio is not known yet.
    pub(crate) fn new() -> Self {
        Self {
            config: AacConfig::OURS,
            end_us: None,
            last_us: None,
            absent: false,
            gone: false,
            left_out_us: 0,
            patience_us: ABSENT_US,
            frames_filled: 0,
            units: VecDeque::new(),
        }
    }

    /// What its units are.
    pub(crate) fn config(&self) -> AacConfig {
        self.config
    }

    /// What follows is this.
    pub(crate) fn set_config(&mut self, config: AacConfig) {
        if self.last_us.is_none() {
            self.config = config;
        }
    }

    /// Samples at 48 kHz that were filled with silence.
    pub(crate) fn samples_filled(&self) -> u64 {
        self.frames_filled * 1_024
    }

    /// Whether an encoder is there.
    pub(crate) fn set_gone(&mut self, gone: bool) {
        self.gone = gone;
    }

    /// The next unit for the rings.
    pub(crate) fn take(&mut self) -> Option<Unit> {
        self.units.pop_front()
    }

    /// A frame of the encoder that belongs at `pts_us`.
    pub(crate) fn frame(&mut self, config: AacConfig, pts_us: i64, frame: Bytes) {
        let Some(end_us) = self.end_us.filter(|_| self.config == config) else {
            self.config = config;
            self.absent = false;
            let pts_us = self.behind_last(pts_us);
            return self.push(pts_us, frame);
        };
        let late_us = self.last_us.map_or(0, |last_us| last_us - pts_us);
        if self.absent && late_us > 0 {
            // Silence was heard in its place.
            self.left_out_us += config.frames_us(1);
            if self.left_out_us <= LEFT_OUT_US_MAX {
                return;
            }
            self.patience_us = (late_us + ABSENT_US).min(PATIENCE_US_MAX);
        }
        let gap_us = pts_us - end_us;
        if gap_us > config.frames_us(GAP_FRAMES_MIN) {
            self.fill_up_to(pts_us + config.frames_us(1) / 2);
        }
        self.left_out_us = 0;
        self.absent = false;
        let pts_us = self.behind_last(pts_us);
        self.push(pts_us, frame);
    }

    /// The video, or the clock while nothing comes, has come to `until_us`: without audio for a while,
    /// silence takes its place.
    pub(crate) fn advance(&mut self, until_us: i64) {
        let Some(end_us) = self.end_us else {
            // Silence begins with the video, unless audio comes within the time for that.
            self.end_us = Some(until_us);
            return;
        };
        let behind_us = match self.gone {
            true => SILENCE_BEHIND_US,
            false => SILENCE_BEHIND_US + self.patience_us - ABSENT_US,
        };
        let enough_us = match self.absent || self.gone {
            true => behind_us,
            false => self.patience_us,
        };
        if until_us - end_us > enough_us {
            self.fill_up_to(until_us - behind_us);
            self.absent = true;
        }
    }

    fn fill_up_to(&mut self, until_us: i64) {
        let Some(end_us) = self.end_us else {
            return;
        };
        let from_us = end_us.max(until_us - FILL_US_MAX);
        let frames = (1..).take_while(|n| from_us + self.config.frames_us(*n) <= until_us);
        for n in 0..frames.count() as i64 {
            let pts_us = self.behind_last(from_us + self.config.frames_us(n));
            self.push(pts_us, self.config.silence());
            self.frames_filled += 1;
        }
    }

    /// Time rises from unit to unit.
    fn behind_last(&self, pts_us: i64) -> i64 {
        let last_us = self.last_us;
        last_us.map_or(pts_us, |last_us| pts_us.max(last_us + STEP_US_MIN))
    }

    fn push(&mut self, pts_us: i64, payload: Bytes) {
        let config = self.config;
        self.last_us = Some(pts_us);
        self.end_us = Some(pts_us + config.frames_us(1));
        self.units.push_back(Unit {
            kind: Kind::Audio { config },
            pts_us,
            dts_us: pts_us,
            payload,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Bytes = Bytes::from_static(b"frame");

    fn config() -> AacConfig {
        AacConfig::read(&[0x12, 0x10]).unwrap()
    }

    /// Time in milliseconds, and whether it is silence, of what came out.
    fn taken(track: &mut AacTrack) -> Vec<(i64, bool)> {
        let units = std::iter::from_fn(|| track.take());
        let units = units.map(|unit| {
            assert!(matches!(unit.kind, Kind::Audio { config: it } if it == config()));
            (unit.pts_us / 1_000, unit.payload != FRAME)
        });
        units.collect()
    }

    #[test]
    fn frames_keep_the_times_that_the_encoder_gave_them() {
        let mut track = AacTrack::new();
        for ms in [0, 23, 46, 70, 120, 121, 121, 162] {
            track.frame(config(), ms * 1_000, FRAME);
            track.advance(ms * 1_000 + 900_000);
        }
        let times: Vec<i64> = taken(&mut track).iter().map(|(ms, _)| *ms).collect();
        assert_eq!(times, [0, 23, 46, 70, 120, 121, 122, 162]);
        assert_eq!(track.samples_filled(), 0);
    }

    #[test]
    fn a_gap_is_filled_with_silence_in_the_same_form() {
        let mut track = AacTrack::new();
        track.frame(config(), 0, FRAME);
        track.frame(config(), 1_000_000, FRAME);
        let units = taken(&mut track);
        assert_eq!(units.first(), Some(&(0, false)));
        assert_eq!(units.last(), Some(&(1_000, false)));
        let steps = units.windows(2).map(|pair| pair[1].0 - pair[0].0);
        assert!(steps.clone().all(|ms| (11..=36).contains(&ms)), "{units:?}");
        assert!(units[1..units.len() - 1].iter().all(|(_, silent)| *silent));
    }

    #[test]
    fn an_encoder_that_is_gone_is_silent_up_to_now_and_one_that_returns_goes_on() {
        let mut track = AacTrack::new();
        track.frame(config(), 0, FRAME);
        track.set_gone(true);
        for ms in (0..10_000).step_by(100) {
            track.advance(ms * 1_000);
        }
        let units = taken(&mut track);
        assert!((9_700..=9_900).contains(&units.last().unwrap().0));
        assert!(
            units
                .windows(2)
                .all(|pair| (20..=25).contains(&(pair[1].0 - pair[0].0)))
        );
        track.set_gone(false);
        track.frame(config(), 9_700_000, FRAME);
        assert_eq!(taken(&mut track), [], "silence was heard in its place");
        track.frame(config(), 10_000_000, FRAME);
        assert_eq!(taken(&mut track).last(), Some(&(10_000, false)));
    }

    #[test]
    fn audio_that_is_always_late_is_waited_for_and_heard() {
        let mut track = AacTrack::new();
        track.set_config(config());
        let mut silent = 0;
        for n in 0..1_000 {
            let at_us = config().frames_us(n);
            track.advance(at_us);
            if at_us >= 3_000_000 {
                track.frame(config(), at_us - 3_000_000, FRAME);
            }
            let units = taken(&mut track);
            silent += units
                .iter()
                .filter(|(_, silent)| *silent && n > 400)
                .count();
        }
        assert_eq!(silent, 0, "late audio is cut");
        assert!(track.patience_us > 3_000_000);
    }

    #[test]
    fn a_gap_of_any_length_makes_a_bounded_number_of_frames() {
        let mut track = AacTrack::new();
        track.frame(config(), 0, FRAME);
        track.frame(config(), i64::MAX / 1_024, FRAME);
        assert!(taken(&mut track).len() < 100);
    }
}
