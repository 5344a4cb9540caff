//! The HLS packager of a broadcast: a consumer that makes CMAF parts and hands them to control, which serves them. Who
//! asks for them never reaches the shard.
//!
//! It packages while control wants it. It takes the publisher's video where that is H.264, B-frames included,
//! and a rendition where it is not; filler and slate are in the ring as destinations see them. Where control wants the
//! ladder too, its rungs are packaged beside that: each is a [`Variant`].

mod grid;
mod rungs;
mod stream;
#[cfg(test)]
mod stream_tests;
mod tracks;
mod variant;

use std::time::{Duration, Instant};

use shardcast_link::{BroadcastId, RenditionSpec, VideoCodec, WantedHls, fragment::FragmentHead};

use self::{
    rungs::Rungs,
    variant::{Packaging, Variant},
};
use crate::{
    broadcast::{
        Broadcast,
        renditions::{Beneficiary, Rendition, Rings, SourceFacts},
        ring::RingId,
    },
    context::Context,
    io::{Fragment, Output},
    limits::RENDITION_REFUSED_MS,
};

/// Numbers of segments begin at twice the seconds since this, 2025-01-01 in Unix milliseconds: segments are
/// longer than half a second, so an engine that is started anew goes on above those of the one before.
const NUMBERS_EPOCH_UNIX_MS: u64 = 1_735_689_600_000;
const NUMBERS_PER_SECOND: u64 = 2;
/// Shorter ones would not be as long as a part's few.
const SEGMENT_MS_MIN: u32 = 1_000;
/// Control keeps whole segments, and players wait for three.
const SEGMENT_MS_MAX: u32 = 10_000;

/// The number of a segment that follows none.
fn number_by_time(ctx: &Context) -> u64 {
    let now_unix_ms = ctx.clock.unix_ms(ctx.now);
    now_unix_ms.saturating_sub(NUMBERS_EPOCH_UNIX_MS) * NUMBERS_PER_SECOND / 1_000
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Packager {
    wanted: Option<WantedHls>,
    /// The rendition in the place of video that HLS cannot carry.
    rendition: Option<RenditionSpec>,
    /// There was no capacity for it; until then it is not tried again.
    refused_until: Option<Instant>,
    source: Variant,
    rungs: Rungs,
    /// Control has parts, of whichever ring, and is told when they end.
    is_begun: bool,
}

impl Default for Packager {
    fn default() -> Self {
        Self {
            wanted: None,
            rendition: None,
            refused_until: None,
            source: Variant::new(None, 0),
            rungs: Rungs::default(),
            is_begun: false,
        }
    }
}

impl Packager {
    /// Whether control wants parts.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.is_some()
    }

    /// Whether control wants those of the ladder too.
    pub(crate) fn wants_ladder(&self) -> bool {
        self.wanted.is_some_and(|wanted| wanted.ladder)
    }

    /// Takes over what control wants.
    pub(super) fn want(&mut self, ctx: &mut Context, id: &BroadcastId, wanted: Option<WantedHls>) {
        let segment_ms = |wanted: Option<WantedHls>| wanted.map(|wanted| wanted.segment_ms);
        if segment_ms(self.wanted) != segment_ms(wanted) {
            self.end(ctx, id);
        }
        self.wanted = wanted;
    }

    /// Off air, or not wanted any more: parts end here.
    pub(super) fn end(&mut self, ctx: &mut Context, id: &BroadcastId) {
        let mut parts = Vec::new();
        self.source.end(&mut parts);
        if std::mem::take(&mut self.is_begun) || !parts.is_empty() {
            let head = FragmentHead {
                broadcast: id.clone(),
                rung: None,
                segment: self.source.free_number(),
                part: 0,
                duration_us: 0,
                independent: false,
                last: true,
                begins: None,
                ends: true,
            };
            let slices = Vec::new();
            parts.push(Fragment { head, slices });
        }
        put_out(ctx, parts);
        self.rungs.clear();
        self.rendition = None;
        self.refused_until = None;
    }

    /// Whether a keyframe to begin with is to be asked for; once.
    pub(super) fn take_keyframe_wanted(&mut self) -> bool {
        self.source.take_keyframe_wanted()
    }

    /// Whether this rendition is one that it takes.
    pub(crate) fn chooses(&self, spec: &RenditionSpec) -> bool {
        self.rendition.as_ref() == Some(spec) || self.rungs.specs().any(|it| it == *spec)
    }

    /// Whether it takes this rendition in the place of the publisher's video, which it cannot package.
    pub(crate) fn needs(&self, spec: &RenditionSpec) -> bool {
        self.rendition.as_ref() == Some(spec)
    }

    /// Whether it takes this rendition, or did up to now.
    pub(crate) fn uses(&self, rendition: &Rendition) -> bool {
        let is_chosen = rendition.problem.is_none() && self.chooses(&rendition.spec);
        let ring = RingId::Rendition(rendition.id);
        is_chosen || self.source.ring() == Some(ring) || self.rungs.take_from(ring)
    }

    /// The rendition cannot be made.
    pub(crate) fn refuse(&mut self, now: Instant, spec: &RenditionSpec, reason: &str) {
        if self.rendition.as_ref() == Some(spec) {
            self.rendition = None;
            self.refused_until = Some(now + Duration::from_millis(RENDITION_REFUSED_MS));
        }
        self.rungs.refuse(now, spec, reason);
    }

    /// Why a rung is not made, for people.
    pub(crate) fn problem(&self) -> Option<String> {
        self.rungs.problem().map(str::to_owned)
    }

    /// The renditions that are needed to package what the publisher sends, and the ladder.
    fn select(
        &mut self,
        now: Instant,
        facts: &SourceFacts,
        usual: &RenditionSpec,
        ladder: &[RenditionSpec],
    ) -> Vec<RenditionSpec> {
        let foreign = facts.codec.is_some_and(|codec| codec != VideoCodec::H264);
        let may = self.refused_until.is_none_or(|until| now >= until);
        if self.wanted.is_none() || !foreign {
            self.rendition = None;
        } else if may {
            self.rendition.get_or_insert(*usual);
        }
        if self.wants_ladder() {
            self.rungs.select(now, ladder, facts);
        } else {
            self.rungs.clear();
        }
        let rendition = self.rendition.into_iter();
        rendition.chain(self.rungs.specs()).collect()
    }

    /// The ring to take units from; none while the rendition for it is not there.
    fn ring_of(&self, rings: Rings<'_>) -> Option<RingId> {
        let Some(spec) = &self.rendition else {
            return Some(RingId::Source);
        };
        let mut renditions = rings.renditions.iter();
        let rendition = renditions.find(|it| it.spec == *spec && it.problem.is_none());
        rendition.map(|it| RingId::Rendition(it.id))
    }

    /// Takes what is new in the rings that were chosen for it. `origin_us` is the first picture of the transcoder that
    /// makes renditions, once there is one.
    pub(super) fn feed(
        &mut self,
        ctx: &mut Context,
        id: &BroadcastId,
        rings: Rings<'_>,
        origin_us: Option<i64>,
    ) {
        let Some(wanted) = self.wanted else {
            return;
        };
        let segment_ms = wanted.segment_ms.clamp(SEGMENT_MS_MIN, SEGMENT_MS_MAX);
        let how = Packaging {
            broadcast: id,
            segment_us: i64::from(segment_ms) * 1_000,
            grid: None,
        };
        let mut parts = Vec::new();
        if let Some(chosen) = self.ring_of(rings) {
            self.source.feed(ctx, how, chosen, rings, &mut parts);
        }
        if wanted.ladder {
            // What control is told with it is true from now on.
            for begins in parts.iter_mut().filter_map(|it| it.head.begins.as_mut()) {
                begins.rungs = Some(self.rungs.names());
            }
            if let Some(origin_us) = origin_us {
                self.rungs.feed(ctx, how, rings, origin_us, &mut parts);
            }
        }
        self.is_begun |= !parts.is_empty();
        put_out(ctx, parts);
    }
}

fn put_out(ctx: &mut Context, parts: Vec<Fragment>) {
    for part in parts {
        ctx.output(Output::Fragment(Box::new(part)));
    }
}

impl Broadcast {
    /// Selects what is packaged, and begins the renditions that this takes.
    pub(crate) fn select_for_packager(
        &mut self,
        ctx: &mut Context,
        facts: &SourceFacts,
        refusals: &mut Vec<(RenditionSpec, String)>,
    ) {
        let usual = self.wanted.rendition_default;
        let ladder = &self.wanted.ladder;
        for spec in self.packager.select(ctx.now, facts, &usual, ladder) {
            self.require(ctx, Beneficiary::Viewers, spec, facts, refusals);
        }
    }
}
