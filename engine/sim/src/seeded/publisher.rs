//! The simulated publisher: what a WebRTC session would hand to its broadcast, and how it comes,
//! goes and returns.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use shardcast_core::simulation_hook::SimulatedPublisher;
use shardcast_link::VideoCodec;

use super::{
    encoder::EncoderSession,
    microphone::Microphone,
    plan::{Change, SessionPlan},
    world::{RAN_BEFORE, SimEvent, Verdict, World, ms},
};
use crate::picture::{Picture, vp8};

/// Keyframe requests of destinations are at least so far apart, in milliseconds.
const REQUEST_MS_MIN: u64 = 300;

/// The publisher over all its sessions.
#[derive(Debug, Default)]
pub(super) struct PublisherState {
    session: Option<Session>,
    sessions: u64,
    /// Of the next picture.
    number: u64,
    /// Pictures that went into the ring.
    pub(super) admitted: BTreeSet<u64>,
    /// Some session's clock was ahead of the shard's, or far behind.
    pub(super) strange_clock: bool,
    /// Some session sent a codec that RTMP does not carry.
    pub(super) foreign: bool,
    /// Some picture was lost on its way to the shard.
    pub(super) lossy: bool,
    /// Seconds of what some encoder sent came at once.
    pub(super) bunched: bool,
    /// What some encoder sent was held back, so video transcoders had several pictures at once.
    pub(super) stalled: bool,
    over: bool,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) plan: SessionPlan,
    number: u64,
    /// When a keyframe is made.
    keyframe_at: Option<Instant>,
    last_keyframe: Option<Instant>,
    /// Pictures since then.
    since_keyframe: u64,
    /// A picture was lost since the last one.
    hole: bool,
    flows_since: Option<Instant>,
    /// A picture of it went into the ring.
    shown: bool,
    pub(super) microphone: Microphone,
    /// Media of it has arrived.
    began: bool,
    encoder: Option<EncoderSession>,
}

impl Session {
    /// Encodes the next picture; true if it is a keyframe.
    fn encode(&mut self, now: Instant, frame_ms: u64) -> bool {
        let first = self.last_keyframe.is_none();
        if let Some(encoder) = self.plan.encoder
            && encoder.is_key(self.since_keyframe, frame_ms)
        {
            self.keyframe_at = Some(now);
        }
        let key = first || self.keyframe_at.is_some_and(|at| at <= now);
        if key {
            self.keyframe_at = None;
            self.last_keyframe = Some(now);
        }
        self.since_keyframe = if key { 0 } else { self.since_keyframe + 1 };
        if self.encoder.is_none() {
            self.flows_since.get_or_insert(now);
        }
        key
    }
}

impl PublisherState {
    /// The session in use, if it has this number.
    pub(super) fn session_of(&mut self, number: u64) -> Option<&mut Session> {
        let session = self.session.as_mut();
        session.filter(|session| session.number == number)
    }

    pub(super) fn take_session(&mut self) -> Option<Session> {
        self.session.take()
    }

    pub(super) fn put_session(&mut self, session: Session) {
        self.session = Some(session);
    }

    /// Since when pictures arrive without a break.
    pub(super) fn flows_since(&self) -> Option<Instant> {
        self.session.as_ref()?.flows_since
    }

    pub(super) fn is_published(&self) -> bool {
        let session = self.session.as_ref();
        session.is_some_and(|session| session.began)
    }

    /// How many sessions there were. It is the number of the last.
    pub(super) fn sessions(&self) -> u64 {
        self.sessions
    }

    /// The encoder in use.
    pub(super) fn encoder(&mut self) -> Option<&mut EncoderSession> {
        self.session.as_mut()?.encoder.as_mut()
    }

    /// The session in use is this encoder's.
    pub(super) fn set_encoder(&mut self, encoder: EncoderSession) {
        if let Some(session) = &mut self.session {
            session.encoder = Some(encoder);
        }
    }

    /// Media of encoder `number` has arrived.
    pub(super) fn encoder_began(&mut self, number: u64) {
        if let Some(session) = self.session_of(number) {
            session.began = true;
        }
    }

    /// These pictures of encoder `number` went into the ring.
    pub(super) fn encoder_admitted(&mut self, now: Instant, number: u64, pictures: &[u64]) {
        self.admitted.extend(pictures);
        if let Some(session) = self.session_of(number)
            && !pictures.is_empty()
        {
            session.shown = true;
            session.flows_since.get_or_insert(now);
        }
    }

    /// What the encoder sends is held back, `long` enough for its place to be taken.
    pub(super) fn held_back(&mut self, long: bool) {
        self.strange_clock |= long;
        self.bunched |= long;
        self.stalled = true;
        if let Some(session) = &mut self.session {
            session.flows_since = None;
        }
    }

    /// RTMP does not carry the session's codec.
    pub(super) fn is_foreign(&self) -> bool {
        let session = self.session.as_ref();
        session.is_some_and(|session| session.plan.codec != VideoCodec::H264)
    }

    /// Bytes of a picture that is no keyframe; 0 without a publisher.
    pub(super) fn bytes_a_frame(&self) -> u64 {
        let session = self.session.as_ref();
        session.map_or(0, |session| session.plan.frame_bytes as u64)
    }

    /// Keyframes come when they are asked for.
    pub(super) fn hears(&self) -> bool {
        let session = self.session.as_ref();
        session.is_some_and(|session| session.plan.deaf_percent <= 20)
    }

    /// A session publishes, and pictures of it went into the ring.
    pub(super) fn is_taken(&self) -> bool {
        let session = self.session.as_ref();
        session.is_some_and(|session| session.shown)
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// The publisher is gone for good.
    pub(super) fn close(&mut self) {
        self.session = None;
        self.over = true;
    }
}

impl World {
    pub(super) fn publish(&mut self, plan: SessionPlan) -> Verdict {
        if !self.view().has_broadcast() {
            self.want()?;
        }
        let now = self.now;
        let session = &mut self.publisher.session;
        self.tally.count(match session {
            Some(_) => "publisher replaced",
            None => "publisher came",
        });
        self.publisher.sessions += 1;
        // A number is left out, so that the video goes on with a keyframe only.
        self.publisher.number += 1;
        self.publisher.strange_clock |= plan.is_strange();
        if plan.codec != VideoCodec::H264 {
            self.publisher.foreign = true;
            self.tally.count("publisher sends VP8");
        }
        let number = self.publisher.sessions;
        *session = Some(Session {
            plan,
            number,
            keyframe_at: None,
            last_keyframe: None,
            since_keyframe: 0,
            hole: false,
            flows_since: None,
            shown: false,
            microphone: Microphone::new(),
            began: plan.encoder.is_none(),
            encoder: None,
        });
        if let Some(encoder) = plan.encoder {
            self.publish_by_rtmp(number, encoder)?;
        } else {
            let was_on_air = self.view().is_on_air();
            if let Some(mut publisher) = SimulatedPublisher::of(&mut self.shard) {
                publisher.publish(now, plan.video);
            }
            self.came_on_air(was_on_air);
            self.process_outputs()?;
        }
        if plan.video {
            self.after(ms(plan.camera_ms), SimEvent::Picture(number));
        }
        if self.plan.audio {
            self.after(ms(0), SimEvent::Audio(number));
        }
        Ok(())
    }

    /// The publisher's encoder does something else from now on.
    pub(super) fn encoder(&mut self, change: Change) {
        let now = self.now;
        let Some(session) = &mut self.publisher.session else {
            return;
        };
        match change {
            Change::Size => {
                session.plan.config = 1 - session.plan.config;
                // Another size begins with a keyframe by itself.
                session.keyframe_at = Some(now);
                self.tally.count("publisher's size changed");
            }
            Change::FrameBytes(bytes) => session.plan.frame_bytes = bytes,
            Change::DeafPercent(percent) => session.plan.deaf_percent = percent,
        }
        // Before it was another's, or none's.
        session.flows_since = session.flows_since.map(|_| now);
    }

    pub(super) fn lose_publisher(&mut self) -> Verdict {
        let Some(session) = self.publisher.session.take() else {
            return Ok(());
        };
        if let Some(encoder) = session.encoder {
            return self.lose_encoder(&encoder);
        }
        self.tally.count("publisher lost");
        let now = self.now;
        if let Some(mut publisher) = SimulatedPublisher::of(&mut self.shard) {
            publisher.hold(now);
        }
        self.process_outputs()
    }

    /// The publisher ends the broadcast; an encoder ends its stream, and is waited for.
    pub(super) fn stop_publisher(&mut self) -> Verdict {
        let Some(session) = self.publisher.session.take() else {
            return Ok(());
        };
        if let Some(encoder) = session.encoder {
            self.stop_encoder(&encoder);
            return Ok(());
        }
        self.tally.count("publisher stopped");
        self.end_requested = true;
        let now = self.now;
        if let Some(mut publisher) = SimulatedPublisher::of(&mut self.shard) {
            publisher.end(now);
        }
        self.process_outputs()
    }

    /// Its session goes with the broadcast.
    pub(super) fn forget_publisher(&mut self) {
        self.publisher.session = None;
    }

    /// The shard asks the publisher for a keyframe. It comes a little later, unless the request is lost.
    pub(super) fn keyframe_wanted(&mut self) {
        let now = self.now;
        let Some(session) = &mut self.publisher.session else {
            return;
        };
        // RTMP has no such question.
        if session.encoder.is_some() {
            return;
        }
        let recently = |at: Instant| now - at < ms(REQUEST_MS_MIN);
        if session.keyframe_at.is_some() || session.last_keyframe.is_some_and(recently) {
            return;
        }
        if self.random.chance(session.plan.deaf_percent) {
            return;
        }
        session.keyframe_at = Some(now + ms(self.random.between(20, 150)));
    }

    pub(super) fn picture(&mut self, number: u64) -> Verdict {
        let waits = self
            .expected
            .values()
            .any(|expected| expected.state == shardcast_link::DestinationState::Publishing);
        if waits {
            self.keyframe_wanted();
        }
        let (now, frame_ms) = (self.now, self.plan.frame_ms);
        let Some(session) = self.publisher.session_of(number) else {
            return Ok(());
        };
        let key = session.encode(now, frame_ms);
        let (plan, since_keyframe) = (session.plan, session.since_keyframe);
        let bytes = plan.frame_bytes * if key { 4 } else { 1 };
        let lost = plan.encoder.is_none() && self.random.chance(plan.loss_percent);
        let contiguous = !std::mem::replace(&mut session.hole, lost);
        let picture_number = self.publisher.number;
        let picture = Picture::sent(picture_number, plan.config, since_keyframe);
        self.publisher.number += 1;
        self.after(ms(frame_ms), SimEvent::Picture(number));
        if plan.encoder.is_some() {
            self.encode(picture_number, picture, bytes);
            return Ok(());
        }
        if lost {
            self.tally.count("picture lost");
            self.publisher.lossy = true;
            return Ok(());
        }
        let pts_us = self.pts_us(plan);
        let frame: Arc<[u8]> = match plan.codec {
            VideoCodec::H264 => picture.annex_b(bytes),
            _ => vp8(picture_number, key, bytes),
        }
        .into();
        let strange_clock = self.publisher.strange_clock || self.publisher.is_foreign();
        let Some(mut publisher) = SimulatedPublisher::of(&mut self.shard) else {
            return Ok(());
        };
        let admitted = publisher.video(now, pts_us, plan.codec, &frame, contiguous);
        if let Some(admitted) = admitted {
            if admitted.after_filler && !strange_clock && admitted.pts_us != Some(pts_us) {
                return Err(format!(
                    "the publisher's picture is moved from {pts_us} to {:?} us by those before it",
                    admitted.pts_us
                ));
            }
            if plan.codec == VideoCodec::H264 {
                self.publisher.admitted.insert(picture_number);
            }
            if let Some(session) = &mut self.publisher.session
                && std::mem::replace(&mut session.shown, true)
                && admitted.after_filler
            {
                self.tally.count("filler while publishing");
            }
        }
        self.process_outputs()
    }

    /// Where the session's clock puts what arrives now.
    fn pts_us(&self, plan: SessionPlan) -> i64 {
        self.us() - plan.lag_ms * 1_000
    }

    /// The shard's clock.
    pub(super) fn us(&self) -> i64 {
        i64::try_from((self.now - self.start + RAN_BEFORE).as_micros()).unwrap()
    }
}
