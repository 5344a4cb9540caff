//! What [`simulation_hook`](crate::shard::simulation_hook) needs of a broadcast.

use std::{sync::Arc, time::Instant};

use shardcast_link::{EndReason, VideoCodec};

use super::{Broadcast, Renditions};
use crate::ingest_event::IngestEvent;
use crate::{
    broadcast::renditions::Rendition,
    broadcast::ring::Ring,
    context::Context,
    destination::Destination,
    ids::{RenditionId, SessionKey},
};

impl Broadcast {
    pub(crate) fn simulate_publish(&mut self, ctx: &mut Context, session: SessionKey, video: bool) {
        let before = self.publisher();
        self.publish(ctx, session, video);
        if let Some(before) = before {
            // A simulated one is none of the sessions.
            self.end_session(ctx, before, EndReason::Replaced);
        }
        self.flush(ctx);
    }

    pub(crate) fn simulate_hold(&mut self, ctx: &mut Context) {
        self.hold(ctx);
        self.flush(ctx);
    }

    pub(crate) fn simulate_end(&mut self, ctx: &mut Context) {
        self.end(ctx);
        self.flush(ctx);
    }

    /// A frame of the publisher's session: where it stands in the ring, if it can be decoded.
    pub(crate) fn simulate_video(
        &mut self,
        ctx: &mut Context,
        pts_us: i64,
        codec: VideoCodec,
        unit: &Arc<[u8]>,
        contiguous: bool,
    ) -> Option<Option<i64>> {
        let frame = self.ingest.video(ctx.now, pts_us, codec, unit, contiguous);
        let pts_us = frame.is_some().then(|| {
            let newest = self.ingest.ring.newest();
            newest.map(|unit| unit.pts_us)
        });
        if let Some(frame) = frame {
            self.decode(ctx, frame);
            self.feed(ctx);
        }
        self.flush(ctx);
        pts_us
    }

    /// What the publisher's session would have handed on of its audio.
    pub(crate) fn simulate_audio(
        &mut self,
        ctx: &mut Context,
        events: impl IntoIterator<Item = IngestEvent>,
    ) {
        if let Some(publisher) = self.publisher() {
            for event in events {
                self.take_event(ctx, publisher, event);
            }
            self.feed(ctx);
        }
        self.flush(ctx);
    }

    pub(crate) fn is_filler_seen(&self) -> bool {
        self.ingest.filler.is_seen()
    }

    pub(crate) fn samples_filled(&self) -> u64 {
        self.ingest.audio_status().samples_filled
    }

    pub(crate) fn keyframe_due(&self) -> Option<Instant> {
        self.ingest.keyframe_due()
    }

    pub(crate) fn ring(&self) -> &Ring {
        &self.ingest.ring
    }

    pub(crate) fn renditions(&self) -> &Renditions {
        &self.renditions
    }

    pub(crate) fn is_viewed(&self, id: RenditionId) -> bool {
        let mut list = self.renditions.list().iter();
        list.any(|it| it.id == id && self.viewers.use_rendition(it))
    }

    pub(crate) fn all_destinations(&self) -> impl Iterator<Item = &Destination> {
        self.consumers.destinations()
    }

    /// What the renditions that some consumer selects take, and decoding, of which one that is not
    /// measured counts 1.
    pub(crate) fn selected_permille(&self) -> u32 {
        let list = self.renditions.list().iter();
        let selected = list.filter(|it| self.chooses(it));
        let encode: u32 = selected.map(Rendition::used_permille).sum();
        encode + self.renditions.decode_permille().unwrap_or(1)
    }
}
