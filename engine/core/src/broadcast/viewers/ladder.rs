//! The rungs that viewers are sent instead of the publisher's video: which are wanted, and by how many.

use std::time::{Duration, Instant};

use shardcast_link::RenditionSpec;

use super::Viewers;
use crate::{
    broadcast::{
        Broadcast,
        consumers::rings,
        renditions::{Beneficiary, Rendition, SourceFacts, VideoSource},
        ring::RingId,
    },
    context::Context,
    ids::{RenditionId, SessionKey},
    limits::{VIEWERS_FALL_SELECT_MS, VIEWERS_SELECT_MS},
    webrtc::delivery::PathSample,
};

impl Viewers {
    /// Selects for each viewer, and gives the rungs that this takes.
    fn select(
        &mut self,
        now: Instant,
        ladder: &[RenditionSpec],
        facts: &SourceFacts,
        like_source: Option<RenditionSpec>,
    ) -> Vec<RenditionSpec> {
        let mut rungs = Vec::new();
        for session in self.sessions.values_mut() {
            // Strangers who never finish DTLS open no codecs.
            if like_source.is_some() && !session.viewer.is_connected() {
                continue;
            }
            let selected = session.quality.select(now, ladder, facts, like_source);
            if let VideoSource::Rendition(spec) = selected
                && !rungs.contains(&spec)
            {
                rungs.push(spec);
            }
        }
        rungs
    }

    /// Whether a wish is looked at now, or with the selection of the next second: viewers that change their
    /// minds all the time open no codecs all the time.
    fn may_select(&mut self, now: Instant, apart_ms: u64) -> bool {
        let apart = Duration::from_millis(apart_ms);
        let recently = |at: Instant| now.saturating_duration_since(at) < apart;
        let may = !self.selected_at.is_some_and(recently);
        if may {
            self.selected_at = Some(now);
        }
        may
    }

    /// Whether a rung is the choice for some viewer.
    pub(crate) fn choose(&self, spec: &RenditionSpec) -> bool {
        let chosen = VideoSource::Rendition(*spec);
        let mut sessions = self.sessions.values();
        sessions.any(|session| session.quality.selected() == chosen)
    }

    /// Whether some viewer is sent this rendition in the place of the publisher's video, which it does not take.
    pub(crate) fn need(&self, spec: &RenditionSpec) -> bool {
        let mut sessions = self.sessions.values();
        sessions.any(|session| session.quality.needs(spec))
    }

    /// Whether some viewer is sent this rendition, or shall be.
    pub(crate) fn use_rendition(&self, rendition: &Rendition) -> bool {
        let is_chosen = rendition.problem.is_none() && self.choose(&rendition.spec);
        is_chosen || self.watching_rendition(rendition.id) > 0
    }

    /// Viewers that are sent this rendition.
    pub(crate) fn watching_rendition(&self, id: RenditionId) -> u32 {
        let sessions = self.sessions.values();
        let ring = RingId::Rendition(id);
        let watching = sessions.filter(|session| session.video.ring() == ring);
        u32::try_from(watching.count()).unwrap_or(u32::MAX)
    }

    /// A rung cannot be made: who was to be sent it gets the publisher's video.
    pub(crate) fn refuse(&mut self, now: Instant, spec: RenditionSpec, reason: &str) {
        for session in self.sessions.values_mut() {
            session.quality.refuse(now, spec, reason);
        }
    }

    /// Why some are not sent what would suit them, for people.
    pub(crate) fn problem(&self) -> Option<String> {
        let mut sessions = self.sessions.values();
        let problem = sessions.find_map(|session| session.quality.problem());
        problem.map(str::to_owned)
    }
}

impl Broadcast {
    /// The client wants video of this height; `None`: the best that its network carries.
    pub(crate) fn view_quality(&mut self, ctx: &mut Context, key: SessionKey, height: Option<u32>) {
        self.with_viewer(ctx, key, |session| session.quality.pin(height));
        if self.select_now(ctx, VIEWERS_SELECT_MS) {
            self.feed_viewer(ctx, key);
        }
    }

    /// How the path to a viewer is.
    pub(super) fn viewer_path(&mut self, ctx: &mut Context, key: SessionKey, path: PathSample) {
        let rings = rings(&self.ingest, &self.renditions, self.source);
        let session = self.viewers.sessions.get_mut(&key);
        if session.is_some_and(|session| session.path(path, rings)) {
            self.select_now(ctx, VIEWERS_FALL_SELECT_MS);
        }
    }

    /// Selects for all viewers, if that was not just done; whether it was.
    fn select_now(&mut self, ctx: &mut Context, apart_ms: u64) -> bool {
        let may = self.viewers.may_select(ctx.now, apart_ms);
        if may {
            self.selection_due = true;
            self.flush(ctx);
        }
        may
    }

    /// Selects which video each viewer is sent, and begins the rungs that are lacking.
    pub(crate) fn select_for_viewers(
        &mut self,
        ctx: &mut Context,
        facts: &SourceFacts,
        refusals: &mut Vec<(RenditionSpec, String)>,
    ) {
        let like_source = self.like_source(facts);
        let ladder = &self.wanted.ladder;
        for spec in self.viewers.select(ctx.now, ladder, facts, like_source) {
            self.require(ctx, Beneficiary::Viewers, spec, facts, refusals);
        }
    }
}
