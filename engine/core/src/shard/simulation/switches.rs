//! What a server must find in renditions, and where one picture takes the place of another: a keyframe,
//! no hole, nothing left out, nothing held back, and the right sound.

use super::{
    picture::{Picture, Shows},
    witness::{REPEATED_MS_MAX, Rules, Witness},
};
use crate::io::RenditionId;

/// Two pictures of which one is the publisher's and one a rendition's, or of two renditions: the cut
/// is at a keyframe, which may be this much off where it was expected, and what is left stops a
/// quarter of that before it.
const SWITCH_MS_MAX: u32 = 67 + 17;
/// Beside the publisher's own pauses, nothing that is held back for a cut comes later than this: a
/// lane has its picture within a frame of its own, and as much is for the lane and the wire.
const HELD_MS_MAX: u32 = 250;

impl Witness {
    /// A rendition's picture: the next of those before, or a keyframe where it begins or something
    /// was left out; in its place on the grid, and with its own sound.
    pub(super) fn is_made(
        &mut self,
        picture: Picture,
        rendition: RenditionId,
        number: u64,
        at_ms: u32,
        rules: Rules<'_>,
    ) -> Result<(), String> {
        let Some(spec) = rules.loom.spec(rendition).filter(|_| rules.may_be_made) else {
            return Err(format!("{picture:?} is to be made by nobody"));
        };
        let hole_ms = at_ms.saturating_sub(self.video_ms.unwrap_or(at_ms));
        let interval_ms = 1_000 / spec.frames_per_second;
        self.made += 1;
        self.stands_in = false;
        match self.before.map(|before| before.shows) {
            Some(Shows::Made {
                rendition: same,
                number: before,
            }) if same == rendition => {
                let next = before + 1 == number;
                let rested = !next && picture.is_key() && rules.may_rest;
                let whole = rules.whole && !rested;
                if number <= before || !next && (whole || !picture.is_key()) {
                    return Err(format!("{picture:?} after {:?}", self.before));
                }
                let watched = whole && rules.punctual && rules.interleaved;
                if watched && hole_ms > interval_ms + 1 {
                    return Err(format!("a hole of {hole_ms} ms before {picture:?}"));
                }
                let kbps = u8::try_from(spec.audio_bps / 1_000).unwrap();
                if self.kbps_since.iter().any(|it| *it != kbps) {
                    let heard = &self.kbps_since;
                    return Err(format!("{picture:?} with sound of {heard:?} kbit/s"));
                }
            }
            before => {
                if !picture.is_key() {
                    return Err(format!("{picture:?} after {before:?}: it is no keyframe"));
                }
                self.is_close(picture, hole_ms, interval_ms, rules)?;
                self.switches += u64::from(before.is_some());
            }
        }
        if picture.is_key() {
            self.keyframe_ms = at_ms;
        } else if at_ms - self.keyframe_ms > spec.gop_ms + interval_ms && rules.punctual {
            return Err(format!("no keyframe of {rendition:?} for too long"));
        }
        Ok(())
    }

    /// What is not of a rendition behind one that is begins with a keyframe, and what the publisher
    /// sent meanwhile is missed by nobody.
    pub(super) fn leaves_a_rendition(
        &mut self,
        picture: Picture,
        at_ms: u32,
        rules: Rules<'_>,
    ) -> Result<(), String> {
        if self.rendition().is_none() {
            return Ok(());
        }
        if !picture.is_key() {
            return Err(format!("{picture:?} after {:?}: no keyframe", self.before));
        }
        let hole_ms = at_ms.saturating_sub(self.video_ms.unwrap_or(at_ms));
        self.is_close(picture, hole_ms, REPEATED_MS_MAX, rules)?;
        self.switches += 1;
        (self.sent, self.sent_key, self.video_ms) = (None, None, None);
        Ok(())
    }

    /// No hole is where one picture takes the place of another.
    fn is_close(
        &self,
        picture: Picture,
        hole_ms: u32,
        interval_ms: u32,
        rules: Rules<'_>,
    ) -> Result<(), String> {
        let close = rules.whole && rules.punctual && rules.interleaved && !rules.foreign;
        let left = self.rendition().and_then(|it| rules.loom.spec(it));
        let left_ms = left.map_or(0, |spec| 1_000 / spec.frames_per_second);
        // Between a lost picture and a keyframe nobody has time to stand in.
        let pause_ms = rules.frame_ms * if rules.lossy { 5 } else { 1 };
        let hole_ms_max = interval_ms.max(left_ms).max(pause_ms) + SWITCH_MS_MAX + 1;
        if close && hole_ms > hole_ms_max {
            let before = self.before;
            return Err(format!("{hole_ms} ms between {before:?} and {picture:?}"));
        }
        Ok(())
    }

    /// Pictures are not held back for long, whatever is waited for.
    pub(super) fn is_punctual(&mut self, picture: Picture, rules: Rules<'_>) -> Result<(), String> {
        let arrived = self.arrived.replace(rules.now);
        let held = arrived.map(|at| rules.now.saturating_duration_since(at).as_millis());
        let most_ms = rules.silent_ms_max + HELD_MS_MAX;
        let watched = rules.whole && rules.punctual && rules.interleaved && !rules.foreign;
        match held {
            Some(held_ms) if watched && held_ms > u128::from(most_ms) => Err(format!(
                "{held_ms} ms went by between {:?} and {picture:?}",
                self.before
            )),
            _ => Ok(()),
        }
    }
}
