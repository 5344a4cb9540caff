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
/// Most that is filled at one time, since audio may be waited for as long; a larger gap is jumped over.
const FILL_US_MAX: i64 = PATIENCE_US_MAX;
/// Frames whose place is taken, by silence or by the encoder before, are left out: they are the rest of a stall. When it takes
/// longer than this, in microseconds, the encoder's audio is as late as that behind its video, and is waited for from then on.
const LEFT_OUT_US_MAX: i64 = 2_000_000;
/// Audio that is no longer as late is waited for as long as before for about so many frames.
const FORGET_IN: i64 = 64;
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
    /// What comes next does not go on from the last unit: that was silence, or another encoder's.
    joins: bool,
    /// How far the video, or the clock, has come; and how far when the frames began that were left out in a row, in
    /// microseconds.
    now_us: i64,
    left_out_since_us: Option<i64>,
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
            joins: false,
            now_us: i64::MIN,
            left_out_since_us: None,
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

    /// An encoder begins.
    pub(crate) fn begin(&mut self) {
        self.gone = false;
        self.joins = true;
        self.left_out_since_us = None;
    }

    /// The encoder is gone.
    pub(crate) fn end(&mut self) {
        self.gone = true;
    }

    /// The next unit for the rings.
    pub(crate) fn take(&mut self) -> Option<Unit> {
        self.units.pop_front()
    }

    /// A frame of the encoder that belongs at `pts_us`.
    pub(crate) fn frame(&mut self, config: AacConfig, pts_us: i64, frame: Bytes) {
        // Before the first frame there is nothing to go on from, and no form that silence could have.
        if let Some(end_us) = self.end_us.filter(|_| self.last_us.is_some()) {
            let half_us = self.config.frames_us(1) / 2;
            let joins = self.joins || self.config != config;
            if joins && pts_us < end_us - half_us {
                return self.leave_out(pts_us);
            }
            let gap_us_min = match joins {
                true => half_us,
                false => self.config.frames_us(GAP_FRAMES_MIN),
            };
            if pts_us - end_us > gap_us_min {
                self.fill_up_to(pts_us + half_us);
            }
        }
        let needed_us = self.patience_needed_us(pts_us);
        self.patience_us -= (self.patience_us - needed_us).max(0) / FORGET_IN;
        self.config = config;
        self.left_out_since_us = None;
        self.absent = false;
        self.joins = false;
        let pts_us = self.behind_last(pts_us);
        self.push(pts_us, frame);
    }

    /// A frame comes whose place is taken. If others do so for long while time goes on, the encoder's audio is always as
    /// late, and is waited for from now on.
    fn leave_out(&mut self, pts_us: i64) {
        let since_us = *self.left_out_since_us.get_or_insert(self.now_us);
        if self.now_us - since_us > LEFT_OUT_US_MAX {
            self.patience_us = self.patience_needed_us(pts_us);
        }
    }

    /// How long audio has to be waited for that is as late as this.
    fn patience_needed_us(&self, pts_us: i64) -> i64 {
        let late_us = self.now_us.saturating_sub(pts_us).max(0);
        late_us.saturating_add(ABSENT_US).min(PATIENCE_US_MAX)
    }

    /// The video, or the clock while nothing comes, has come to `until_us`: without audio for a while,
    /// silence takes its place.
    pub(crate) fn advance(&mut self, until_us: i64) {
        self.now_us = self.now_us.max(until_us);
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
            self.joins = true;
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
        track.end();
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
        track.begin();
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
    fn the_first_frame_is_the_encoders_however_late_behind_the_first_picture_it_is() {
        for ms in [0, 20, 80, 500, 1_400] {
            let mut track = AacTrack::new();
            track.begin();
            track.advance(0);
            track.frame(config(), ms * 1_000, FRAME);
            assert_eq!(taken(&mut track), [(ms, false)]);
        }
    }

    #[test]
    fn audio_that_was_late_for_a_while_is_not_waited_for_as_long_for_good() {
        let mut track = AacTrack::new();
        track.patience_us = PATIENCE_US_MAX;
        for n in 0..600 {
            let at_us = config().frames_us(n);
            track.advance(at_us);
            track.frame(config(), at_us, FRAME);
        }
        let end_us = config().frames_us(600);
        taken(&mut track);
        track.advance(end_us + ABSENT_US + 100_000);
        assert!(!taken(&mut track).is_empty(), "{} us", track.patience_us);
    }

    #[test]
    fn what_a_stall_brings_at_once_is_left_out_and_is_no_sign_of_late_audio() {
        let mut track = AacTrack::new();
        track.frame(config(), 0, FRAME);
        for ms in (0..5_000).step_by(100) {
            track.advance(ms * 1_000);
        }
        for n in 1..216 {
            track.frame(config(), config().frames_us(n), FRAME);
        }
        assert_eq!(track.patience_us, ABSENT_US);
        let units = taken(&mut track);
        let mut steps = units.windows(2).map(|two| two[1].0 - two[0].0);
        assert!(steps.all(|ms| (11..=36).contains(&ms)), "{units:?}");
        assert_eq!(units.last(), Some(&(4_992, false)));
    }

    #[test]
    fn the_audio_of_another_encoder_begins_where_that_of_the_one_before_ends() {
        let other = AacConfig::read(&[0x11, 0x88]).unwrap();
        for behind_ms in [-300, -30, 10, 130, 900] {
            let mut track = AacTrack::new();
            track.frame(config(), 0, FRAME);
            track.begin();
            let from_us = config().frames_us(1) + behind_ms * 1_000;
            for n in 0..40 {
                track.frame(other, from_us + other.frames_us(n), FRAME);
            }
            let units: Vec<Unit> = std::iter::from_fn(|| track.take()).collect();
            for two in units.windows(2) {
                let step_us = two[1].pts_us - two[0].pts_us;
                assert!(
                    (10_000..=36_000).contains(&step_us),
                    "{behind_ms}: {step_us}"
                );
            }
            assert!(
                matches!(units.last().unwrap().kind, Kind::Audio { config } if config == other)
            );
        }
    }

    #[test]
    fn a_gap_of_any_length_makes_a_bounded_number_of_frames() {
        let mut track = AacTrack::new();
        track.frame(config(), 0, FRAME);
        track.frame(config(), i64::MAX / 1_024, FRAME);
        assert!(taken(&mut track).len() < 500);
    }
}
