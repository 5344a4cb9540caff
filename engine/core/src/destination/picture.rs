//! Which picture a destination is sent: the publisher's own, while it keeps the contract, or a
//! rendition.
//!
//! ```text
//!             a term broken for 5 s; a codec that RTMP does not carry or B-frames, at once
//!   Source ─────────────────────────────────────────────────────────────► Rendition
//!          ◄─────────────────────────────────────────────────────────────
//!                         all terms kept for 30 s
//! ```
//!
//! This decides; [`switch`](super::switch) carries it out at a keyframe.

use std::time::{Duration, Instant};

use shardcast_link::{Reencode, RenditionSpec, WantedPicture, video_bps_for};

use super::contract::{Breach, Contract, SourceFacts};
use crate::{
    limits::{CONTRACT_GRACE_MS, CONTRACT_KEPT_MS, SIZE_SETTLES_MS},
    rtmp::Platform,
};

/// What a destination shall be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Source,
    Rendition(RenditionSpec),
    /// Neither can be had.
    Nothing,
}

/// Decides for one destination.
#[derive(Debug)]
pub(crate) struct Picture {
    wanted: WantedPicture,
    contract: Contract,
    /// Of the publisher's picture, once it has been passed on like this for a while.
    size: Option<(u32, u32)>,
    /// The size that it has had, and since when, until then.
    first_size: Option<((u32, u32), Instant)>,
    /// Since when it is passed on.
    passed_since: Option<Instant>,
    choice: Choice,
    /// What is broken, and since when.
    broken: Option<(Breach, Instant)>,
    kept_since: Option<Instant>,
    refused: Option<Refusal>,
    /// The words of the last refusal, whenever that was.
    refused_last: Option<String>,
    reason: String,
}

/// There was no room for the rendition.
#[derive(Debug)]
struct Refusal {
    words: String,
    again_at: Instant,
}

impl Picture {
    pub(crate) fn new(wanted: WantedPicture, platform: &Platform) -> Self {
        Self {
            wanted,
            contract: Contract::new(platform, wanted.contract),
            size: None,
            first_size: None,
            passed_since: None,
            choice: Choice::Source,
            broken: None,
            kept_since: None,
            refused: None,
            refused_last: None,
            reason: String::new(),
        }
    }

    /// Another wish.
    pub(crate) fn want(&mut self, wanted: WantedPicture, platform: &Platform) {
        if self.wanted != wanted {
            *self = Self {
                size: self.size,
                first_size: self.first_size,
                passed_since: self.passed_since,
                choice: self.choice,
                ..Self::new(wanted, platform)
            };
        }
    }

    /// Off air: the next publisher begins anew.
    pub(crate) fn reset(&mut self, platform: &Platform) {
        *self = Self::new(self.wanted, platform);
    }

    pub(crate) fn choice(&self) -> Choice {
        self.choice
    }

    /// Renditions are not wanted.
    pub(crate) fn is_off(&self) -> bool {
        self.wanted.reencode == Reencode::Off
    }

    /// Decides anew. `usual` is what a rendition is like where the wish says nothing of it.
    pub(crate) fn plan(
        &mut self,
        now: Instant,
        facts: &SourceFacts,
        usual: &RenditionSpec,
    ) -> Choice {
        self.observe(now, facts);
        let (choice, reason) = self.decide(now, facts, usual);
        let choice = self.affordable(now, choice, facts);
        self.settle(choice, reason);
        self.choice
    }

    /// The rendition that was chosen cannot be made: there is no room, or it failed. It is tried again
    /// after `again_ms`. True when these
    /// are other words than before.
    pub(crate) fn refuse(
        &mut self,
        now: Instant,
        again_ms: u64,
        words: &str,
        facts: &SourceFacts,
    ) -> bool {
        let again_at = now + Duration::from_millis(again_ms);
        let choice = self.choice;
        let words = words.to_owned();
        let news = self.refused_last.as_ref() != Some(&words);
        self.refused_last = Some(words.clone());
        self.refused = Some(Refusal { words, again_at });
        let choice = self.affordable(now, choice, facts);
        self.settle(choice, String::new());
        news
    }

    /// Nothing is sent to the destination, so nothing need be made for it.
    pub(crate) fn rest(&mut self) {
        self.choice = Choice::Source;
        self.refused = None;
        self.reason = "nothing is sent to it".to_owned();
    }

    /// Why it is what it is.
    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    /// How long the contract has been broken or kept.
    fn observe(&mut self, now: Instant, facts: &SourceFacts) {
        let breach = self.breach(now, facts);
        self.broken = breach.map(|breach| {
            let before = self.broken.map(|(_, since)| since);
            (breach, before.unwrap_or(now))
        });
        self.kept_since = match breach {
            None if facts.codec.is_some() => self.kept_since.or(Some(now)),
            _ => None,
        };
    }

    /// The term that is broken. A picture that is still growing keeps to its size.
    fn breach(&self, now: Instant, facts: &SourceFacts) -> Option<Breach> {
        let grows = |size: &(u32, u32)| {
            self.is_settling(now) && is_larger(*size, (facts.width, facts.height))
        };
        let size = self.size.filter(|size| !grows(size));
        self.contract.breach(facts, size)
    }

    fn is_settling(&self, now: Instant) -> bool {
        self.passed_since.is_none_or(|since| {
            now.saturating_duration_since(since) < Duration::from_millis(SIZE_SETTLES_MS)
        })
    }

    fn decide(&self, now: Instant, facts: &SourceFacts, usual: &RenditionSpec) -> (Choice, String) {
        let after = |since: Instant, ms| now >= since + Duration::from_millis(ms);
        let in_rendition = matches!(self.choice, Choice::Rendition(_));
        if !facts.offers_video {
            return (Choice::Source, "the publisher sends no picture".to_owned());
        }
        match (self.wanted.reencode, self.broken) {
            (Reencode::Always, _) => (
                self.rendition(usual),
                "it is to be re-encoded always".to_owned(),
            ),
            (Reencode::Off, Some((breach, _))) if breach.is_total() => {
                let words = format!("{breach}, and re-encoding is off: set reencode to auto");
                (Choice::Nothing, words)
            }
            (Reencode::Off, _) => (Choice::Source, "re-encoding is off".to_owned()),
            (Reencode::Auto, Some((breach, since)))
                if in_rendition || breach.is_lasting() || after(since, CONTRACT_GRACE_MS) =>
            {
                (self.rendition(usual), breach.to_string())
            }
            (Reencode::Auto, Some((breach, _))) => {
                (Choice::Source, format!("{breach}, since a moment"))
            }
            (Reencode::Auto, None) if in_rendition => match self.kept_since {
                Some(since) if after(since, CONTRACT_KEPT_MS) => (Choice::Source, kept()),
                _ => {
                    let words = "the publisher's picture has to suit for a while first";
                    (self.rendition(usual), words.to_owned())
                }
            },
            (Reencode::Auto, None) if facts.codec.is_none() => {
                (Choice::Source, "no picture has come yet".to_owned())
            }
            (Reencode::Auto, None) => (Choice::Source, kept()),
        }
    }

    /// What is left of a choice after a refusal, until it is tried again.
    fn affordable(&mut self, now: Instant, choice: Choice, facts: &SourceFacts) -> Choice {
        if !matches!(choice, Choice::Rendition(_)) {
            self.refused = None;
            return choice;
        }
        if self.refused.as_ref().is_none_or(|it| now >= it.again_at) {
            self.refused = None;
            return choice;
        }
        let passable = self.wanted.reencode == Reencode::Auto
            && self
                .breach(now, facts)
                .is_none_or(|breach| !breach.is_total());
        if passable {
            Choice::Source
        } else {
            Choice::Nothing
        }
    }

    fn settle(&mut self, choice: Choice, reason: String) {
        self.reason = match &self.refused {
            Some(refusal) => refusal.words.clone(),
            None => reason,
        };
        self.choice = choice;
    }

    /// The picture is passed on with this size. One that has stood for a while is what the contract
    /// holds it to: a browser that finds its bandwidth begins small.
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
                if stood >= Duration::from_millis(CONTRACT_GRACE_MS) {
                    self.size = Some(size);
                }
            }
            _ => self.first_size = Some((size, now)),
        }
    }

    fn rendition(&self, usual: &RenditionSpec) -> Choice {
        if let Some(spec) = self.wanted.rendition {
            return Choice::Rendition(spec);
        }
        if self.wanted.reencode == Reencode::Always {
            let max_bps = self.wanted.contract.video_bps_max.unwrap_or(u32::MAX);
            return Choice::Rendition(RenditionSpec {
                video_bps: usual.video_bps.min(max_bps),
                ..*usual
            });
        }
        if let Choice::Rendition(spec) = self.choice {
            return Choice::Rendition(spec);
        }
        let mut spec = *usual;
        if let Some((width, height)) = self.size {
            (spec.width, spec.height) = (Some(width & !1), height & !1);
            if spec.height != usual.height {
                spec.video_bps = video_bps_for(spec.height.min(width));
            }
        }
        let max_bps = self.contract.video_bps_max.unwrap_or(u32::MAX);
        spec.video_bps = spec.video_bps.min(max_bps);
        Choice::Rendition(spec)
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
mod tests {
    use shardcast_link::{ContractOverrides, VideoCodec};

    use super::*;
    use crate::limits::RENDITION_REFUSED_MS;

    const HD: SourceFacts = SourceFacts {
        offers_video: true,
        codec: Some(VideoCodec::H264),
        width: 1_280,
        height: 720,
        keyframe_interval_ms: 2_000,
        video_bps: 2_500_000,
        b_frames: false,
    };
    const SMALL: SourceFacts = SourceFacts {
        width: 640,
        height: 360,
        ..HD
    };
    const VP8: SourceFacts = SourceFacts {
        codec: Some(VideoCodec::Vp8),
        width: 0,
        height: 0,
        ..HD
    };

    fn picture(reencode: Reencode) -> Picture {
        let wanted = WantedPicture {
            reencode,
            rendition: None,
            contract: ContractOverrides {
                size_stable: Some(true),
                ..ContractOverrides::default()
            },
        };
        let mut picture = Picture::new(wanted, Platform::generic());
        picture.size = Some((HD.width, HD.height));
        picture.passed_since = Instant::now().checked_sub(Duration::from_millis(SIZE_SETTLES_MS));
        picture
    }

    fn usual() -> RenditionSpec {
        RenditionSpec {
            width: Some(1_280),
            ..RenditionSpec::of_height(720)
        }
    }

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn a_breach_is_borne_for_a_while_then_the_size_stays_and_good_times_bring_passthrough_back() {
        let (mut picture, start) = (picture(Reencode::Auto), Instant::now());
        assert_eq!(picture.plan(start, &HD, &usual()), Choice::Source);
        assert_eq!(
            picture.plan(at(start, 1_000), &SMALL, &usual()),
            Choice::Source
        );
        assert_eq!(
            picture.plan(at(start, 3_000), &HD, &usual()),
            Choice::Source
        );
        assert_eq!(
            picture.plan(at(start, 4_000), &SMALL, &usual()),
            Choice::Source
        );
        let slip = at(start, 4_000 + CONTRACT_GRACE_MS);
        let Choice::Rendition(spec) = picture.plan(slip, &SMALL, &usual()) else {
            panic!("it is still passed on");
        };
        assert_eq!((spec.width, spec.height), (Some(1_280), 720));
        let well = at(slip, 10_000);
        assert_eq!(picture.plan(well, &HD, &usual()), Choice::Rendition(spec));
        let back = at(well, CONTRACT_KEPT_MS - 1);
        assert_eq!(picture.plan(back, &HD, &usual()), Choice::Rendition(spec));
        assert_eq!(picture.plan(at(back, 1), &HD, &usual()), Choice::Source);
    }

    #[test]
    fn a_picture_that_begins_small_may_grow_and_what_it_has_grown_to_counts() {
        let (mut picture, start) = (picture(Reencode::Auto), Instant::now());
        (picture.size, picture.passed_since) = (None, None);
        let mut pass = |ms, facts: &SourceFacts| {
            let now = at(start, ms);
            let choice = picture.plan(now, facts, &usual());
            if choice == Choice::Source {
                picture.passed(now, facts);
            }
            choice
        };
        for (ms, facts) in [(0, &SMALL), (6_000, &SMALL), (12_000, &HD), (20_000, &HD)] {
            assert_eq!(pass(ms, facts), Choice::Source, "after {ms} ms");
        }
        assert_eq!(pass(21_000, &SMALL), Choice::Source);
        let Choice::Rendition(spec) = pass(21_000 + CONTRACT_GRACE_MS, &SMALL) else {
            panic!("it is still passed on");
        };
        assert_eq!((spec.width, spec.height), (Some(1_280), 720));
    }

    #[test]
    fn a_codec_that_cannot_be_passed_on_is_re_encoded_at_once_unless_that_is_off() {
        let now = Instant::now();
        let mut auto = picture(Reencode::Auto);
        assert!(matches!(
            auto.plan(now, &VP8, &usual()),
            Choice::Rendition(_)
        ));
        let mut off = picture(Reencode::Off);
        assert_eq!(off.plan(now, &VP8, &usual()), Choice::Nothing);
        assert!(off.reason().contains("VP8"), "{}", off.reason());
        assert_eq!(off.plan(now, &HD, &usual()), Choice::Source);
    }

    #[test]
    fn b_frames_are_not_borne_for_a_while_and_are_passed_on_where_nothing_else_can_be() {
        let (now, b_frames) = (
            Instant::now(),
            SourceFacts {
                b_frames: true,
                ..HD
            },
        );
        let mut auto = picture(Reencode::Auto);
        assert_eq!(auto.plan(now, &HD, &usual()), Choice::Source);
        let choice = auto.plan(now, &b_frames, &usual());
        assert!(matches!(choice, Choice::Rendition(_)));
        auto.refuse(now, RENDITION_REFUSED_MS, "no room", &b_frames);
        assert_eq!(auto.choice(), Choice::Source);
        let mut off = picture(Reencode::Off);
        assert_eq!(off.plan(now, &b_frames, &usual()), Choice::Source);
    }

    #[test]
    fn without_room_auto_passes_on_what_it_can_and_always_waits_for_room() {
        let now = Instant::now();
        let later = at(now, RENDITION_REFUSED_MS);
        let mut always = picture(Reencode::Always);
        let wanted = always.plan(now, &HD, &usual());
        assert!(matches!(wanted, Choice::Rendition(_)));
        always.refuse(now, RENDITION_REFUSED_MS, "no room", &HD);
        assert_eq!(always.plan(at(now, 1), &HD, &usual()), Choice::Nothing);
        assert_eq!(always.plan(later, &HD, &usual()), wanted);

        let mut auto = picture(Reencode::Auto);
        auto.plan(now, &SMALL, &usual());
        let slip = at(now, CONTRACT_GRACE_MS);
        assert!(matches!(
            auto.plan(slip, &SMALL, &usual()),
            Choice::Rendition(_)
        ));
        auto.refuse(slip, RENDITION_REFUSED_MS, "no room", &SMALL);
        assert_eq!(auto.plan(at(slip, 1), &SMALL, &usual()), Choice::Source);
        assert_eq!(auto.reason(), "no room");
        assert_eq!(auto.plan(at(slip, 2), &VP8, &usual()), Choice::Nothing);
    }
}
