//! When a preview of a broadcast is made: a picture file of its newest keyframe.
//!
//! A preview is made of a keyframe that has not been shown before, once in a period at most, and one at a time. A
//! shard without time to spare makes none, nor does a broadcast whose renditions the governor has lowered: nobody
//! misses a picture of a page that comes a period later.

use std::time::{Duration, Instant};

use bytes::Bytes;
use shardcast_link::{BroadcastId, WantedPreview, fragment::PreviewHead};

use super::{
    Broadcast,
    renditions::Rings,
    ring::{Kind, RingId, Unit},
};
use crate::{
    context::Context,
    ids::{BroadcastKey, PreviewId},
    io::{Output, Preview, PreviewJob},
    limits::PREVIEW_SHARD_PERMILLE_MAX,
};

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Previews {
    wanted: Option<WantedPreview>,
    /// None is begun before.
    due_at: Option<Instant>,
    /// The one that is being made, and what it is to be called.
    making: Option<(PreviewId, PreviewHead)>,
    /// The keyframe that the last one was made of.
    shown: Option<(RingId, u64)>,
}

impl Previews {
    /// Takes over what control wants.
    pub(super) fn want(&mut self, wanted: Option<WantedPreview>) {
        if self.wanted != wanted {
            self.forget();
            self.wanted = wanted;
        }
    }

    /// Off air, or wanted otherwise: the one that is being made is not handed over.
    pub(super) fn forget(&mut self) {
        self.making = None;
        self.shown = None;
        self.due_at = None;
    }

    /// What is wanted, if one may begin now.
    fn due(&self, now: Instant) -> Option<WantedPreview> {
        let is_due = self.making.is_none() && self.due_at.is_none_or(|at| now >= at);
        self.wanted.filter(|_| is_due)
    }

    /// The job, if there is a keyframe that has not been shown.
    fn begin(
        &mut self,
        ctx: &mut Context,
        (broadcast, key): (&BroadcastId, BroadcastKey),
        wanted: WantedPreview,
        (rings, is_h264): (Rings<'_>, bool),
    ) {
        let Some((ring, seq, unit)) = newest_keyframe(rings, is_h264) else {
            return;
        };
        let Kind::Video { config, .. } = &unit.kind else {
            return;
        };
        if self.shown == Some((ring, seq)) {
            return;
        }
        self.shown = Some((ring, seq));
        let preview = PreviewId {
            broadcast: key,
            number: ctx.ids.next(),
        };
        let head = PreviewHead {
            broadcast: broadcast.clone(),
            format: wanted.format,
            at_unix_ms: ctx.clock.unix_ms(ctx.clock.instant(unit.pts_us)),
        };
        self.making = Some((preview, head));
        ctx.output(Output::Preview(PreviewJob {
            preview,
            record: config.record().clone(),
            keyframe: unit.payload.clone(),
            height: wanted.height,
            format: wanted.format,
        }));
    }

    /// What became of a job; the head of the preview if it is still wanted.
    fn end(&mut self, preview: PreviewId) -> Option<PreviewHead> {
        let (_, head) = self.making.take_if(|(making, _)| *making == preview)?;
        Some(head)
    }
}

/// The newest keyframe of the publisher's video where that is H.264, otherwise of the first rendition that has one.
fn newest_keyframe(rings: Rings<'_>, is_h264: bool) -> Option<(RingId, u64, &Unit)> {
    let renditions = rings.renditions.iter();
    let renditions = renditions.map(|it| (RingId::Rendition(it.id), &it.ring));
    let source = is_h264.then_some((RingId::Source, rings.source));
    let mut all = source.into_iter().chain(renditions);
    all.find_map(|(id, ring)| {
        let seq = ring.newest_keyframe()?;
        Some((id, seq, ring.get(seq)?))
    })
}

impl Broadcast {
    /// Has a preview made, if one is due.
    pub(super) fn request_preview(&mut self, ctx: &mut Context) {
        let Some(wanted) = self.previews.due(ctx.now).filter(|_| self.is_on_air()) else {
            return;
        };
        let period = Duration::from_millis(wanted.period_ms);
        if ctx.cpu_permille > PREVIEW_SHARD_PERMILLE_MAX || self.renditions.are_lowered() {
            // Left out.
            self.previews.due_at = Some(ctx.now + period);
            return;
        }
        let rings = super::consumers::rings(&self.ingest, &self.renditions, self.source);
        let video = (rings, self.ingest.is_h264());
        self.previews
            .begin(ctx, (&self.wanted.id, self.key), wanted, video);
        if self.previews.making.is_some() {
            self.previews.due_at = Some(ctx.now + period);
        }
    }

    /// What became of a preview. One that is not waited for any more is passed over.
    pub(crate) fn preview(
        &mut self,
        ctx: &mut Context,
        preview: PreviewId,
        result: Result<Bytes, String>,
    ) {
        let Some(head) = self.previews.end(preview) else {
            return;
        };
        match result {
            Ok(file) => {
                let made = Preview { head, file };
                ctx.output(Output::PreviewMade(Box::new(made)));
            }
            Err(reason) => {
                tracing::debug!(broadcast = %self.wanted.id, reason, "a preview is left out");
            }
        }
    }
}
