//! The viewers of a broadcast: consumers of its rings that are sent media over WebRTC. Each has a
//! session, a place in the ring and a pace of its own; payloads are shared. A viewer that stalls or
//! fails is dropped and costs the others nothing.

mod video_feed;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use shardcast_link::{Event, Fault, Problem, SessionId, VideoCodec, ViewEndReason, ViewRefusal};

use self::video_feed::{Next, VideoFeed};
use super::{Broadcast, Source};
use crate::{
    broadcast::ring::{Kind, Ring},
    context::{Context, TimerKey},
    ids::SessionKey,
    limits::{VIEWERS_KEYFRAME_MS, VIEWERS_MAX, VIEWERS_PER_BROADCAST_MAX, VIEWERS_STARTING_MAX},
    webrtc::{
        negotiation::Answer,
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

/// One viewer.
#[derive(Debug)]
struct ViewerSession {
    viewer: Viewer,
    video: VideoFeed,
    /// The client wants video now.
    wants_video: bool,
    wants_audio: bool,
    /// Video goes on then, by its pace.
    video_at: Option<Instant>,
    /// The unit of the ring behind the last Opus packet; audio begins at the live edge.
    audio: Option<u64>,
}

/// All viewers of a broadcast.
#[derive(Debug, Default)]
pub(crate) struct Viewers {
    sessions: BTreeMap<SessionKey, Box<ViewerSession>>,
    /// When they last had a keyframe requested.
    keyframe_asked: Option<Instant>,
}

/// What sending to a viewer has come to.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    keyframe_wanted: bool,
    ended: Option<ViewEndReason>,
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

impl ViewerSession {
    /// Sends what the ring has and the pace allows.
    fn send(&mut self, ctx: &mut Context, ring: &Ring, video_bps: u64) -> Sent {
        let mut sent = Sent::default();
        self.video_at = None;
        if !self.viewer.is_connected() {
            return sent;
        }
        let mut written = self.send_audio(ctx, ring);
        while self.wants_video && self.viewer.takes_video() {
            match self.video.next(ctx.now, ring, video_bps) {
                Next::Packet {
                    payload,
                    at_us,
                    last,
                } => {
                    self.viewer.write_video(ctx, at_us, &payload, last);
                    written = true;
                }
                Next::At(at) => {
                    self.video_at = Some(at);
                    break;
                }
                Next::Nothing => break,
                Next::KeyframeWanted => {
                    sent.keyframe_wanted = true;
                    break;
                }
                Next::Unplayable => {
                    sent.ended = Some(ViewEndReason::Unplayable);
                    break;
                }
            }
        }
        if written {
            self.viewer.run(ctx.now);
        }
        sent
    }

    /// Sends the Opus packets that are new in the ring; whether there were some.
    fn send_audio(&mut self, ctx: &Context, ring: &Ring) -> bool {
        let new = self.audio.unwrap_or(ring.end()).max(ring.start())..ring.end();
        self.audio = Some(ring.end());
        let mut written = false;
        for seq in new {
            let Some(unit) = ring.get(seq).filter(|_| self.takes_opus()) else {
                continue;
            };
            if let (Kind::Opus { .. }, Some([payload])) =
                (&unit.kind, ring.payloads(seq).map(|payloads| &payloads[..]))
            {
                self.viewer.write_audio(ctx, unit.pts_us, payload);
                written = true;
            }
        }
        written
    }

    fn takes_opus(&self) -> bool {
        self.wants_audio && self.viewer.is_connected() && self.viewer.takes_audio()
    }

    fn next_timeout(&self) -> Option<Instant> {
        let session = self.viewer.next_timeout();
        session.map(|at| self.video_at.map_or(at, |video| video.min(at)))
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
        let view = View {
            session: request.session.clone(),
            ufrag: ufrag.clone(),
            offer: request.offer.as_deref(),
            start_timeout: request.start_timeout,
            has_video: self.expects_video(),
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
            video: VideoFeed::new(ctx.now),
            wants_video: true,
            wants_audio: true,
            video_at: None,
            audio: None,
        };
        self.viewers.sessions.insert(key, Box::new(session));
        ctx.viewers.sessions += 1;
        ctx.viewers.starting += 1;
        ctx.demux.add(key, request.session, ufrag);
        Ok((key, answer))
    }

    fn may_be_viewed(&self, ctx: &Context) -> Result<(), (ViewRefusal, Problem)> {
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
        let facts = self.ingest.source_facts(ctx.now);
        let other = facts.codec.filter(|codec| *codec != VideoCodec::H264);
        let problem = match other {
            Some(codec) => format!(
                "the publisher sends {codec:?}, and viewers are sent H.264 as it comes: let the \
                 publisher prefer H.264"
            ),
            None if facts.b_frames => "the publisher sends B-frames, which browsers do not take: \
                turn them off in its encoder"
                .to_owned(),
            None => return Ok(()),
        };
        Err(refused(ViewRefusal::Unplayable, Fault::Publisher, problem))
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
        from: SocketAddr,
        to: SocketAddr,
        payload: &[u8],
    ) {
        let now = ctx.now;
        self.with_viewer(ctx, key, |session| {
            session.viewer.datagram(now, from, to, payload);
        });
        self.receive_viewer(ctx, key);
    }

    pub(crate) fn viewer_authenticates(
        &self,
        ctx: &Context,
        key: SessionKey,
        from: SocketAddr,
        to: SocketAddr,
        payload: &[u8],
    ) -> bool {
        let Some(session) = self.viewers.sessions.get(&key) else {
            return false;
        };
        let check = || session.viewer.accepts(ctx.now, from, to, payload);
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

    /// Gives every viewer what is new in the ring.
    pub(crate) fn feed_viewers(&mut self, ctx: &mut Context) {
        // Keys first: a viewer may end on the way.
        let mut next = self.viewers.sessions.keys().next().copied();
        while let Some(key) = next {
            self.feed_viewer(ctx, key);
            let behind = (std::ops::Bound::Excluded(key), std::ops::Bound::Unbounded);
            let mut others = self.viewers.sessions.range(behind);
            next = others.next().map(|(key, _)| *key);
        }
    }

    fn feed_viewer(&mut self, ctx: &mut Context, key: SessionKey) {
        let (ring, video_bps) = (&self.ingest.ring, self.ingest.video_bps());
        let Some(session) = self.viewers.sessions.get_mut(&key) else {
            return;
        };
        let send = || session.send(ctx, ring, video_bps);
        let Ok(sent) = catch_unwind(AssertUnwindSafe(send)) else {
            return self.viewer_failed(ctx, key);
        };
        if sent.keyframe_wanted {
            self.viewer_wants_keyframe(ctx);
        }
        match sent.ended {
            Some(reason) => self.end_viewer(ctx, key, reason),
            None => self.receive_viewer(ctx, key),
        }
    }

    /// Takes everything that a viewer's session tells.
    fn receive_viewer(&mut self, ctx: &mut Context, key: SessionKey) {
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
                Ok(Some(ViewerEvent::KeyframeWanted)) => self.viewer_wants_keyframe(ctx),
                Ok(Some(ViewerEvent::Connected)) => {
                    ctx.viewers.starting = ctx.viewers.starting.saturating_sub(1);
                    ctx.event(Event::Viewing {
                        session: session.viewer.session.clone(),
                        broadcast: self.wanted.id.clone(),
                    });
                    return self.feed_viewer(ctx, key);
                }
                Err(_) => return self.viewer_failed(ctx, key),
            }
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
    fn with_viewer(
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
        let Some(mut session) = self.viewers.sessions.remove(&key) else {
            return;
        };
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
        ctx.event(Event::ViewEnded {
            session: viewer.session.clone(),
            broadcast: self.wanted.id.clone(),
            reason,
        });
    }

    /// The broadcast is over for all of them.
    pub(super) fn end_viewers(&mut self, ctx: &mut Context, reason: ViewEndReason) {
        while let Some(key) = self.viewers.sessions.keys().next().copied() {
            self.end_viewer(ctx, key, reason);
        }
    }
}

fn refused(refusal: ViewRefusal, fault: Fault, message: String) -> (ViewRefusal, Problem) {
    (refusal, Problem { fault, message })
}
