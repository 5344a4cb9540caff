//! Which video a consumer is sent: the publisher's, while it meets the consumer's passthrough
//! constraints, or a rendition.
//!
//! ```text
//!                a violation for 5 s; a codec that RTMP does not carry or B-frames, at once
//!   Passthrough ───────────────────────────────────────────────────────────► Rendition
//!               ◄───────────────────────────────────────────────────────────
//!                            no violation for 30 s
//! ```
//!
//! The selector decides; `destination::switch` carries it out at a keyframe.

use std::time::{Duration, Instant};

use shardcast_link::{Reencode, RenditionSpec, VideoSettings, video_bps_for};

use super::constraints::{PassthroughConstraints, SourceFacts, Violation};
use crate::{
    limits::{CONSTRAINTS_GRACE_MS, CONSTRAINTS_KEPT_MS, SIZE_SETTLES_MS},
    rtmp::Platform,
};

/// The video that a consumer shall be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VideoSource {
    /// The publisher's, unchanged.
    Passthrough,
    /// A rendition of this kind.
    Rendition(RenditionSpec),
    /// Neither is possible.
    None,
}

/// Selects for one consumer.
#[derive(Debug)]
pub(crate) struct VideoSelector {
    wanted: VideoSettings,
    constraints: PassthroughConstraints,
    /// Size of the publisher's video, once it has been passed through at that size for a while.
    size: Option<(u32, u32)>,
    /// The size that it has had, and since when, until then.
    first_size: Option<((u32, u32), Instant)>,
    /// Since when it is passed through.
    passed_since: Option<Instant>,
    selected: VideoSource,
    /// The violation, and since when there is one.
    broken: Option<(Violation, Instant)>,
    kept_since: Option<Instant>,
    refused: Option<Refusal>,
    /// The reason of the last refusal, whenever that was.
    refused_last: Option<String>,
    reason: String,
}

/// There was no capacity for the rendition.
#[derive(Debug)]
struct Refusal {
    reason: String,
    again_at: Instant,
}

impl VideoSelector {
    pub(crate) fn new(wanted: VideoSettings, platform: &Platform) -> Self {
        Self {
            wanted,
            constraints: PassthroughConstraints::new(platform, wanted.passthrough),
            size: None,
            first_size: None,
            passed_since: None,
            selected: VideoSource::Passthrough,
            broken: None,
            kept_since: None,
            refused: None,
            refused_last: None,
            reason: String::new(),
        }
    }

    /// Takes over other settings.
    pub(crate) fn want(&mut self, wanted: VideoSettings, platform: &Platform) {
        if self.wanted != wanted {
            *self = Self {
                size: self.size,
                first_size: self.first_size,
                passed_since: self.passed_since,
                selected: self.selected,
                ..Self::new(wanted, platform)
            };
        }
    }

    /// Off air: the next publisher begins anew.
    pub(crate) fn reset(&mut self, platform: &Platform) {
        *self = Self::new(self.wanted, platform);
    }

    pub(crate) fn selected(&self) -> VideoSource {
        self.selected
    }

    /// Renditions are not wanted.
    pub(crate) fn is_off(&self) -> bool {
        self.wanted.reencode == Reencode::Off
    }

    /// Selects anew. `usual` is the rendition where the settings name none.
    pub(crate) fn select(
        &mut self,
        now: Instant,
        facts: &SourceFacts,
        usual: &RenditionSpec,
    ) -> VideoSource {
        self.observe(now, facts);
        let (choice, reason) = self.decide(now, facts, usual);
        let choice = self.affordable(now, choice, facts);
        self.set_selected(choice, reason);
        self.selected
    }

    /// The rendition that was selected cannot be made: there is no capacity, or it failed. It is tried
    /// again after `again_ms`. True when the reason differs from the last one.
    pub(crate) fn refuse(
        &mut self,
        now: Instant,
        again_ms: u64,
        reason: &str,
        facts: &SourceFacts,
    ) -> bool {
        let again_at = now + Duration::from_millis(again_ms);
        let choice = self.selected;
        let reason = reason.to_owned();
        let news = self.refused_last.as_ref() != Some(&reason);
        self.refused_last = Some(reason.clone());
        self.refused = Some(Refusal { reason, again_at });
        let choice = self.affordable(now, choice, facts);
        self.set_selected(choice, String::new());
        news
    }

    /// Nothing is sent to the consumer, so no rendition need be made for it.
    pub(crate) fn idle(&mut self) {
        self.selected = VideoSource::Passthrough;
        self.refused = None;
        self.reason = "nothing is sent to it".to_owned();
    }

    /// Why this video is selected, as a user is shown it.
    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    /// Keeps count of how long the constraints have been violated or met.
    fn observe(&mut self, now: Instant, facts: &SourceFacts) {
        let violation = self.violation(now, facts);
        self.broken = violation.map(|violation| {
            let before = self.broken.map(|(_, since)| since);
            (violation, before.unwrap_or(now))
        });
        self.kept_since = match violation {
            None if facts.codec.is_some() => self.kept_since.or(Some(now)),
            _ => None,
        };
    }

    /// The constraint that is violated. A size that is still growing violates none.
    fn violation(&self, now: Instant, facts: &SourceFacts) -> Option<Violation> {
        let grows = |size: &(u32, u32)| {
            self.is_settling(now) && is_larger(*size, (facts.width, facts.height))
        };
        let size = self.size.filter(|size| !grows(size));
        self.constraints.violation(facts, size)
    }

    fn is_settling(&self, now: Instant) -> bool {
        self.passed_since.is_none_or(|since| {
            now.saturating_duration_since(since) < Duration::from_millis(SIZE_SETTLES_MS)
        })
    }

    fn decide(
        &self,
        now: Instant,
        facts: &SourceFacts,
        usual: &RenditionSpec,
    ) -> (VideoSource, String) {
        let after = |since: Instant, ms| now >= since + Duration::from_millis(ms);
        let in_rendition = matches!(self.selected, VideoSource::Rendition(_));
        if !facts.offers_video {
            return (
                VideoSource::Passthrough,
                "the publisher sends no picture".to_owned(),
            );
        }
        match (self.wanted.reencode, self.broken) {
            (Reencode::Always, _) => (
                self.rendition(usual),
                "it is to be re-encoded always".to_owned(),
            ),
            (Reencode::Off, Some((violation, _))) if violation.is_total() => {
                let reason = format!("{violation}, and re-encoding is off: set reencode to auto");
                (VideoSource::None, reason)
            }
            (Reencode::Off, _) => (VideoSource::Passthrough, "re-encoding is off".to_owned()),
            (Reencode::Auto, Some((violation, since)))
                if in_rendition || violation.is_lasting() || after(since, CONSTRAINTS_GRACE_MS) =>
            {
                (self.rendition(usual), violation.to_string())
            }
            (Reencode::Auto, Some((violation, _))) => (
                VideoSource::Passthrough,
                format!("{violation}, since a moment"),
            ),
            (Reencode::Auto, None) if in_rendition => match self.kept_since {
                Some(since) if after(since, CONSTRAINTS_KEPT_MS) => {
                    (VideoSource::Passthrough, kept())
                }
                _ => {
                    let reason = "the publisher's picture has to suit for a while first";
                    (self.rendition(usual), reason.to_owned())
                }
            },
            (Reencode::Auto, None) if facts.codec.is_none() => (
                VideoSource::Passthrough,
                "no picture has come yet".to_owned(),
            ),
            (Reencode::Auto, None) => (VideoSource::Passthrough, kept()),
        }
    }

    /// What remains of a selection after a refusal, until it is tried again.
    fn affordable(
        &mut self,
        now: Instant,
        choice: VideoSource,
        facts: &SourceFacts,
    ) -> VideoSource {
        if !matches!(choice, VideoSource::Rendition(_)) {
            self.refused = None;
            return choice;
        }
        if self.refused.as_ref().is_none_or(|it| now >= it.again_at) {
            self.refused = None;
            return choice;
        }
        let passable = self.wanted.reencode == Reencode::Auto
            && self
                .violation(now, facts)
                .is_none_or(|violation| !violation.is_total());
        if passable {
            VideoSource::Passthrough
        } else {
            VideoSource::None
        }
    }

    fn set_selected(&mut self, choice: VideoSource, reason: String) {
        self.reason = match &self.refused {
            Some(refusal) => refusal.reason.clone(),
            None => reason,
        };
        self.selected = choice;
    }

    /// The publisher's video is passed through at this size. A size that has stood for a while is the one
    /// that has to stay: a browser that finds its bandwidth begins small.
    pub(crate) fn passed(&mut self, now: Instant, facts: &SourceFacts) {
        let size = (facts.width, facts.height);
        let settling = self.is_settling(now);
        self.passed_since.get_or_insert(now);
        let stays = self
            .size
            .is_some_and(|known| !(settling && is_larger(known, size)));
        if stays || facts.width == 0 {
            return;
        }
        match self.first_size {
            Some((first, since)) if first == size => {
                let stood = now.saturating_duration_since(since);
                if stood >= Duration::from_millis(CONSTRAINTS_GRACE_MS) {
                    self.size = Some(size);
                }
            }
            _ => self.first_size = Some((size, now)),
        }
    }

    fn rendition(&self, usual: &RenditionSpec) -> VideoSource {
        if let Some(spec) = self.wanted.rendition {
            return VideoSource::Rendition(spec);
        }
        if self.wanted.reencode == Reencode::Always {
            let max_bps = self.wanted.passthrough.video_bps_max.unwrap_or(u32::MAX);
            return VideoSource::Rendition(RenditionSpec {
                video_bps: usual.video_bps.min(max_bps),
                ..*usual
            });
        }
        if let VideoSource::Rendition(spec) = self.selected {
            return VideoSource::Rendition(spec);
        }
        let mut spec = *usual;
        if let Some((width, height)) = self.size {
            (spec.width, spec.height) = (Some(width & !1), height & !1);
            if spec.height != usual.height {
                spec.video_bps = video_bps_for(spec.height.min(width));
            }
        }
        let max_bps = self.constraints.video_bps_max.unwrap_or(u32::MAX);
        spec.video_bps = spec.video_bps.min(max_bps);
        VideoSource::Rendition(spec)
    }
}

/// Of the same shape, and no smaller.
fn is_larger(before: (u32, u32), size: (u32, u32)) -> bool {
    let (wide, high) = (u64::from(size.0), u64::from(size.1));
    let skew = (wide * u64::from(before.1)).abs_diff(u64::from(before.0) * high);
    // Sizes are even, so those of a ramp are not all of quite the same shape.
    size.0 >= before.0 && size.1 >= before.1 && skew * 50 <= u64::from(before.0) * high
}

fn kept() -> String {
    "the publisher's picture is as this destination takes it".to_owned()
}

#[cfg(test)]
#[path = "video_selector_tests.rs"]
mod tests;
