//! From one ring of a broadcast to another, without a step in timestamps and without a frame that
//! cannot be decoded.
//!
//! A rendition comes some tens of milliseconds behind the publisher's video, and both are on one
//! clock. So there is a cut: the time of a keyframe of the ring that is gone to. Frames from before
//! it are taken from the ring that is left, those from it on out of the other, and what comes first
//! waits for what comes late.
//!
//! ```text
//!  publisher   P P P P P P P P P│P P P I          sent up to the cut
//!  rendition         I P P P P P│I P P P P        the next IDR, one GOP behind the last
//! ```
//!
//! The cut is the DTS of that keyframe, and what is left is sent as long as its PTS is before it.
//! With B-frames on one side, both times rise over the cut and no frame is shown on its other side.
//! What is then missing is at most what stands between two frames that are decoded in order.
//!
//! Where the ring that is left has had no video for a while, there is nothing to wait for: audio has gone
//! on alone, and the new ring is taken at its newest keyframe, or, if that is so old that a burst of the
//! past would come behind the audio, at its next.

use std::time::{Duration, Instant};

use crate::{
    broadcast::renditions::Rings,
    broadcast::ring::RingId,
    broadcast::ring::{Kind, Ring, Unit},
    codec::AudioCodec,
};

/// What is sent behind something of its kind is at least so much later: RTMP counts milliseconds, and
/// two rings know nothing of each other.
pub(super) const STEP_US_MIN: i64 = 1_000;
/// A keyframe may be this much off where it is expected: a frame at 15 a second.
const MARGIN_US: i64 = 67_000;
/// A keyframe that is there is good to begin with when it is at most this old; an older one would make
/// the destination begin with a burst of the past.
pub(super) const FRESH_KEYFRAME_US: i64 = 500_000;
/// No cut is further ahead than the longest GOP.
const AHEAD_US_MAX: i64 = 10_000_000;
/// A ring that gives nothing more is left after this, wherever the cut is.
const PATIENCE: Duration = Duration::from_millis(500);
/// A keyframe that did not come within this after the cut is not waited for: another cut is looked
/// for, and meanwhile the ring that was to be left goes on.
const KEYFRAME_PATIENCE: Duration = Duration::from_millis(1_500);

/// A change that is under way.
#[derive(Debug)]
pub(super) struct Switch {
    pub(super) to: RingId,
    cut: Option<Cut>,
}

/// Where one ring is left and the other begun.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// DTS of the first keyframe of the new ring, and about when it comes.
    at_us: i64,
    due: Instant,
    /// The newest keyframe when it was chosen.
    newest_us: i64,
}

/// What a change is at.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Frames of the old ring that are shown before this time go on; without one, all.
    GoOn { until_us: Option<i64> },
    /// The new ring is taken from this keyframe on.
    Take { to: RingId, keyframe: u64 },
}

impl Switch {
    pub(super) fn new(to: RingId) -> Self {
        Self { to, cut: None }
    }

    /// `sent_us` is the largest PTS of the frames of video that were sent, `next` is the next in the old
    /// ring.
    pub(super) fn step(
        &mut self,
        now: Instant,
        rings: Rings<'_>,
        sent_us: Option<i64>,
        next: Option<&Unit>,
    ) -> Step {
        let sent_us = sent_us.unwrap_or(i64::MIN / 2);
        let Some((ring, _)) = rings.get(self.to) else {
            self.cut = None;
            return Step::GoOn { until_us: None };
        };
        // A destination may have been idle, so the time of what was sent last is not the time now.
        let now_us = ring.newest().map_or(sent_us, |it| it.dts_us.max(sent_us));
        let patience_us = PATIENCE.as_micros() as i64;
        let stands_still = next.is_none() && now_us - sent_us > patience_us;
        let newest_us = newest_keyframe_us(ring);
        // One before the cut: they come at other times than was thought. The first of a rendition
        // comes at any time, and the others where all renditions of the broadcast have theirs.
        self.cut = self.cut.filter(|cut| {
            newest_us.is_none_or(|it| it == cut.newest_us || it >= cut.at_us - MARGIN_US)
        });
        if self.cut.is_none() {
            let from_us = match self.to {
                RingId::Rendition(_) if stands_still => sent_us.max(now_us - FRESH_KEYFRAME_US),
                // The publisher's next keyframe may be far.
                _ => sent_us,
            };
            self.cut = newest_us.and_then(|newest_us| {
                let at_us = self.find_cut(rings, newest_us, from_us)?;
                let ahead_us = (at_us - now_us).clamp(0, AHEAD_US_MAX).unsigned_abs();
                Some(Cut {
                    at_us,
                    due: now + Duration::from_micros(ahead_us),
                    newest_us,
                })
            });
        }
        let Some(Cut {
            at_us: cut_us, due, ..
        }) = self.cut
        else {
            return Step::GoOn { until_us: None };
        };
        let keyframe = first_keyframe(ring, (cut_us - MARGIN_US).max(sent_us + 1));
        let until_us = Some(cut_us - MARGIN_US / 4);
        let held = next.is_some_and(|unit| is_behind(unit, until_us));
        match keyframe {
            Some(keyframe) if held || stands_still || now > due + PATIENCE => {
                let to = self.to;
                Step::Take { to, keyframe }
            }
            None if now > due + KEYFRAME_PATIENCE => {
                self.cut = None;
                Step::GoOn { until_us: None }
            }
            _ => Step::GoOn { until_us },
        }
    }

    /// The time of the first keyframe of the new ring after `from_us`: the newest, or the next one of a
    /// rendition, whose keyframes come at equal distances.
    fn find_cut(&self, rings: Rings<'_>, newest_us: i64, from_us: i64) -> Option<i64> {
        if newest_us >= from_us + STEP_US_MIN {
            return Some(newest_us);
        }
        let RingId::Rendition(id) = self.to else {
            return None;
        };
        let gop_us = rings.rendition(id)?.gop_us().max(1);
        let gops = (from_us - newest_us) / gop_us + 1;
        Some(newest_us + gops * gop_us)
    }
}

/// The first keyframe that is decoded from a time on. A destination that is slow gets to the cut
/// late, and several may be there by then.
fn first_keyframe(ring: &Ring, from_us: i64) -> Option<u64> {
    let newest = ring.newest_keyframe()?;
    let is_from = |seq: &u64| {
        ring.get(*seq)
            .is_some_and(|unit| unit.is_keyframe() && unit.dts_us >= from_us)
    };
    is_from(&newest).then(|| (ring.start()..newest).find(is_from).unwrap_or(newest))
}

fn newest_keyframe_us(ring: &Ring) -> Option<i64> {
    Some(ring.get(ring.newest_keyframe()?)?.dts_us)
}

/// Whether it is a frame that is shown from `until_us` on, so it has to wait for the cut.
pub(super) fn is_behind(unit: &Unit, until_us: Option<i64>) -> bool {
    matches!(unit.kind, Kind::Video { .. })
        && until_us.is_some_and(|until_us| unit.pts_us >= until_us)
}

/// Where to begin in a ring that is taken from `keyframe` on: audio that was not sent yet may stand
/// before it.
pub(super) fn entry(
    ring: &Ring,
    keyframe: u64,
    audio: AudioCodec,
    sound_sent_us: Option<i64>,
) -> u64 {
    let sent_us = sound_sent_us.unwrap_or(i64::MIN / 2);
    let unsent = |seq: &u64| {
        ring.get(*seq).is_some_and(|unit| {
            unit.kind.audio() == Some(audio) && unit.pts_us >= sent_us + STEP_US_MIN
        })
    };
    (ring.start()..keyframe).find(unsent).unwrap_or(keyframe)
}
