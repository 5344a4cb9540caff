//! Which picture a destination is sent: the publisher's own, while it keeps the contract, or a
//! rendition.
//!
//! ```text
//!             a term broken for 5 s, or a codec that RTMP does not carry
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
    limits::{CONTRACT_GRACE_MS, CONTRACT_KEPT_MS, RENDITION_REFUSED_MS},
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
    choice: Choice,
    /// What is broken, and since when.
    broken: Option<(Breach, Instant)>,
    kept_since: Option<Instant>,
    refused: Option<Refusal>,
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
            choice: Choice::Source,
            broken: None,
            kept_since: None,
            refused: None,
            reason: String::new(),
        }
    }

    /// Another wish.
    pub(crate) fn want(&mut self, wanted: WantedPicture, platform: &Platform) {
        if self.wanted != wanted {
            *self = Self {
                size: self.size,
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

    /// The rendition that was chosen cannot be made: there is no room, or it failed.
    pub(crate) fn refuse(&mut self, now: Instant, words: String, facts: &SourceFacts) {
        let again_at = now + Duration::from_millis(RENDITION_REFUSED_MS);
        let choice = self.choice;
        self.refused = Some(Refusal { words, again_at });
        let choice = self.affordable(now, choice, facts);
        self.settle(choice, String::new());
    }

    /// Why it is what it is.
    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    /// How long the contract has been broken or kept.
    fn observe(&mut self, now: Instant, facts: &SourceFacts) {
        let breach = self.contract.breach(facts, self.size);
        self.broken = breach.map(|breach| {
            let before = self.broken.map(|(_, since)| since);
            (breach, before.unwrap_or(now))
        });
        self.kept_since = match breach {
            None if facts.codec.is_some() => self.kept_since.or(Some(now)),
            _ => None,
        };
    }

    fn decide(&self, now: Instant, facts: &SourceFacts, usual: &RenditionSpec) -> (Choice, String) {
        let after = |since: Instant, ms| now >= since + Duration::from_millis(ms);
        let in_rendition = matches!(self.choice, Choice::Rendition(_));
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
                if in_rendition || breach.is_total() || after(since, CONTRACT_GRACE_MS) =>
            {
                (self.rendition(usual), breach.to_string())
            }
            (Reencode::Auto, Some((breach, _))) => {
                (Choice::Source, format!("{breach}, since a moment"))
            }
            (Reencode::Auto, None) if in_rendition => match self.kept_since {
                Some(since) if after(since, CONTRACT_KEPT_MS) => (Choice::Source, kept()),
                _ => (self.rendition(usual), self.reason.clone()),
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
                .contract
                .breach(facts, self.size)
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
        if self.size.is_some() || facts.width == 0 {
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
        let max_bps = self.contract.video_bps_max.unwrap_or(u32::MAX);
        if self.wanted.reencode == Reencode::Always {
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
                spec.video_bps = video_bps_for(spec.height);
            }
        }
        spec.video_bps = spec.video_bps.min(max_bps);
        Choice::Rendition(spec)
    }
}

fn kept() -> String {
    "the publisher's picture is as this destination takes it".to_owned()
}

#[cfg(test)]
mod tests {
    use shardcast_link::{ContractOverrides, VideoCodec};

    use super::*;

    const HD: SourceFacts = SourceFacts {
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
    fn without_room_auto_passes_on_what_it_can_and_always_waits_for_room() {
        let now = Instant::now();
        let later = at(now, RENDITION_REFUSED_MS);
        let mut always = picture(Reencode::Always);
        let wanted = always.plan(now, &HD, &usual());
        assert!(matches!(wanted, Choice::Rendition(_)));
        always.refuse(now, "no room".to_owned(), &HD);
        assert_eq!(always.plan(at(now, 1), &HD, &usual()), Choice::Nothing);
        assert_eq!(always.plan(later, &HD, &usual()), wanted);

        let mut auto = picture(Reencode::Auto);
        auto.plan(now, &SMALL, &usual());
        let slip = at(now, CONTRACT_GRACE_MS);
        assert!(matches!(
            auto.plan(slip, &SMALL, &usual()),
            Choice::Rendition(_)
        ));
        auto.refuse(slip, "no room".to_owned(), &SMALL);
        assert_eq!(auto.plan(at(slip, 1), &SMALL, &usual()), Choice::Source);
        assert_eq!(auto.reason(), "no room");
        assert_eq!(auto.plan(at(slip, 2), &VP8, &usual()), Choice::Nothing);
    }
}
