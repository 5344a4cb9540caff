//! Checks renditions, and the switch between them and the publisher's video: it is at a keyframe,
//! leaves no hole, leaves out and holds back no picture, and the audio has the rendition's bit rate.

use shardcast_core::io::RenditionId;

use super::stream_checker::{REPEATED_MS_MAX, Rules, StreamChecker};
use crate::picture::{Picture, Shows};

/// A switch cuts at a keyframe of the new video. That may be 67 ms off where it was expected, and the
/// old video stops a quarter of that before it.
const SWITCH_MS_MAX: u32 = 67 + 17;
/// Beside the publisher's own pauses, a picture that is held back for a cut comes no later than this:
/// a transcoder has its picture within a frame of its own, and the line takes as much.
const HELD_MS_MAX: u32 = 250;

impl StreamChecker {
    /// A rendition's picture follows the one before, or is a keyframe where the rendition begins or a
    /// picture was left out. It is in its place on the grid, with audio of its bit rate.
    pub(super) fn is_made(
        &mut self,
        picture: Picture,
        rendition: RenditionId,
        number: u64,
        at_ms: u32,
        rules: Rules<'_>,
    ) -> Result<(), String> {
        let Some(spec) = rules
            .video_transcoders
            .spec(rendition)
            .filter(|_| rules.may_be_made)
        else {
            return Err(format!(
                "{picture:?} belongs to no rendition that may be sent"
            ));
        };
        let hole_ms = at_ms.saturating_sub(self.video_ms.unwrap_or(at_ms));
        let interval_ms = 1_000 / spec.frames_per_second;
        self.made += 1;
        self.is_filler = false;
        match self.before.map(|before| before.shows) {
            Some(Shows::Made {
                rendition: same,
                number: before,
            }) if same == rendition => {
                let next = before + 1 == number;
                let paused = !next && picture.is_key() && rules.may_pause;
                let whole = rules.whole && !paused;
                if number <= before || !next && (whole || !picture.is_key()) {
                    return Err(format!("{picture:?} after {:?}", self.before));
                }
                let watched = whole && rules.punctual && rules.interleaved;
                if watched && hole_ms > interval_ms + 1 {
                    return Err(format!("a hole of {hole_ms} ms before {picture:?}"));
                }
                let kbps = u8::try_from(spec.audio_bps / 1_000).unwrap();
                if self.audio.kbps_since.iter().any(|it| *it != kbps) {
                    let heard = &self.audio.kbps_since;
                    return Err(format!("{picture:?} with audio of {heard:?} kbit/s"));
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

    /// Behind a rendition, the publisher's video begins with a keyframe; what the publisher sent
    /// meanwhile is not missing.
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

    /// A switch leaves no hole.
    fn is_close(
        &self,
        picture: Picture,
        hole_ms: u32,
        interval_ms: u32,
        rules: Rules<'_>,
    ) -> Result<(), String> {
        let close = rules.whole && rules.punctual && rules.interleaved && !rules.foreign;
        let left = self
            .rendition()
            .and_then(|it| rules.video_transcoders.spec(it));
        let left_ms = left.map_or(0, |spec| 1_000 / spec.frames_per_second);
        // Between a lost picture and a keyframe there is no time for filler.
        let pause_ms = rules.frame_ms * if rules.lossy { 5 } else { 1 };
        let hole_ms_max = interval_ms.max(left_ms).max(pause_ms) + SWITCH_MS_MAX + 1;
        if close && hole_ms > hole_ms_max {
            let before = self.before;
            return Err(format!("{hole_ms} ms between {before:?} and {picture:?}"));
        }
        Ok(())
    }

    /// No picture is held back for long, whatever the switch waits for.
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
