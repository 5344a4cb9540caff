//! Video that browsers do not take as it is: with B-frames, of another codec or of another profile. Viewers are
//! sent a rendition of its size instead, which is made while one of them watches.

use shardcast_link::{RenditionSpec, VideoCodec, video_bps_for};

use crate::{
    broadcast::{
        Broadcast,
        renditions::{Beneficiary, SourceFacts},
    },
    context::Context,
    transcode_budget::SourceShape,
};

/// `profile_idc` of baseline, main and high (ITU-T H.264 annex A): what every browser decodes, and what
/// WebRTC can name.
const PROFILES: [u8; 3] = [66, 77, 100];
/// Frame rates that a rendition has; one that is measured is never quite one of them.
const FRAME_RATES: [u32; 7] = [15, 20, 24, 25, 30, 50, 60];
/// Lines of the largest rendition (ITU-T H.264 level 5.1).
const HEIGHT_MAX: u32 = 2_160;

/// Why browsers do not take this video.
pub(super) fn unplayable(facts: &SourceFacts) -> Option<String> {
    match facts.codec {
        None => None,
        Some(VideoCodec::H264) if facts.b_frames => Some("B-frames".to_owned()),
        Some(VideoCodec::H264) if facts.profile != 0 && !PROFILES.contains(&facts.profile) => {
            Some(format!("H.264 of profile {}", facts.profile))
        }
        Some(VideoCodec::H264) => None,
        Some(codec) => Some(codec.name().to_owned()),
    }
}

/// A rendition that looks like the publisher's video: a rung of the ladder where one has its height.
fn like(shape: SourceShape, ladder: &[RenditionSpec]) -> RenditionSpec {
    let height = shape.height.clamp(16, HEIGHT_MAX) & !1;
    if let Some(rung) = ladder.iter().find(|rung| rung.height == height) {
        return *rung;
    }
    let measured = shape.frames_per_second;
    // Of two that are as near the larger one: a frame more is a repetition, one less is a loss.
    let near = FRAME_RATES
        .iter()
        .rev()
        .find(|rate| rate.abs_diff(measured) <= 1);
    let above = || FRAME_RATES.iter().find(|rate| **rate >= measured);
    let frames_per_second = near.or_else(above).copied().unwrap_or(60);
    let usual_bps = video_bps_for(height.min(shape.width.max(16)));
    RenditionSpec {
        frames_per_second,
        video_bps: if frames_per_second > 30 {
            usual_bps / 2 * 3
        } else {
            usual_bps
        },
        ..RenditionSpec::of_height(height)
    }
}

impl Broadcast {
    /// What viewers are sent in the place of the publisher's video; `None` where browsers take that. One that is
    /// being made stays what it is while the size does.
    pub(super) fn like_source(&mut self, facts: &SourceFacts) -> Option<RenditionSpec> {
        unplayable(facts)?;
        let mut shape = self.source_shape();
        if let Some(told) = self.ingest.told_frames_per_second() {
            shape.frames_per_second = told;
        }
        let spec = like(shape, &self.wanted.ladder);
        let made = self.viewers.like_source;
        let made = made.filter(|made| made.height == spec.height);
        let made = made.filter(|made| self.renditions.of(made).is_some());
        self.viewers.like_source = Some(made.unwrap_or(spec));
        self.viewers.like_source
    }

    /// Why nobody can watch now, for people.
    pub(super) fn cannot_be_watched(&mut self, ctx: &mut Context) -> Option<String> {
        let facts = self.ingest.source_facts(ctx.now);
        let what = unplayable(&facts)?;
        let spec = self.like_source(&facts)?;
        let reason = self.may_begin(ctx, Beneficiary::Viewers, &spec).err()?;
        Some(format!(
            "the publisher sends {what}, which browsers do not take: turn that off in its encoder, or let the \
             server re-encode it. It does not now: {reason}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(width: u32, height: u32, frames_per_second: u32) -> SourceShape {
        SourceShape {
            width,
            height,
            frames_per_second,
        }
    }

    #[test]
    fn a_rendition_has_the_size_and_about_the_rate_of_the_source_or_is_a_rung_of_its_height() {
        for ((width, height, rate), (lines, fps, bps)) in [
            ((1_280, 720, 30), (720, 30, 3_000_000)),
            ((1_920, 1_080, 26), (1_080, 25, 4_500_000)),
            ((1_920, 1_080, 59), (1_080, 60, 6_750_000)),
            ((608, 1_080, 30), (1_080, 30, 3_000_000)),
            ((641, 361, 12), (360, 15, 800_000)),
            ((1_280, 720, 24), (720, 25, 3_000_000)),
            ((1_280, 720, 31), (720, 30, 3_000_000)),
            ((1_280, 720, 40), (720, 50, 4_500_000)),
            ((7_680, 4_320, 120), (2_160, 60, 24_000_000)),
        ] {
            let spec = like(shape(width, height, rate), &[]);
            assert_eq!(
                (spec.height, spec.frames_per_second, spec.video_bps),
                (lines, fps, bps)
            );
            assert_eq!(spec.width, None, "the aspect ratio stays");
        }
        let rung = RenditionSpec {
            video_bps: 1_234_000,
            ..RenditionSpec::of_height(720)
        };
        let ladder = [RenditionSpec::of_height(480), rung];
        assert_eq!(like(shape(1_280, 720, 30), &ladder), rung);
    }

    #[test]
    fn what_browsers_do_not_take_is_named() {
        let plain = SourceFacts {
            codec: Some(VideoCodec::H264),
            profile: 100,
            ..SourceFacts::default()
        };
        let b_frames = SourceFacts {
            b_frames: true,
            ..plain
        };
        let ten_bits = SourceFacts {
            profile: 110,
            ..plain
        };
        let vp9 = SourceFacts {
            codec: Some(VideoCodec::Vp9),
            ..plain
        };
        for (facts, words) in [
            (SourceFacts::default(), None),
            (plain, None),
            (b_frames, Some("B-frames")),
            (ten_bits, Some("profile 110")),
            (vp9, Some("VP9")),
        ] {
            let said = unplayable(&facts);
            match words {
                Some(words) => assert!(said.unwrap().contains(words)),
                None => assert_eq!(said, None),
            }
        }
    }
}
