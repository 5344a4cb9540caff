//! The viewers of a broadcast: consumers of its rings that are sent media over WebRTC. Each has a
//! session, a place in the ring and a pace of its own; payloads are shared. A viewer that stalls or
//! fails is dropped and costs the others nothing.

mod bandwidth;
mod circle;
mod ladder;
mod pacer;
mod padding;
mod playable;
mod quality;
mod restart;
mod session;
mod video_feed;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use shardcast_link::{Event, Fault, Problem, RenditionSpec, SessionId, ViewEndReason, ViewRefusal};

use self::{
    circle::Circle, padding::Padding, quality::Quality, session::ViewerSession,
    video_feed::VideoFeed,
};
use super::{Broadcast, Source, consumers::rings};
use crate::{
    broadcast::ring::RingId,
    context::{Context, TimerKey},
    ids::SessionKey,
    limits::{VIEWERS_KEYFRAME_MS, VIEWERS_MAX, VIEWERS_PER_BROADCAST_MAX, VIEWERS_STARTING_MAX},
    webrtc::{
        negotiation::Answer,
        route::Route,
        viewer::{Viewer, ViewerEvent},
        viewer_negotiation::View,
    },
};

/// A client's wish to watch, as control hands it on.
#[derive(Debug)]
pub(crate) struct ViewRequest {
    pub(crate) session: SessionId,
    pub(crate) offer: Option<String>,
    pub(crate) start_timeout: Duration,
}

/// All viewers of a broadcast.
#[derive(Debug, Default)]
pub(crate) struct Viewers {
    sessions: BTreeMap<SessionKey, Box<ViewerSession>>,
    circle: Circle,
    /// When they last had a keyframe requested.
    keyframe_asked: Option<Instant>,
    /// When a wish of theirs last led to a selection at once.
    selected_at: Option<Instant>,
    /// What was selected last in the place of a publisher's video that browsers do not take.
    like_source: Option<RenditionSpec>,
}

impl Viewers {
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn contains(&self, key: SessionKey) -> bool {
        self.sessions.contains_key(&key)
    }

    /// Those whose media flows.
    pub(super) fn watching(&self) -> u32 {
        let sessions = self.sessions.values();
        let watching = sessions.filter(|session| session.viewer.is_connected());
        u32::try_from(watching.count()).unwrap_or(u32::MAX)
    }

    /// Whether somebody is sent audio, which is Opus.
    pub(super) fn take_opus(&self) -> bool {
        self.sessions.values().any(|session| session.takes_opus())
    }

    fn insert(&mut self, key: SessionKey, session: ViewerSession) {
        self.sessions.insert(key, Box::new(session));
        self.circle.joined();
    }

    /// Something is new for all of them; whether there are any.
    pub(super) fn are_behind(&mut self) -> bool {
        self.circle.begin(self.sessions.len());
        !self.sessions.is_empty()
    }

    /// Who is to be given what is new next.
    fn next_to_feed(&mut self) -> Option<SessionKey> {
        self.circle.next(&self.sessions)
    }

    /// Whether a keyframe may be requested for them now.
    fn may_ask(&mut self, now: Instant) -> bool {
        let apart = Duration::from_millis(VIEWERS_KEYFRAME_MS);
        let recently = |at: Instant| now.saturating_duration_since(at) < apart;
        let may = !self.keyframe_asked.is_some_and(recently);
        if may {
            self.keyframe_asked = Some(now);
        }
        may
    }
}

impl Broadcast {
    /// Takes a client that wants to watch.
    pub(crate) fn view(&mut self, ctx: &mut Context, request: ViewRequest) {
        let session = request.session.clone();
        match self.begin_view(ctx, request) {
            Ok((key, answer)) => {
                ctx.event(Event::ViewDescribed {
                    session,
                    sdp: answer.sdp,
                    candidates: answer.candidates,
                });
                self.receive_viewer(ctx, key);
            }
            Err((refusal, problem)) => ctx.event(Event::ViewRefused {
                session,
                refusal,
                problem,
            }),
        }
    }

    fn begin_view(
        &mut self,
        ctx: &mut Context,
        request: ViewRequest,
    ) -> Result<(SessionKey, Answer), (ViewRefusal, Problem)> {
        self.may_be_viewed(ctx)?;
        let key = SessionKey {
            broadcast: self.key,
            number: ctx.ids.next(),
        };
        let ufrag = format!("s{}v{:x}", ctx.shard, key.number);
        let has_ladder = !self.wanted.ladder.is_empty();
        let view = View {
            session: request.session.clone(),
            ufrag: ufrag.clone(),
            offer: request.offer.as_deref(),
            start_timeout: request.start_timeout,
            has_video: self.expects_video(),
            has_data: self.wanted.data.is_enabled,
            has_ladder,
            seed: ctx.seed ^ key.number,
        };
        let begin = || Viewer::begin(ctx, view);
        let (viewer, answer) = catch_unwind(AssertUnwindSafe(begin)).unwrap_or_else(|_| {
            tracing::error!("a viewer's offer made the shard fail; it is refused");
            let message = "the SDP offer made the server fail: its operator finds more in the log";
            Err(refused(
                ViewRefusal::Internal,
                Fault::Internal,
                message.to_owned(),
            ))
        })?;
        let session = ViewerSession {
            viewer,
            quality: Quality::new(ctx.now),
            video: VideoFeed::new(ctx.now),
            padding: Padding::default(),
            wants_video: true,
            wants_audio: true,
            video_at: None,
            audio: None,
            audio_us: None,
        };
        self.viewers.insert(key, session);
        ctx.viewers.sessions += 1;
        ctx.viewers.starting += 1;
        ctx.demux.add(key, request.session, ufrag);
        Ok((key, answer))
    }

    fn may_be_viewed(&mut self, ctx: &mut Context) -> Result<(), (ViewRefusal, Problem)> {
        if self.source == Source::Off {
            let message = "the broadcast is not on air".to_owned();
            return Err(refused(ViewRefusal::NotOnAir, Fault::Publisher, message));
        }
        let count = ctx.viewers;
        if count.sessions >= VIEWERS_MAX
            || count.starting >= VIEWERS_STARTING_MAX
            || self.viewers.len() >= VIEWERS_PER_BROADCAST_MAX
        {
            let message = "there are as many viewers here as may be: add shards or machines";
            return Err(refused(
                ViewRefusal::Full,
                Fault::Operator,
                message.to_owned(),
            ));
        }
        match self.cannot_be_watched(ctx) {
            None => Ok(()),
            Some(words) => Err(refused(ViewRefusal::Unplayable, Fault::Publisher, words)),
        }
    }

    /// The client's answer to the shard's offer.
    pub(crate) fn view_answer(&mut self, ctx: &mut Context, key: SessionKey, sdp: &str) {
        let mut usable = true;
        self.with_viewer(ctx, key, |session| usable = session.viewer.answer(sdp));
        if usable {
            self.receive_viewer(ctx, key);
        } else {
            self.end_viewer(ctx, key, ViewEndReason::BadDescription);
        }
    }

    /// Which tracks a viewer wants from now on.
    pub(crate) fn view_tracks(
        &mut self,
        ctx: &mut Context,
        key: SessionKey,
        (video, audio): (bool, bool),
    ) {
        self.with_viewer(ctx, key, |session| {
            if video && !session.wants_video {
                session.video.restart();
            }
            session.wants_video = video;
            session.wants_audio = audio;
        });
        self.feed_viewer(ctx, key);
    }

    pub(crate) fn viewer_datagram(
        &mut self,
        ctx: &mut Context,
        key: SessionKey,
        route: Route,
        payload: &[u8],
    ) {
        let now = ctx.now;
        self.with_viewer(ctx, key, |session| {
            session.viewer.datagram(now, route, payload);
        });
        self.receive_viewer(ctx, key);
        self.data_may_go_on(ctx, key);
    }

    pub(crate) fn viewer_authenticates(
        &self,
        ctx: &Context,
        key: SessionKey,
        route: Route,
        payload: &[u8],
    ) -> bool {
        let Some(session) = self.viewers.sessions.get(&key) else {
            return false;
        };
        let check = || session.viewer.accepts(ctx.now, route, payload);
        catch_unwind(AssertUnwindSafe(check)).unwrap_or(false)
    }

    pub(crate) fn viewer_candidate(&mut self, ctx: &mut Context, key: SessionKey, candidate: &str) {
        self.with_viewer(ctx, key, |session| session.viewer.candidate(candidate));
        self.receive_viewer(ctx, key);
    }

    pub(crate) fn viewer_timeout(&mut self, ctx: &mut Context, key: SessionKey) {
        let now = ctx.now;
        self.with_viewer(ctx, key, |session| session.viewer.timeout(now));
        self.feed_viewer(ctx, key);
    }

    /// Gives every viewer what is new in its rings, as many of them as a turn takes: the others are due at once. One for
    /// which nothing is new costs no more than the look: each picture of each rung comes through here.
    pub(crate) fn feed_viewers(&mut self, ctx: &mut Context) {
        while let Some(key) = self.viewers.next_to_feed() {
            if self.send_to_viewer(ctx, key) {
                self.receive_viewer(ctx, key);
            }
            if ctx.is_turn_full() && self.viewers.circle.goes_on() {
                return ctx.timers.set(TimerKey::Viewers(self.key), Some(ctx.now));
            }
        }
    }

    fn feed_viewer(&mut self, ctx: &mut Context, key: SessionKey) {
        self.send_to_viewer(ctx, key);
        self.receive_viewer(ctx, key);
    }

    /// Sends a viewer what is new for it; whether its session has something to say then.
    fn send_to_viewer(&mut self, ctx: &mut Context, key: SessionKey) -> bool {
        let rings = rings(&self.ingest, &self.renditions, self.source);
        let Some(session) = self.viewers.sessions.get_mut(&key) else {
            return false;
        };
        let send = || session.send(ctx, rings);
        let Ok(sent) = catch_unwind(AssertUnwindSafe(send)) else {
            self.viewer_failed(ctx, key);
            return false;
        };
        if let Some(ring) = sent.switched {
            let height = match ring {
                RingId::Source => self.ingest.picture_size().map(|(_, height)| height),
                RingId::Rendition(id) => rings.rendition(id).map(|it| it.spec.height),
            };
            ctx.event(Event::ViewSwitched {
                session: session.viewer.session.clone(),
                height: height.unwrap_or_default(),
            });
        }
        let is_paced = session.video_at.is_some();
        if let Some(rung) = sent.lacks_keyframe {
            self.renditions.request_keyframe(ctx, rung);
        }
        if sent.keyframe_wanted {
            self.viewer_wants_keyframe(ctx);
        }
        if let Some(reason) = sent.ended {
            self.end_viewer(ctx, key, reason);
        }
        sent.written || is_paced
    }

    /// Takes everything that a viewer's session tells.
    pub(super) fn receive_viewer(&mut self, ctx: &mut Context, key: SessionKey) {
        while let Some(session) = self.viewers.sessions.get_mut(&key) {
            let poll = || session.viewer.poll(ctx);
            match catch_unwind(AssertUnwindSafe(poll)) {
                Ok(None) => {
                    let at = session.next_timeout();
                    return ctx.timers.set(TimerKey::Session(key), at);
                }
                Ok(Some(ViewerEvent::Ended(reason))) => {
                    return self.end_viewer(ctx, key, reason);
                }
                Ok(Some(ViewerEvent::Path(path))) => self.viewer_path(ctx, key, path),
                Ok(Some(ViewerEvent::Reported(mut report))) => {
                    report.estimate_bps = session.quality.estimate_bps();
                    let session = session.viewer.session.clone();
                    let (broadcast, report) = (self.wanted.id.clone(), *report);
                    ctx.event(Event::ViewerReport {
                        session,
                        broadcast,
                        report,
                    });
                }
                Ok(Some(ViewerEvent::Data(event))) => self.data_event(ctx, key, event),
                Ok(Some(ViewerEvent::KeyframeWanted)) => self.viewer_lacks_picture(ctx, key),
                Ok(Some(ViewerEvent::Connected)) => {
                    ctx.viewers.starting = ctx.viewers.starting.saturating_sub(1);
                    self.data.watches(key);
                    ctx.event(Event::Viewing {
                        session: session.viewer.session.clone(),
                        broadcast: self.wanted.id.clone(),
                    });
                    if playable::unplayable(&self.ingest.source_facts(ctx.now)).is_some() {
                        self.selection_due = true;
                        self.flush(ctx);
                    }
                    return self.feed_viewer(ctx, key);
                }
                Err(_) => return self.viewer_failed(ctx, key),
            }
        }
    }

    /// A client cannot decode before the next keyframe of what it is sent.
    fn viewer_lacks_picture(&mut self, ctx: &mut Context, key: SessionKey) {
        let session = self.viewers.sessions.get(&key);
        match session.map(|session| session.video.ring()) {
            Some(RingId::Rendition(id)) => self.renditions.request_keyframe(ctx, id),
            Some(RingId::Source) => self.viewer_wants_keyframe(ctx),
            None => {}
        }
    }

    /// Asks the publisher, or the filler while there is none, at most once a second for all viewers.
    fn viewer_wants_keyframe(&mut self, ctx: &mut Context) {
        if self.viewers.may_ask(ctx.now) {
            self.ingest.filler.keyframe_wanted();
            self.request_keyframe(ctx);
        }
    }

    /// A panic in the protocols below ends this one session, not the shard.
    pub(super) fn with_viewer(
        &mut self,
        ctx: &mut Context,
        key: SessionKey,
        run: impl FnOnce(&mut ViewerSession),
    ) {
        if let Some(session) = self.viewers.sessions.get_mut(&key)
            && catch_unwind(AssertUnwindSafe(|| run(session))).is_err()
        {
            self.viewer_failed(ctx, key);
        }
    }

    fn viewer_failed(&mut self, ctx: &mut Context, key: SessionKey) {
        if let Some(session) = self.viewers.sessions.get(&key) {
            let session = &session.viewer.session;
            tracing::error!(%session, "a viewer's session failed and is ended");
        }
        self.end_viewer(ctx, key, ViewEndReason::Internal);
    }

    /// Ends one viewer and tells control.
    pub(crate) fn end_viewer(&mut self, ctx: &mut Context, key: SessionKey, reason: ViewEndReason) {
        if self.players.contains(key) {
            return self.end_player(ctx, key, reason);
        }
        let Some(mut session) = self.viewers.sessions.remove(&key) else {
            return;
        };
        self.data.closed(key);
        let viewer = &mut session.viewer;
        ctx.demux.remove(key, &viewer.session);
        ctx.timers.set(TimerKey::Session(key), None);
        ctx.viewers.sessions = ctx.viewers.sessions.saturating_sub(1);
        if !viewer.is_connected() {
            ctx.viewers.starting = ctx.viewers.starting.saturating_sub(1);
        }
        if reason != ViewEndReason::Internal {
            let close = || viewer.close(ctx);
            let _ = catch_unwind(AssertUnwindSafe(close));
        }
        ctx.close_peers(key);
        ctx.event(Event::ViewEnded {
            session: viewer.session.clone(),
            broadcast: self.wanted.id.clone(),
            reason,
        });
    }

    /// The broadcast is over for all of them.
    pub(super) fn end_viewers(&mut self, ctx: &mut Context, reason: ViewEndReason) {
        self.end_players(ctx, reason);
        while let Some(key) = self.viewers.sessions.keys().next().copied() {
            self.end_viewer(ctx, key, reason);
        }
        ctx.timers.set(TimerKey::Viewers(self.key), None);
    }
}

fn refused(refusal: ViewRefusal, fault: Fault, message: String) -> (ViewRefusal, Problem) {
    (refusal, Problem { fault, message })
}
