//! The sessions that publish to a broadcast: whatever the protocol, they hand on the same events, and
//! at most one of them is the publisher. Another one that sends media takes its place.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use shardcast_link::{EndReason, Event, Fault, Problem, PublisherStatus, SessionId, VideoStatus};

use super::{
    decode_clock::Stamp,
    session::{IngestSession, Protocol},
};
use crate::{
    broadcast::{Broadcast, Source},
    context::{Context, TimerKey},
    ids::SessionKey,
    ingest_event::IngestEvent,
    webrtc::{
        negotiation::{Answer, Offer},
        offer::{Offers, Terms},
        publisher::Publisher,
        route::Route,
    },
};

/// What an event of a session has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum News {
    /// Nothing for consumers.
    None,
    /// Audio, which may have to be coded first, and may wait for a picture.
    Audio,
    /// Something else may be in a ring.
    OfRings,
}

impl Broadcast {
    /// Takes the offer of a session that wants to publish here by WebRTC.
    pub(crate) fn accept(
        &mut self,
        ctx: &mut Context,
        session: SessionId,
        sdp: &str,
        start_timeout: Duration,
        terms: &Terms,
    ) {
        let key = SessionKey {
            broadcast: self.key,
            number: ctx.ids.next(),
        };
        let ufrag = format!("s{}p{:x}", ctx.shard, key.number);
        let offer = Offer {
            session: session.clone(),
            ufrag: ufrag.clone(),
            sdp,
            start_timeout,
            terms,
        };
        match contained(|| Publisher::accept(ctx, offer)) {
            Ok((publisher, answer)) => {
                let offers = publisher.offers();
                self.sessions.insert(key, IngestSession::web_rtc(publisher));
                ctx.demux.add(key, session.clone(), ufrag);
                answered(ctx, session, answer, offers);
                self.receive(ctx, key);
            }
            Err(problem) => ctx.event(Event::Refused { session, problem }),
        }
    }

    /// Changes what a running session sends. The broadcast goes on with the tracks that are left.
    pub(crate) fn renegotiate(&mut self, ctx: &mut Context, key: SessionKey, sdp: &str) {
        if self.viewers.contains(key) {
            return self.restart_viewer(ctx, key, sdp);
        }
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        let id = session.id().clone();
        let Some(publisher) = session.web_rtc_mut() else {
            return;
        };
        let change = || publisher.renegotiate(ctx.now, &ctx.identity, sdp);
        match catch_unwind(AssertUnwindSafe(change)) {
            Ok(Ok(answer)) => {
                let offers = publisher.offers();
                ctx.demux.rename(key, &answer.ufrag);
                answered(ctx, id, answer, offers);
                if self.publishes(key) {
                    self.offers(ctx.now, offers.video);
                }
                self.receive(ctx, key);
                self.flush(ctx);
            }
            Ok(Err(problem)) => {
                let session = id;
                ctx.event(Event::NotRenegotiated { session, problem });
            }
            Err(_) => self.session_failed(ctx, key),
        }
    }

    /// Takes a datagram of a session.
    pub(crate) fn datagram(
        &mut self,
        ctx: &mut Context,
        key: SessionKey,
        route: Route,
        payload: &[u8],
    ) {
        if self.viewers.contains(key) {
            return self.viewer_datagram(ctx, key, route, payload);
        }
        let now = ctx.now;
        self.with_session(ctx, key, |session| {
            if let Some(publisher) = session.web_rtc_mut() {
                publisher.datagram(now, route, payload);
            }
        });
        self.data_may_go_on(ctx, key);
    }

    /// Whether a STUN request from a new address is really from the session that it names.
    pub(crate) fn authenticates(
        &self,
        ctx: &Context,
        key: SessionKey,
        route: Route,
        payload: &[u8],
    ) -> bool {
        let Some(session) = self.sessions.get(&key) else {
            return self.viewer_authenticates(ctx, key, route, payload);
        };
        let Protocol::WebRtc(publisher) = &session.protocol else {
            return false;
        };
        let check = || publisher.accepts(ctx.now, route, payload);
        catch_unwind(AssertUnwindSafe(check)).unwrap_or(false)
    }

    /// Takes a candidate that the client of a session trickled.
    pub(crate) fn candidate(&mut self, ctx: &mut Context, key: SessionKey, candidate: &str) {
        if self.viewers.contains(key) {
            return self.viewer_candidate(ctx, key, candidate);
        }
        self.with_session(ctx, key, |session| {
            if let Some(publisher) = session.web_rtc_mut() {
                publisher.candidate(candidate);
            }
        });
    }

    /// A deadline of a session has come.
    pub(crate) fn session_timeout(&mut self, ctx: &mut Context, key: SessionKey) {
        if self.viewers.contains(key) {
            return self.viewer_timeout(ctx, key);
        }
        if self.players.contains(key) {
            return self.player_timeout(ctx, key);
        }
        let now = ctx.now;
        self.with_session(ctx, key, |session| session.timeout(now));
    }

    /// Asks the publisher for a keyframe, if there is one and it was not just asked; whether it was.
    pub(crate) fn request_keyframe(&mut self, ctx: &mut Context) -> bool {
        let Source::Publishing { session: key, .. } = self.source else {
            return false;
        };
        let now = ctx.now;
        let mut requested = false;
        self.with_session_unread(ctx, key, |session| {
            requested = session.request_keyframe(now);
        });
        if requested {
            self.ingest.keyframe_requested(now);
            self.receive(ctx, key);
        }
        requested
    }

    /// Runs something on a session and takes what comes of it.
    pub(in crate::broadcast) fn with_session(
        &mut self,
        ctx: &mut Context,
        key: SessionKey,
        run: impl FnOnce(&mut IngestSession),
    ) {
        self.with_session_unread(ctx, key, run);
        self.receive(ctx, key);
    }

    /// A panic in the protocols below ends this one session, not the shard.
    fn with_session_unread(
        &mut self,
        ctx: &mut Context,
        key: SessionKey,
        run: impl FnOnce(&mut IngestSession),
    ) {
        if let Some(session) = self.sessions.get_mut(&key) {
            let run = || run(session);
            if catch_unwind(AssertUnwindSafe(run)).is_err() {
                self.session_failed(ctx, key);
            }
        }
    }

    fn session_failed(&mut self, ctx: &mut Context, key: SessionKey) {
        if let Some(session) = self.sessions.get(&key) {
            tracing::error!(session = %session.id(), "a publisher's session failed and is ended");
        }
        self.end_session(ctx, key, EndReason::Internal);
    }

    /// Takes everything that a session hands on.
    pub(super) fn receive(&mut self, ctx: &mut Context, key: SessionKey) {
        let mut news = News::None;
        while let Some(session) = self.sessions.get_mut(&key) {
            let poll = || session.poll(ctx);
            match catch_unwind(AssertUnwindSafe(poll)) {
                Ok(Some(IngestEvent::Ended(reason))) => {
                    return self.end_session(ctx, key, reason);
                }
                Ok(Some(event)) => news = news.max(self.take_event(ctx, key, event)),
                Ok(None) => {
                    let at = session.next_timeout();
                    ctx.timers.set(TimerKey::Session(key), at);
                    if news == News::OfRings {
                        self.feed(ctx);
                    }
                    if news != News::None {
                        self.flush(ctx);
                    }
                    return;
                }
                Err(_) => return self.session_failed(ctx, key),
            }
        }
    }

    /// Takes one event of a session.
    pub(crate) fn take_event(
        &mut self,
        ctx: &mut Context,
        key: SessionKey,
        event: IngestEvent,
    ) -> News {
        if let IngestEvent::Data(event) = event {
            // Channels open before media comes.
            self.data_event(ctx, key, event);
            return News::None;
        }
        let is_media = matches!(
            event,
            IngestEvent::Video { .. }
                | IngestEvent::Audio(_)
                | IngestEvent::AccessUnit { .. }
                | IngestEvent::Aac { .. }
        );
        let begun = is_media && self.begin(ctx, key);
        if !self.publishes(key) {
            return if begun { News::OfRings } else { News::None };
        }
        let now = ctx.now;
        match event {
            IngestEvent::Video {
                pts_us,
                codec,
                access_unit,
                contiguous,
            } => {
                let frame = self
                    .ingest
                    .video(now, pts_us, codec, &access_unit, contiguous);
                if let Some(frame) = frame {
                    self.decode(ctx, frame);
                }
            }
            IngestEvent::AccessUnit {
                pts_us,
                dts_us,
                unit,
            } => self.access_unit(ctx, key, Stamp { pts_us, dts_us }, *unit),
            IngestEvent::AacConfig(config) => self.ingest.set_aac(config),
            IngestEvent::Aac {
                pts_us,
                config,
                frame,
            } => {
                self.ingest.aac(now, config, pts_us, frame);
                if self.push_aac(ctx) {
                    self.feed_soon(ctx);
                }
                return News::Audio;
            }
            IngestEvent::Unreadable => self.ingest.damaged(now),
            IngestEvent::Audio(opus) => {
                self.ingest.audio(now, &opus);
                return News::Audio;
            }
            IngestEvent::AudioHeld(since_us) => {
                self.ingest.audio_held(now, since_us);
                return News::None;
            }
            IngestEvent::Data(_) | IngestEvent::Ended(_) => return News::None,
        }
        News::OfRings
    }

    /// Media of a session has arrived: from its first media on, it is the publisher and replaces the
    /// one before.
    fn begin(&mut self, ctx: &mut Context, key: SessionKey) -> bool {
        let session = self.sessions.get_mut(&key);
        let Some(session) = session.filter(|session| session.first_media.is_none()) else {
            return false;
        };
        session.first_media = Some(ctx.now);
        let (id, video) = (session.id().clone(), session.offers_video());
        let before = self.publisher();
        if before.is_some_and(|before| before > key) {
            // A session that began before the one in use: its client has gone on to a newer one.
            self.end_session(ctx, key, EndReason::Replaced);
            return false;
        }
        self.publish(ctx, key, video);
        if let Some(before) = before.filter(|before| *before != key) {
            self.end_session(ctx, before, EndReason::Replaced);
        }
        // What has come may be a picture, and somebody may be sent a rendition instead.
        self.select_renditions(ctx);
        let broadcast = self.wanted.id.clone();
        tracing::info!(%broadcast, session = %id, "media arrives");
        ctx.event(Event::Publishing {
            session: id,
            broadcast,
        });
        true
    }

    /// Ends a session and tells control; what the broadcast makes of it depends on the reason.
    pub(crate) fn end_session(&mut self, ctx: &mut Context, key: SessionKey, reason: EndReason) {
        let Some(mut session) = self.sessions.remove(&key) else {
            return;
        };
        let id = session.id().clone();
        self.data.closed(key);
        ctx.demux.remove(key, &id);
        ctx.timers.set(TimerKey::Session(key), None);
        if reason == EndReason::Internal {
            session.abandon(ctx);
        } else {
            session.close(ctx, reason);
        }
        ctx.close_peers(key);
        let is_publisher = self.publishes(key);
        if is_publisher {
            match reason {
                EndReason::Requested => self.end(ctx),
                _ => self.hold(ctx),
            }
        }
        let broadcast = self.wanted.id.clone();
        // Anybody can make sessions that never send media; the log is for the others.
        if is_publisher {
            tracing::info!(%broadcast, session = %id, ?reason, "publisher's session ended");
        }
        ctx.event(Event::Ended {
            session: id,
            broadcast,
            reason,
        });
        self.flush(ctx);
    }

    pub(crate) fn publisher_status(&self, ctx: &Context) -> Option<PublisherStatus> {
        let session = self.sessions.get(&self.publisher()?)?;
        let reception = session.reception();
        let ingest = &self.ingest;
        let age_ms = session.media_age(ctx.now).as_millis();
        Some(PublisherStatus {
            session: session.id().clone(),
            protocol: session.speaks(),
            since_unix_ms: session.first_media.map_or(0, |at| ctx.clock.unix_ms(at)),
            remote: session.remote(),
            video: ingest.has_video().then(|| self.video_status(ctx.now)),
            audio: ingest.has_audio().then(|| ingest.audio_status()),
            bytes_received: reception.bytes,
            bitrate_bps: 8 * reception.bytes.saturating_sub(session.bytes_at_last_status),
            packets_lost: reception.packets_lost,
            jitter_ms: reception.jitter_ms,
            rtt_ms: reception.rtt_ms,
            media_age_ms: u64::try_from(age_ms).unwrap_or(u64::MAX),
        })
    }

    /// The size of what is not H.264 is known by its decoder alone.
    fn video_status(&self, now: Instant) -> VideoStatus {
        let mut video = self.ingest.video_status();
        video.problem = self.video_problem(now);
        if video.width == 0
            && let Some((width, height)) = self.renditions.decoded_size()
        {
            (video.width, video.height) = (width, height);
        }
        video
    }
}

fn answered(ctx: &mut Context, session: SessionId, answer: Answer, offers: Offers) {
    ctx.event(Event::Answer {
        session,
        sdp: answer.sdp,
        candidates: answer.candidates,
        offers_video: offers.video,
        offers_audio: offers.audio,
    });
}

/// Takes an offer. A panic in the protocols below costs this one offer, not the shard.
fn contained<T>(accept: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
    catch_unwind(AssertUnwindSafe(accept)).unwrap_or_else(|_| {
        tracing::error!("an offer made the shard fail; it is refused");
        Err(Problem {
            fault: Fault::Internal,
            message: "the SDP offer made the server fail: its operator finds more in the log"
                .into(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_that_makes_the_protocols_panic_is_refused() {
        let failed = contained(|| -> Result<(), Problem> { panic!("in str0m") });
        assert_eq!(failed.unwrap_err().fault, Fault::Internal);
        assert_eq!(contained(|| Ok(1)), Ok(1));
    }
}
