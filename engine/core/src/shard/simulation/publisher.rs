//! The simulated publisher: what a WebRTC session would hand to its broadcast, and how it comes,
//! goes and returns.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use shardcast_link::VideoCodec;

use super::{
    microphone::Microphone,
    picture::{Picture, vp8},
    plan::{Change, SessionPlan},
    world::{Happening, Verdict, World, ms},
};
use crate::broadcast::{Broadcast, PeerId};

/// Keyframe requests of destinations are at least so far apart, in milliseconds.
const REQUEST_MS_MIN: u64 = 300;

/// Who publishes, over all sessions.
#[derive(Debug, Default)]
pub(super) struct Stage {
    session: Option<Session>,
    sessions: u64,
    /// Of the next picture.
    number: u64,
    /// Pictures that went into the ring.
    pub(super) admitted: BTreeSet<u64>,
    /// Some session's clock was ahead of the shard's, or far behind.
    pub(super) strange_clock: bool,
    /// Some session sent what RTMP does not carry.
    pub(super) foreign: bool,
    /// Some picture was lost on its way to the shard.
    pub(super) lossy: bool,
    over: bool,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) plan: SessionPlan,
    peer: PeerId,
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
}

impl Stage {
    /// The session in use, if it is `peer`'s.
    pub(super) fn session_of(&mut self, peer: PeerId) -> Option<&mut Session> {
        self.session.as_mut().filter(|session| session.peer == peer)
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
        self.session.is_some()
    }

    /// What the session sends is not for RTMP.
    pub(super) fn is_foreign(&self) -> bool {
        let session = self.session.as_ref();
        session.is_some_and(|session| session.plan.codec != VideoCodec::H264)
    }

    /// Of a picture that is no keyframe; 0 without a publisher.
    pub(super) fn bytes_a_frame(&self) -> u64 {
        let session = self.session.as_ref();
        session.map_or(0, |session| session.plan.frame_bytes as u64)
    }

    /// Keyframes come when they are asked for.
    pub(super) fn hears(&self) -> bool {
        let session = self.session.as_ref();
        session.is_some_and(|session| session.plan.deaf_percent <= 20)
    }

    /// Somebody publishes, and pictures of that session have been shown.
    pub(super) fn is_taken(&self) -> bool {
        let session = self.session.as_ref();
        session.is_some_and(|session| session.shown)
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Nobody will publish any more.
    pub(super) fn close(&mut self) {
        self.session = None;
        self.over = true;
    }
}

impl World {
    pub(super) fn broadcast(&mut self) -> Option<&mut Broadcast> {
        let key = self.key()?;
        self.shard.broadcasts.get_mut(&key)
    }

    /// What the broadcast wants done after it was touched.
    pub(super) fn settle_stage(&mut self) -> Verdict {
        if let Some(key) = self.key() {
            self.shard.settle_broadcast(self.now, key);
        }
        self.settle()
    }

    pub(super) fn publish(&mut self, plan: SessionPlan) -> Verdict {
        if self.key().is_none() {
            self.want()?;
        }
        let now = self.now;
        let session = &mut self.stage.session;
        self.tally.count(match session {
            Some(_) => "publisher replaced",
            None => "publisher came",
        });
        self.stage.sessions += 1;
        // A number is left out, so that whoever goes on needs a keyframe.
        self.stage.number += 1;
        self.stage.strange_clock |= plan.is_strange();
        if plan.codec != VideoCodec::H264 {
            self.stage.foreign = true;
            self.tally.count("publisher sends VP8");
        }
        let number = self.stage.sessions;
        let peer = PeerId(number);
        *session = Some(Session {
            plan,
            peer,
            keyframe_at: None,
            last_keyframe: None,
            since_keyframe: 0,
            hole: false,
            flows_since: None,
            shown: false,
            microphone: Microphone::new(),
        });
        if !self.is_on_air() {
            for entry in self.entries.values_mut() {
                entry.on_air();
            }
        }
        if let Some(broadcast) = self.broadcast() {
            broadcast.publish(now, peer, plan.video);
        }
        self.settle_stage()?;
        if plan.video {
            self.after(ms(plan.camera_ms), Happening::Picture(number));
        }
        if self.plan.sound {
            self.after(ms(0), Happening::Sound(number));
        }
        Ok(())
    }

    /// The publisher's encoder does something else from now on.
    pub(super) fn encoder(&mut self, change: Change) {
        let now = self.now;
        let Some(session) = &mut self.stage.session else {
            return;
        };
        match change {
            Change::Size => {
                session.plan.config = 1 - session.plan.config;
                // Another size begins with a keyframe, whoever asks for one.
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
        if self.stage.session.take().is_none() {
            return Ok(());
        }
        self.tally.count("publisher lost");
        let now = self.now;
        if let Some(broadcast) = self.broadcast() {
            broadcast.hold(now);
        }
        self.settle_stage()
    }

    /// The publisher ends the broadcast.
    pub(super) fn stop_publisher(&mut self) -> Verdict {
        if self.stage.session.take().is_none() {
            return Ok(());
        }
        self.tally.count("publisher stopped");
        self.wished = true;
        let now = self.now;
        if let Some(broadcast) = self.broadcast() {
            broadcast.end(now);
        }
        self.settle_stage()
    }

    /// Its session goes with the broadcast.
    pub(super) fn forget_publisher(&mut self) {
        self.stage.session = None;
    }

    /// A keyframe is asked of the publisher, which answers a little later, if it hears.
    pub(super) fn keyframe_wanted(&mut self) {
        let now = self.now;
        let Some(session) = &mut self.stage.session else {
            return;
        };
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
            .entries
            .values()
            .any(|entry| entry.state == shardcast_link::DestinationState::Publishing);
        if waits {
            self.keyframe_wanted();
        }
        let now = self.now;
        let Some(session) = &mut self.stage.session else {
            return Ok(());
        };
        if session.peer != PeerId(number) {
            return Ok(());
        }
        let first = session.last_keyframe.is_none();
        let key = first || session.keyframe_at.is_some_and(|at| at <= now);
        if key {
            session.keyframe_at = None;
            session.last_keyframe = Some(now);
        }
        session.since_keyframe = if key { 0 } else { session.since_keyframe + 1 };
        session.flows_since.get_or_insert(now);
        let plan = session.plan;
        let lost = self.random.chance(plan.loss_percent);
        let contiguous = !std::mem::replace(&mut session.hole, lost);
        let picture_number = self.stage.number;
        let picture = Picture::sent(picture_number, plan.config, session.since_keyframe);
        self.stage.number += 1;
        self.after(ms(self.plan.frame_ms), Happening::Picture(number));
        if lost {
            self.tally.count("picture lost");
            self.stage.lossy = true;
            return Ok(());
        }
        let pts_us = self.pts_us(plan);
        let bytes = plan.frame_bytes * if key { 4 } else { 1 };
        let frame: Arc<[u8]> = match plan.codec {
            VideoCodec::H264 => picture.annex_b(bytes),
            _ => vp8(picture_number, key, bytes),
        }
        .into();
        let strange_clock = self.stage.strange_clock || self.stage.is_foreign();
        if let Some(broadcast) = self.broadcast() {
            let intake = &mut broadcast.intake;
            let stood_in = intake.stand_in.is_seen();
            let picture = intake.video(now, pts_us, plan.codec, &frame, contiguous);
            if let Some(picture) = picture {
                let in_ring_us = intake.ring.newest().map(|unit| unit.pts_us);
                if stood_in && !strange_clock && in_ring_us != Some(pts_us) {
                    return Err(format!(
                        "the publisher's picture is moved from {pts_us} to {in_ring_us:?} us by \
                         those before it"
                    ));
                }
                broadcast.decode(now, picture);
                broadcast.feed_all(now);
                if plan.codec == VideoCodec::H264 {
                    self.stage.admitted.insert(picture_number);
                }
                if let Some(session) = &mut self.stage.session
                    && std::mem::replace(&mut session.shown, true)
                    && stood_in
                {
                    self.tally.count("hole filled while publishing");
                }
            }
            self.settle_stage()?;
        }
        Ok(())
    }

    /// Where the session's clock puts what arrives now.
    fn pts_us(&self, plan: SessionPlan) -> i64 {
        self.us() - plan.lag_ms * 1_000
    }

    /// The shard's clock.
    pub(super) fn us(&self) -> i64 {
        i64::try_from((self.now - self.start).as_micros()).unwrap()
    }
}
