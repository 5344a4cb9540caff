//! The rungs of a broadcast's ladder that are packaged beside the publisher's video: those that are not larger than it,
//! as far as there is capacity to make them. All have segments of the same times and numbers ([`Grid`]).

use std::time::{Duration, Instant};

use shardcast_link::{RenditionSpec, fragment::RungName};

use super::{
    grid::{Grid, Lines},
    number_by_time,
    variant::{Packaging, Variant},
};
use crate::{
    broadcast::{
        renditions::{Rings, SourceFacts},
        ring::RingId,
    },
    context::Context,
    io::Fragment,
    limits::RENDITION_REFUSED_MS,
};

#[derive(Debug)]
struct Rung {
    spec: RenditionSpec,
    variant: Variant,
    refused: Option<Refusal>,
}

/// It cannot be made at the moment.
#[derive(Debug)]
struct Refusal {
    until: Instant,
    /// For people.
    reason: String,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Rungs {
    /// In the order of their bit rates: what poor networks carry is made first.
    list: Vec<Rung>,
    grid: Option<Grid>,
    /// Segments of rungs that are no longer there have smaller numbers.
    free_number: u64,
    /// Lines of the publisher's largest video so far: a browser begins small.
    height_max: u32,
}

impl Rungs {
    /// No rung is packaged any more.
    pub(super) fn clear(&mut self) {
        self.retain(|_| false);
        self.height_max = 0;
    }

    fn retain(&mut self, is_kept: impl Fn(&RenditionSpec) -> bool) {
        let free_number = &mut self.free_number;
        self.list.retain(|rung| {
            let is_kept = is_kept(&rung.spec);
            if !is_kept {
                *free_number = rung.variant.free_number().max(*free_number);
            }
            is_kept
        });
    }

    /// Those of `ladder` that suit the publisher's video, from now on.
    pub(super) fn select(&mut self, now: Instant, ladder: &[RenditionSpec], facts: &SourceFacts) {
        if facts.codec.is_none() {
            return;
        }
        self.height_max = self.height_max.max(facts.height);
        // Without a height it is of a codec that is re-encoded in any case.
        let height_max = match facts.height {
            0 => u32::MAX,
            _ => self.height_max,
        };
        let suits = |spec: &RenditionSpec| spec.height <= height_max && ladder.contains(spec);
        self.retain(suits);
        for spec in ladder.iter().filter(|spec| suits(spec)) {
            if !self.list.iter().any(|rung| rung.spec == *spec) {
                self.list.push(Rung {
                    spec: *spec,
                    variant: Variant::new(Some(spec.into()), self.free_number),
                    refused: None,
                });
            }
        }
        self.list.sort_by_key(|rung| rung.spec.video_bps);
        for rung in &mut self.list {
            rung.refused.take_if(|refusal| now >= refusal.until);
        }
    }

    /// Those that are to be made.
    pub(super) fn specs(&self) -> impl Iterator<Item = RenditionSpec> + '_ {
        let made = self.list.iter().filter(|rung| rung.refused.is_none());
        made.map(|rung| rung.spec)
    }

    /// What control calls them.
    pub(super) fn names(&self) -> Vec<RungName> {
        self.specs().map(|spec| RungName::from(&spec)).collect()
    }

    /// Whether some rung takes its units from this ring.
    pub(super) fn take_from(&self, ring: RingId) -> bool {
        let mut rungs = self.list.iter();
        rungs.any(|rung| rung.variant.ring() == Some(ring))
    }

    /// A rendition cannot be made.
    pub(super) fn refuse(&mut self, now: Instant, spec: &RenditionSpec, reason: &str) {
        for rung in self.list.iter_mut().filter(|rung| rung.spec == *spec) {
            rung.variant.pause();
            rung.refused = Some(Refusal {
                until: now + Duration::from_millis(RENDITION_REFUSED_MS),
                reason: reason.to_owned(),
            });
        }
    }

    /// Why one is not made, for people.
    pub(super) fn problem(&self) -> Option<&str> {
        let mut refused = self.list.iter().filter_map(|rung| rung.refused.as_ref());
        refused.next().map(|refusal| refusal.reason.as_str())
    }

    /// The grid for what is packaged now.
    fn grid(&mut self, ctx: &Context, lines: Lines) -> Grid {
        let grid = self.grid.filter(|grid| grid.is_of(lines));
        let grid = grid.unwrap_or_else(|| {
            let used = self.list.iter().map(|rung| rung.variant.free_number());
            let number = match used.max().unwrap_or(0).max(self.free_number) {
                0 => number_by_time(ctx),
                free_number => free_number,
            };
            // The keyframe to begin with is not as old.
            let before_us = 2 * (lines.segment_us + lines.gop_us);
            Grid::new(lines, ctx.now_us() - before_us, number)
        });
        *self.grid.insert(grid)
    }

    /// Takes what is new in the rings of renditions; parts that are whole with it go into `out`. `origin_us` is the
    /// first picture of their transcoder.
    pub(super) fn feed(
        &mut self,
        ctx: &Context,
        how: Packaging<'_>,
        rings: Rings<'_>,
        origin_us: i64,
        out: &mut Vec<Fragment>,
    ) {
        let gops_ms = self.list.iter().map(|rung| rung.spec.gop_ms);
        let Some(gop_ms) = gops_ms.max() else {
            return;
        };
        let lines = Lines {
            segment_us: how.segment_us,
            gop_us: i64::from(gop_ms) * 1_000,
            origin_us,
        };
        let how = Packaging {
            grid: Some(self.grid(ctx, lines)),
            ..how
        };
        for rung in self.list.iter_mut().filter(|rung| rung.refused.is_none()) {
            let mut made = rings.renditions.iter();
            let made = made.find(|it| it.spec == rung.spec && it.problem.is_none());
            if let Some(rendition) = made {
                let ring = RingId::Rendition(rendition.id);
                rung.variant.feed(ctx, how, ring, rings, out);
            }
        }
    }
}
