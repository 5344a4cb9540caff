//! One broadcast: what its publisher sends, kept for a while, and everyone who takes it.

mod audio_clock;
mod decodable;
mod decode_clock;
#[cfg(test)]
mod decode_clock_tests;
mod intake;
#[cfg(test)]
mod microphone_tests;
mod rates;
mod renditions;
mod sound;
mod stand_in;

use std::time::{Duration, Instant};

use bytes::Bytes;
use shardcast_link::{
    BroadcastStatus, DestinationStatus, PicturePath, WantedBroadcast, WantedDestination,
};

pub(crate) use self::{
    intake::{Intake, SourcePicture},
    renditions::Renditions,
    sound::{AUDIO_BPS_DEFAULT, LaneFeed, Sound},
    stand_in::{Slate, StillRequest},
};
use crate::{
    destination::{Choice, Destination, Dial, SourceFacts},
    io::{ConnId, LaneId, LookupId, StillId},
    limits::DESTINATIONS_MAX,
    rendition::{MediaFacts, Rendition, RingId, Rings},
};

/// A publishing session, named by the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PeerId(pub(crate) u64);

/// A destination, named by the shard; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct DestinationKey(pub(crate) u64);

/// A destination and what the shard has open for it.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) key: DestinationKey,
    pub(crate) destination: Destination,
    /// The one that is open, or those that it is making.
    pub(crate) conns: Vec<(Dial, ConnId)>,
    pub(crate) lookup: Option<LookupId>,
}

impl Slot {
    /// The connection that is open.
    pub(crate) fn conn(&self) -> Option<ConnId> {
        self.conns.first().map(|(_, conn)| *conn)
    }

    /// Forgets this connection, or all; which they were.
    pub(crate) fn leave(&mut self, dial: Option<Dial>) -> Vec<ConnId> {
        let is_left = |each: &mut (Dial, ConnId)| dial.is_none_or(|dial| each.0 == dial);
        let left = self.conns.extract_if(.., is_left);
        left.map(|(_, conn)| conn).collect()
    }
}

/// Who publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Nobody, and destinations are closed.
    Off,
    Publishing {
        peer: PeerId,
        video: bool,
    },
    /// The publisher was lost; destinations stay open until then. What is over then is over by the
    /// operator's wish, which `hold_ms` states, and is ended properly.
    Holding {
        until: Instant,
        video: bool,
    },
}

#[derive(Debug)]
pub(crate) struct Broadcast {
    pub(crate) wanted: WantedBroadcast,
    pub(crate) intake: Intake,
    pub(crate) sound: Sound,
    pub(crate) renditions: Renditions,
    /// Which picture each destination is sent has to be decided anew.
    pub(crate) plan_due: bool,
    /// The picture that is being made for it.
    pub(crate) still: Option<StillId>,
    pub(crate) slots: Vec<Slot>,
    source: Source,
}

impl Broadcast {
    pub(crate) fn new(wanted: WantedBroadcast) -> Self {
        let intake = Intake::new(Duration::from_millis(wanted.keyframe_interval_ms));
        Self {
            wanted,
            intake,
            sound: Sound::default(),
            renditions: Renditions::default(),
            plan_due: false,
            still: None,
            slots: Vec::new(),
            source: Source::Off,
        }
    }

    /// The session whose media is used.
    pub(crate) fn peer(&self) -> Option<PeerId> {
        match self.source {
            Source::Publishing { peer, .. } => Some(peer),
            _ => None,
        }
    }

    pub(crate) fn is_holding(&self) -> bool {
        matches!(self.source, Source::Holding { .. })
    }

    pub(crate) fn is_on_air(&self) -> bool {
        self.source != Source::Off
    }

    /// Media of `peer` is used from now on.
    pub(crate) fn publish(&mut self, now: Instant, peer: PeerId, video: bool) {
        self.source = Source::Publishing { peer, video };
        self.intake.start(now, video);
        self.plan_due = true;
        self.air(now);
    }

    /// The publisher offers other tracks than before, in the same session.
    pub(crate) fn offers(&mut self, now: Instant, video: bool) {
        if let Source::Publishing { video: before, .. } = &mut self.source
            && *before != video
        {
            *before = video;
            self.intake.offers(now, video);
            self.plan_due = true;
        }
    }

    /// The publisher is gone; destinations stay open for `hold_ms`.
    pub(crate) fn hold(&mut self, now: Instant) {
        if let Source::Publishing { video, .. } = self.source {
            self.intake.stop(now);
            let until = now + Duration::from_millis(self.wanted.hold_ms);
            self.source = Source::Holding { until, video };
            self.air(now);
        }
    }

    /// Off air: destinations are ended properly.
    pub(crate) fn end(&mut self, now: Instant) {
        self.source = Source::Off;
        self.plan_due = true;
        self.still = None;
        // The next publisher starts a new stream; nothing of this one may be sent to it.
        let slate = self.intake.stand_in.slate().cloned();
        self.intake = Intake::new(Duration::from_millis(self.wanted.keyframe_interval_ms));
        self.intake.stand_in.set_slate(slate);
        self.air(now);
    }

    /// Takes over what control wants; returns the slots that are no longer wanted, already ended.
    pub(crate) fn want(
        &mut self,
        now: Instant,
        wanted: WantedBroadcast,
        mut new_slot: impl FnMut(&WantedDestination) -> Slot,
    ) -> Vec<Slot> {
        self.intake
            .set_keyframe_interval(Duration::from_millis(wanted.keyframe_interval_ms));
        let mut before = std::mem::take(&mut self.slots);
        for destination in wanted.destinations.iter().take(DESTINATIONS_MAX) {
            let same = before.iter().position(|slot| {
                slot.destination.id == destination.id && slot.destination.is_for(&destination.url)
            });
            let mut slot = match same {
                Some(index) => before.swap_remove(index),
                None => new_slot(destination),
            };
            slot.destination.set_retry(now, destination.retry);
            slot.destination.set_picture(destination.picture);
            self.slots.push(slot);
        }
        let slate = self.intake.stand_in.slate();
        if slate.is_some_and(|slate| wanted.slate.as_ref() != Some(&slate.name)) {
            self.intake.stand_in.set_slate(None);
        }
        if let Source::Holding { until, .. } = &mut self.source {
            let hold_ms = |wanted: &WantedBroadcast| Duration::from_millis(wanted.hold_ms);
            *until = (*until + hold_ms(&wanted))
                .checked_sub(hold_ms(&self.wanted))
                .unwrap_or(now);
        }
        self.wanted = wanted;
        self.plan_due = true;
        for slot in &mut before {
            slot.destination.remove(now);
        }
        self.air(now);
        before
    }

    /// The bytes of a slate; they count once control wants it under this name.
    pub(crate) fn set_slate(&mut self, slate: Slate) {
        if self.wanted.slate.as_ref() == Some(&slate.name) {
            self.intake.stand_in.set_slate(Some(slate));
        }
    }

    pub(crate) fn slot(&mut self, key: DestinationKey) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.key == key)
    }

    /// Gives every open destination what is new in the rings.
    pub(crate) fn feed_all(&mut self, now: Instant) {
        let rings = rings(&self.intake, &self.renditions, self.source);
        for slot in &mut self.slots {
            feed(now, &mut slot.destination, rings);
        }
    }

    /// Gives one destination what is in the rings.
    pub(crate) fn feed_one(&mut self, now: Instant, key: DestinationKey) {
        let rings = rings(&self.intake, &self.renditions, self.source);
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.key == key) {
            feed(now, &mut slot.destination, rings);
        }
    }

    /// A picture of the publisher has come.
    pub(crate) fn decode(&mut self, now: Instant, picture: SourcePicture) {
        self.plan_due |= picture.key || picture.begins_b_frames;
        self.renditions.decode(now, picture);
    }

    /// AAC frames from an audio lane.
    pub(crate) fn aac(&mut self, lane: LaneId, frames: Vec<Bytes>) {
        let Some(origin_us) = self.intake.sound_origin_us() else {
            return;
        };
        let Some((audio_bps, units)) = self.sound.frames(lane, frames, origin_us) else {
            return;
        };
        for unit in units {
            for rendition in self.renditions.list_mut() {
                if rendition.spec.audio_bps == audio_bps {
                    rendition.sound(&unit);
                }
            }
            if audio_bps == AUDIO_BPS_DEFAULT {
                self.intake.ring.push(unit);
            }
        }
    }

    /// What destinations judge the publisher's picture by.
    pub(crate) fn source_facts(&self, now: Instant) -> SourceFacts {
        match self.source {
            Source::Publishing { video, .. } if !self.intake.stand_in.is_seen() => SourceFacts {
                offers_video: video || self.intake.has_video(),
                ..self.intake.source_facts(now)
            },
            // Nobody who is away breaks a contract: keyframes come, and are ours.
            Source::Publishing { video, .. } | Source::Holding { video, .. } => SourceFacts {
                offers_video: video || self.intake.has_video(),
                keyframe_interval_ms: 0,
                ..self.intake.source_facts(now)
            },
            Source::Off => SourceFacts::default(),
        }
    }

    /// Whether it is the choice of some destination.
    pub(crate) fn chooses(&self, rendition: &Rendition) -> bool {
        rendition.problem.is_none()
            && self
                .slots
                .iter()
                .any(|slot| slot.destination.picture.choice() == Choice::Rendition(rendition.spec))
    }

    /// Whether some destination is sent this rendition, or shall be.
    pub(crate) fn uses(&self, rendition: &Rendition) -> bool {
        self.users(rendition) > 0
    }

    /// One that failed keeps its sound for those that it was sent to, and is nobody's choice.
    fn users(&self, rendition: &Rendition) -> u32 {
        let well = rendition.problem.is_none();
        let takes = |slot: &&Slot| {
            (well && slot.destination.picture.choice() == Choice::Rendition(rendition.spec))
                || slot.destination.ring() == Some(RingId::Rendition(rendition.id))
        };
        self.slots.iter().filter(takes).count() as u32
    }

    /// What is due: true when a keyframe shall be asked of the publisher.
    pub(crate) fn timeout(&mut self, now: Instant, now_us: i64) -> bool {
        if let Source::Holding { until, .. } = self.source
            && now >= until
        {
            self.end(now);
            return false;
        }
        if self.intake.fill_due().is_some_and(|at| now >= at) && self.intake.fill(now, now_us) {
            self.feed_all(now);
        }
        let slate = self.intake.stand_in.slate();
        let slate = slate.filter(|_| matches!(self.source, Source::Holding { .. }));
        self.renditions.fill(now, now_us, slate);
        let due = self.intake.keyframe_due().is_some_and(|at| now >= at);
        if due {
            self.intake.keyframe_asked(now);
        }
        due
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let hold = match self.source {
            Source::Holding { until, .. } => Some(until),
            _ => None,
        };
        let fill = self.intake.fill_due().filter(|_| self.is_on_air());
        let renditions = self.renditions.fill_due().filter(|_| self.is_on_air());
        [hold, fill, renditions, self.intake.keyframe_due()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Why nothing is made of the publisher's pictures, and what to do about it.
    pub(crate) fn video_problem(&self, now: Instant) -> Option<String> {
        let problem = self.intake.decodable.lacks_keyframes(now);
        problem.or_else(|| self.renditions.video_problem(now))
    }

    /// Without its publisher, which the shard adds.
    pub(crate) fn status(
        &self,
        now: Instant,
        clock: impl Fn(Instant) -> u64 + Copy,
    ) -> BroadcastStatus {
        let holding = self.is_holding();
        BroadcastStatus {
            holding,
            hold_until_unix_ms: match self.source {
                Source::Holding { until, .. } => Some(clock(until)),
                _ => None,
            },
            standing_in: self.intake.stand_in.is_seen(),
            slate: self.intake.stand_in.slate().map(|it| it.name.clone()),
            destinations: self
                .slots
                .iter()
                .map(|slot| self.destination_status(now, slot, clock))
                .collect(),
            ring_bytes: self.ring_bytes(),
            decoder: self.renditions.decoder_status(),
            renditions: self
                .renditions
                .list()
                .iter()
                .map(|it| it.status(self.users(it)))
                .collect(),
            ..BroadcastStatus::new(self.wanted.id.clone())
        }
    }

    pub(crate) fn destination_status(
        &self,
        now: Instant,
        slot: &Slot,
        clock: impl Fn(Instant) -> u64,
    ) -> DestinationStatus {
        let mut status = slot.destination.status(now, clock);
        if let Some(picture) = &mut status.picture {
            let choice = slot.destination.picture.choice();
            let rendition = self.renditions.list().iter().find(|it| {
                slot.destination.ring() == Some(RingId::Rendition(it.id))
                    || choice == Choice::Rendition(it.spec)
            });
            if let Some(rendition) = rendition.filter(|_| picture.path == PicturePath::Rendition) {
                (picture.width, picture.height) = rendition.size();
                if rendition.problem.is_some() {
                    picture.path = PicturePath::None;
                }
            }
        }
        status
    }

    fn ring_bytes(&self) -> u64 {
        let renditions = self.renditions.list().iter();
        let bytes: usize = renditions.map(|it| it.ring.bytes()).sum();
        (self.intake.ring.bytes() + bytes) as u64
    }

    /// Starts a new second of rates.
    pub(crate) fn tick(&mut self) {
        self.plan_due = self.is_on_air();
        self.renditions.tick();
        self.intake.tick();
        for slot in &mut self.slots {
            slot.destination.tick();
        }
    }

    fn air(&mut self, now: Instant) {
        let (on_air, holding) = (self.is_on_air(), self.is_holding());
        for slot in &mut self.slots {
            slot.destination.set_on_air(now, on_air);
            slot.destination.set_holding(now, holding);
        }
    }
}

fn rings<'a>(intake: &'a Intake, renditions: &'a Renditions, source: Source) -> Rings<'a> {
    let expects_video = match source {
        Source::Publishing { video, .. } | Source::Holding { video, .. } => video,
        Source::Off => false,
    };
    Rings {
        source: &intake.ring,
        source_facts: MediaFacts {
            expects_video: expects_video || intake.stand_in.has_pictures(),
            frames_per_second: intake.frames_per_second(),
            video_bps: intake.video_bps(),
            audio_bps: AUDIO_BPS_DEFAULT,
        },
        renditions: renditions.list(),
    }
}

/// Feeds a destination from the ring that was chosen for it. Without one it goes on as it is, and
/// what has not begun does not begin.
fn feed(now: Instant, destination: &mut Destination, rings: Rings<'_>) {
    let wanted = match destination.picture.choice() {
        Choice::Source => Some(RingId::Source),
        Choice::Rendition(spec) => {
            let mut renditions = rings.renditions.iter();
            let rendition = renditions.find(|it| it.spec == spec && it.problem.is_none());
            rendition.map(|it| RingId::Rendition(it.id))
        }
        Choice::Nothing => {
            if destination.picture.is_off() {
                destination.leave_rendition(rings);
            }
            None
        }
    };
    if wanted.is_some() || destination.ring().is_some() {
        destination.feed(now, rings, wanted);
    }
}
