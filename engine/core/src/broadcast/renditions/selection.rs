//! Selects which video each consumer is sent, begins and ends the renditions that this takes, and takes
//! the results of the transcoders that make them.

use std::time::Instant;

use shardcast_link::{RenditionSpec, VideoCodec};

use super::{Rendition, SourceFacts, VideoSource};
use crate::{
    broadcast::Broadcast,
    context::Context,
    ids::{RenditionId, VideoTranscoderId},
    io::VideoResult,
    limits::{RENDITION_FAILED_MS, RENDITION_REFUSED_MS, RENDITIONS_MAX, RENDITIONS_WITH_LEFT_MAX},
    transcode_budget::{Budget, SourceShape, Use},
};

/// Taken for the publisher's video until it is known.
const SHAPE_DEFAULT: SourceShape = SourceShape {
    width: 1_280,
    height: 720,
    frames_per_second: 30,
};

/// Why viewers are no longer sent a rung, as they are shown it.
const YIELDED: &str = "the rung that suits a viewer is not made: destinations need the transcode capacity of this shard. \
     Give more codec cores";

/// For whom a rendition is begun.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Beneficiary {
    Destination,
    Viewers,
}

impl Broadcast {
    /// Selects which video each consumer is sent, begins the renditions that are lacking and ends those
    /// without consumers.
    pub(crate) fn select_renditions(&mut self, ctx: &mut Context) {
        if std::mem::take(&mut self.selection_due) {
            let facts = self.source_facts(ctx.now);
            let mut refusals = Vec::new();
            for place in 0..self.consumers.len() {
                self.select_for(ctx, place, &facts, &mut refusals);
            }
            self.yield_to_destinations(ctx, &facts);
            self.select_for_viewers(ctx, &facts, &mut refusals);
            self.select_for_packager(ctx, &facts, &mut refusals);
            let unused: Vec<RenditionId> = self
                .renditions
                .list()
                .iter()
                .filter(|it| !self.uses(it))
                .map(|it| it.id)
                .collect();
            self.renditions.retain(|it| !unused.contains(&it.id));
            if !self.renditions.is_at_work() {
                self.renditions.close(ctx);
            }
            self.close_idle_audio_transcoders(ctx);
            self.renditions.begin(ctx);
            self.count_codec(ctx);
        }
        self.renditions.flush(ctx);
    }

    /// `refusals` are those of this selection, which hold for all consumers.
    fn select_for(
        &mut self,
        ctx: &mut Context,
        place: usize,
        facts: &SourceFacts,
        refusals: &mut Vec<(RenditionSpec, String)>,
    ) {
        let Some(consumer) = self.consumers.get_mut(place) else {
            return;
        };
        let usual = &self.wanted.rendition_default;
        let takes_media = consumer.takes_media();
        let picture = consumer.video_mut();
        if !takes_media {
            return picture.idle();
        }
        let spec = match picture.select(ctx.now, facts, usual) {
            VideoSource::Passthrough if facts.codec == Some(VideoCodec::H264) => {
                return picture.passed(ctx.now, facts);
            }
            VideoSource::Passthrough | VideoSource::None => return,
            VideoSource::Rendition(spec) => spec,
        };
        self.require(ctx, Beneficiary::Destination, spec, facts, refusals);
    }

    /// Sees to it that a rendition is made, or refuses it to all that were to be sent it.
    pub(crate) fn require(
        &mut self,
        ctx: &mut Context,
        whom: Beneficiary,
        spec: RenditionSpec,
        facts: &SourceFacts,
        refusals: &mut Vec<(RenditionSpec, String)>,
    ) {
        if self.renditions.of(&spec).is_some() {
            return;
        }
        let known = refusals.iter().find(|(refused, _)| *refused == spec);
        let reason = match known {
            Some((_, reason)) => reason.clone(),
            None => match self.begin_rendition(ctx, whom, spec) {
                Ok(()) => return,
                Err(reason) => reason,
            },
        };
        self.refuse(ctx.now, RENDITION_REFUSED_MS, spec, &reason, facts);
        refusals.push((spec, reason));
    }

    /// What a rendition would cost, in thousandths of a core; 0 for one that is made.
    ///
    /// # Errors
    /// Why it cannot begin, as a user is shown it.
    pub(crate) fn may_begin(
        &self,
        ctx: &mut Context,
        whom: Beneficiary,
        spec: &RenditionSpec,
    ) -> Result<u32, String> {
        if self.renditions.of(spec).is_some() {
            return Ok(0);
        }
        let renditions = self.renditions.list();
        let chosen = renditions.iter().filter(|it| self.chooses(it)).count();
        if chosen >= RENDITIONS_MAX || renditions.len() >= RENDITIONS_WITH_LEFT_MAX {
            return Err(format!(
                "a broadcast may have {RENDITIONS_MAX} different renditions: let destinations \
                 share one"
            ));
        }
        let shape = self.source_shape();
        let estimate_permille = ctx.budget.rendition_permille(spec, shape);
        let decode_permille = if self.renditions.transcoder().is_none() {
            ctx.budget.decode_permille(shape)
        } else {
            0
        };
        self.count_codec(ctx);
        let needed_permille = estimate_permille + decode_permille;
        match whom {
            Beneficiary::Destination => ctx.budget.admit(spec, needed_permille)?,
            Beneficiary::Viewers => ctx.budget.admit_for_viewers(spec, needed_permille)?,
        }
        Ok(estimate_permille)
    }

    fn begin_rendition(
        &mut self,
        ctx: &mut Context,
        whom: Beneficiary,
        spec: RenditionSpec,
    ) -> Result<(), String> {
        let estimate_permille = self.may_begin(ctx, whom, &spec)?;
        if self.renditions.transcoder().is_none() {
            let transcoder = VideoTranscoderId {
                broadcast: self.key,
                number: ctx.ids.next(),
            };
            self.renditions.open(ctx, transcoder);
        }
        let id = RenditionId(ctx.ids.next());
        let rendition = Rendition::new(id, spec, estimate_permille);
        self.renditions.add(rendition);
        tracing::info!(
            broadcast = %self.wanted.id,
            height = spec.height,
            frames_per_second = spec.frames_per_second,
            video_bps = spec.video_bps,
            "a rendition begins"
        );
        Ok(())
    }

    /// Ends rungs that viewers alone are sent, the most expensive first, as long as destinations lack what they take. Viewers go
    /// on with what there is, and do not get them back before there is room.
    fn yield_to_destinations(&mut self, ctx: &mut Context, facts: &SourceFacts) {
        self.count_codec(ctx);
        while ctx.budget.owed_permille() > 0 {
            let renditions = self.renditions.list().iter();
            let yielding = renditions.filter(|it| self.yields(it));
            let Some(spec) = yielding
                .max_by_key(|it| it.used_permille())
                .map(|it| it.spec)
            else {
                return;
            };
            tracing::info!(
                broadcast = %self.wanted.id,
                height = spec.height,
                "a rung of viewers ends: a destination needs the transcode capacity"
            );
            self.refuse(ctx.now, RENDITION_REFUSED_MS, spec, YIELDED, facts);
            self.count_codec(ctx);
        }
    }

    /// Takes a result of the video transcoder. One that was closed is passed over.
    pub(crate) fn video(
        &mut self,
        ctx: &mut Context,
        transcoder: VideoTranscoderId,
        result: VideoResult,
    ) {
        if self.renditions.transcoder() != Some(transcoder) {
            return;
        }
        let now = ctx.now;
        let before = match &result {
            VideoResult::Report(_) => self.renditions.report().cloned(),
            _ => None,
        };
        let news = self.renditions.result(now, result);
        if news.fed {
            self.feed(ctx);
        }
        if let Some(failed) = news.failed {
            let facts = self.source_facts(now);
            let mut renditions = self.renditions.list().iter();
            if let Some(failed) = renditions.find(|it| it.id == failed)
                && let Some(reason) = failed.problem.clone()
            {
                self.refuse(now, RENDITION_FAILED_MS, failed.spec, &reason, &facts);
            }
            self.selection_due = true;
        }
        if news.report
            && let (Some(before), Some(after)) = (before, self.renditions.report())
        {
            ctx.budget.measure(&before, after);
            self.count_codec(ctx);
        }
        self.flush(ctx);
    }

    /// Closes all transcoders of a broadcast that is off air or taken away.
    pub(crate) fn close_transcoders(&mut self, ctx: &mut Context) {
        self.close_audio_transcoders(ctx);
        self.renditions.retain(|_| false);
        self.renditions.close(ctx);
        ctx.budget.set_used(self.key, Use::default());
    }

    /// Refuses a rendition to each consumer and viewer that was to be sent it, with the reason.
    fn refuse(
        &mut self,
        now: Instant,
        again_ms: u64,
        spec: RenditionSpec,
        reason: &str,
        facts: &SourceFacts,
    ) {
        self.viewers.refuse(now, spec, reason);
        self.packager.refuse(now, &spec, reason);
        for consumer in self.consumers.iter_mut() {
            let picture = consumer.video_mut();
            if picture.selected() == VideoSource::Rendition(spec)
                && picture.refuse(now, again_ms, reason, facts)
            {
                tracing::warn!(
                    broadcast = %self.wanted.id,
                    consumer = consumer.name(),
                    "a rendition is refused: {reason}"
                );
            }
        }
    }

    /// Enters what the video transcoder of this broadcast takes into the budget of the shard.
    fn count_codec(&self, ctx: &mut Context) {
        let used = self.codec_use(&ctx.budget);
        ctx.budget.set_used(self.key, used);
    }

    /// What its video transcoder takes.
    fn codec_use(&self, budget: &Budget) -> Use {
        let renditions = &self.renditions;
        if renditions.transcoder().is_none() {
            return Use::default();
        }
        let decode_permille = renditions
            .decode_permille()
            .unwrap_or_else(|| budget.decode_permille(self.source_shape()));
        // What is being left for another one has a GOP to live at most.
        let chosen = || renditions.list().iter().filter(|it| self.chooses(it));
        let yielding = chosen().filter(|it| self.yields(it));
        Use {
            permille: decode_permille + chosen().map(Rendition::used_permille).sum::<u32>(),
            yielding_permille: yielding.map(Rendition::used_permille).sum(),
        }
    }

    /// The publisher's video, or what is taken for it.
    pub(crate) fn source_shape(&self) -> SourceShape {
        let known = self.ingest.picture_size();
        let size = self.renditions.decoded_size().or(known);
        let (width, height) = size.unwrap_or((SHAPE_DEFAULT.width, SHAPE_DEFAULT.height));
        let measured = self.ingest.frames_per_second();
        SourceShape {
            width,
            height,
            frames_per_second: if measured > 0 {
                measured
            } else {
                SHAPE_DEFAULT.frames_per_second
            },
        }
    }
}
