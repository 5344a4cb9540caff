//! One broadcast: who publishes it, what they send, kept for a while, and everyone who takes it.
//!
//! What a broadcast does to itself is done here, with the effects put into the [`Context`]: it reads
//! its sessions, decides on renditions, feeds transcoders and consumers, and asks its publisher for
//! keyframes. Every entry ends with [`Broadcast::flush`].

mod audio;
mod consumers;
mod data;
mod filler;
mod ingest;
mod packager;
mod players;
mod preview;
mod recorder;
pub(crate) mod renditions;
pub(crate) mod ring;
#[cfg(feature = "simulation")]
mod simulation_hook;
mod viewers;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use shardcast_link::{
    BroadcastStatus, EndReason, Event, RenditionStatus, ViewEndReason, WantedBroadcast,
};

pub(crate) use self::{
    audio::AUDIO_BPS_DEFAULT,
    filler::Slate,
    ingest::{Ingest, SourceFrame},
    players::{PlayRefusal, refuse_player},
    viewers::ViewRequest,
};
use self::{
    audio::{AudioTranscoders, OpusFromAac, PictureWait},
    consumers::{Consumer, Consumers},
    data::Data,
    filler::StillRequest,
    ingest::session::IngestSession,
    packager::Packager,
    players::Players,
    preview::Previews,
    recorder::Recorder,
    renditions::Renditions,
    viewers::Viewers,
};
use crate::{
    broadcast::renditions::SourceFacts,
    context::{Context, TimerKey},
    ids::{AudioTranscoderId, BroadcastKey, SessionKey, StillFrameId},
    io::{Output, StillFrame, StillFrameJob},
    limits::DESTINATIONS_MAX,
};

/// Who publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Nobody, and destinations are closed.
    Off,
    Publishing {
        session: SessionKey,
        video: bool,
    },
    /// The publisher was lost; destinations stay open until then. The end that follows was asked for by
    /// the operator through `hold_ms`, so destinations are ended properly.
    Holding {
        until: Instant,
        video: bool,
    },
}

#[derive(Debug)]
pub(crate) struct Broadcast {
    key: BroadcastKey,
    wanted: WantedBroadcast,
    sessions: BTreeMap<SessionKey, IngestSession>,
    source: Source,
    ingest: Ingest,
    audio: AudioTranscoders,
    opus_from_aac: OpusFromAac,
    /// Audio in the rings that is written with the next picture.
    audio_wait: PictureWait,
    renditions: Renditions,
    /// Which frame each consumer is sent has to be decided anew.
    selection_due: bool,
    /// The still frame that is being encoded for it.
    still: Option<StillFrameId>,
    consumers: Consumers,
    viewers: Viewers,
    packager: Packager,
    players: Players,
    data: Data,
    recorder: Recorder,
    previews: Previews,
}

impl Broadcast {
    pub(crate) fn new(key: BroadcastKey, wanted: WantedBroadcast) -> Self {
        let ingest = Ingest::new(Duration::from_millis(wanted.keyframe_interval_ms));
        Self {
            key,
            wanted,
            sessions: BTreeMap::new(),
            source: Source::Off,
            ingest,
            audio: AudioTranscoders::default(),
            opus_from_aac: OpusFromAac::default(),
            audio_wait: PictureWait::default(),
            renditions: Renditions::default(),
            selection_due: false,
            still: None,
            consumers: Consumers::default(),
            viewers: Viewers::default(),
            packager: Packager::default(),
            players: Players::default(),
            data: Data::new(),
            recorder: Recorder::new(key),
            previews: Previews::default(),
        }
    }

    /// The session whose media is used.
    fn publisher(&self) -> Option<SessionKey> {
        match self.source {
            Source::Publishing { session, .. } => Some(session),
            _ => None,
        }
    }

    /// Whether the media of this session is used.
    fn publishes(&self, session: SessionKey) -> bool {
        self.publisher() == Some(session)
    }

    fn is_holding(&self) -> bool {
        matches!(self.source, Source::Holding { .. })
    }

    pub(crate) fn is_on_air(&self) -> bool {
        self.source != Source::Off
    }

    /// Media of `session` is used from now on.
    fn publish(&mut self, ctx: &mut Context, session: SessionKey, video: bool) {
        debug_assert_eq!(session.broadcast, self.key);
        // Behind an encoder's AAC the Opus of a browser is left out, and the other way round.
        self.feed_waiting(ctx);
        self.source = Source::Publishing { session, video };
        self.start_ingest(ctx, session, video);
        self.selection_due = true;
        self.update_consumers(ctx);
    }

    /// The publisher offers other tracks than before, in the same session.
    fn offers(&mut self, now: Instant, video: bool) {
        if let Source::Publishing { video: before, .. } = &mut self.source
            && *before != video
        {
            *before = video;
            self.ingest.offers(now, video);
            self.selection_due = true;
        }
    }

    /// The publisher is gone; destinations stay open for `hold_ms`.
    fn hold(&mut self, ctx: &mut Context) {
        if let Source::Publishing { video, .. } = self.source {
            self.ingest.stop(ctx.now);
            let until = ctx.now + Duration::from_millis(self.wanted.hold_ms);
            self.source = Source::Holding { until, video };
            self.update_consumers(ctx);
        }
    }

    /// Off air: destinations are ended properly.
    fn end(&mut self, ctx: &mut Context) {
        self.feed_waiting(ctx);
        self.recorder.end(ctx);
        self.end_viewers(ctx, ViewEndReason::BroadcastEnded);
        self.packager.end(ctx, &self.wanted.id);
        self.previews.forget();
        self.source = Source::Off;
        self.selection_due = true;
        self.still = None;
        // The next publisher starts a new stream; nothing of this one may be sent to it.
        let slate = self.ingest.filler.slate().cloned();
        self.ingest = Ingest::new(Duration::from_millis(self.wanted.keyframe_interval_ms));
        self.ingest.filler.set_slate(slate);
        self.update_consumers(ctx);
    }

    /// Control takes the broadcast away: sessions and destinations are ended, and nothing is left.
    pub(crate) fn close(&mut self, ctx: &mut Context) {
        while let Some(session) = self.sessions.keys().next().copied() {
            self.end_session(ctx, session, EndReason::Requested);
        }
        self.end_viewers(ctx, ViewEndReason::BroadcastEnded);
        self.feed_waiting(ctx);
        self.want(ctx, WantedBroadcast::new(self.wanted.id.clone()));
        self.close_transcoders(ctx);
        ctx.timers.set(TimerKey::Broadcast(self.key), None);
        ctx.timers.set(TimerKey::Data(self.key), None);
        debug_assert!(self.sessions.is_empty() && self.consumers.len() == 0);
    }

    /// Takes over what control wants. Destinations that are wanted no longer are ended properly.
    pub(crate) fn want(&mut self, ctx: &mut Context, wanted: WantedBroadcast) {
        let beyond = wanted.destinations.len().saturating_sub(DESTINATIONS_MAX);
        if beyond > 0 {
            tracing::error!(
                broadcast = %wanted.id,
                beyond,
                "more destinations are wanted than a broadcast may have: the last are left out"
            );
        }
        if self.wanted != wanted {
            // Who leaves has what was there before; what is wanted once more changes nothing.
            self.feed_waiting(ctx);
        }
        self.ingest
            .set_keyframe_interval(Duration::from_millis(wanted.keyframe_interval_ms));
        let unwanted = self.want_destinations(ctx, &wanted);
        let slate = self.ingest.filler.slate();
        if slate.is_some_and(|slate| wanted.slate.as_ref() != Some(&slate.name)) {
            self.ingest.filler.set_slate(None);
        }
        if let Source::Holding { until, .. } = &mut self.source {
            let hold_ms = |wanted: &WantedBroadcast| Duration::from_millis(wanted.hold_ms);
            *until = (*until + hold_ms(&wanted))
                .checked_sub(hold_ms(&self.wanted))
                .unwrap_or(ctx.now);
        }
        self.packager.want(ctx, &wanted.id, wanted.hls);
        self.recorder.want(ctx, wanted.recording.as_ref());
        self.previews.want(wanted.preview);
        self.wanted = wanted;
        self.selection_due = true;
        for mut destination in unwanted {
            destination.remove(ctx);
            let (broadcast, status) = (self.wanted.id.clone(), destination.status(ctx));
            ctx.event(Event::Destination { broadcast, status });
        }
        self.update_consumers(ctx);
        self.flush(ctx);
    }

    /// The bytes of a slate; they count once control wants it under this name.
    pub(crate) fn set_slate(&mut self, ctx: &mut Context, slate: Slate) {
        if self.wanted.slate.as_ref() == Some(&slate.name) {
            self.ingest.filler.set_slate(Some(slate));
        }
        self.flush(ctx);
    }

    /// The next frame of an audio transcoder. One that was closed is passed over.
    pub(crate) fn audio_frame(
        &mut self,
        ctx: &mut Context,
        transcoder: AudioTranscoderId,
        frame: Bytes,
    ) {
        if self.audio.is_open(transcoder) {
            self.aac(transcoder, frame);
        } else if !self.push_made_opus(transcoder, &frame) {
            return;
        }
        self.feed_soon(ctx);
        self.flush(ctx);
    }

    /// A still frame is encoded, or cannot be. One that was asked for since counts instead.
    pub(crate) fn still(
        &mut self,
        ctx: &mut Context,
        still: StillFrameId,
        result: Result<StillFrame, String>,
    ) {
        if self.still == Some(still) {
            self.still = None;
            self.ingest.filler.prepared(result);
            self.flush(ctx);
        }
    }

    /// Puts out what has become due: renditions and their transcoders, a still frame, timers, and
    /// what consumers ask for.
    fn flush(&mut self, ctx: &mut Context) {
        if self.is_on_air() {
            self.select_renditions(ctx);
        } else {
            self.close_transcoders(ctx);
        }
        self.feed_audio(ctx);
        self.request_still(ctx);
        self.request_preview(ctx);
        let for_renditions = self.renditions.take_keyframe_wanted() && self.publisher().is_some();
        let mut keyframe_wanted = for_renditions;
        if for_renditions {
            // Repeated until it comes: the transcoder gets nothing more until then.
            self.ingest.keyframe_asked(ctx.now);
        }
        ctx.timers
            .set(TimerKey::Broadcast(self.key), self.next_timeout());
        for place in 0..self.consumers.len() {
            keyframe_wanted |= self.flush_place(ctx, place);
        }
        if self.packager.take_keyframe_wanted() | self.players.take_keyframe_wanted() {
            self.ingest.filler.keyframe_wanted();
            keyframe_wanted = true;
        }
        if keyframe_wanted && !self.request_keyframe(ctx) && for_renditions {
            // One was asked for a moment ago. Viewers whose network has become slow see nothing until the next.
            self.ingest.keyframe_soon(ctx.now);
            ctx.timers
                .set(TimerKey::Broadcast(self.key), self.next_timeout());
        }
    }

    fn request_still(&mut self, ctx: &mut Context) {
        let Ingest { filler, ring, .. } = &mut self.ingest;
        if let Some(StillRequest { source, target }) = filler.take_request(ctx.now, ring) {
            let still = StillFrameId {
                broadcast: self.key,
                number: ctx.ids.next(),
            };
            self.still = Some(still);
            ctx.output(Output::StillFrame(StillFrameJob {
                still,
                source,
                target,
            }));
        }
    }

    /// A frame of the publisher has come.
    fn decode(&mut self, ctx: &mut Context, frame: SourceFrame) {
        self.audio_wait.picture(ctx.now);
        self.selection_due |= frame.key || frame.begins_b_frames;
        self.renditions.decode(ctx, frame);
    }

    fn aac(&mut self, transcoder: AudioTranscoderId, frame: Bytes) {
        let Some(origin_us) = self.ingest.audio_origin_us() else {
            return;
        };
        let Some((audio_bps, unit)) = self.audio.place(transcoder, frame, origin_us) else {
            return;
        };
        for rendition in self.renditions.list_mut() {
            if rendition.spec.audio_bps == audio_bps {
                rendition.push_audio(&unit);
            }
        }
        if audio_bps == AUDIO_BPS_DEFAULT {
            self.ingest.push(unit);
        }
    }

    /// What destinations judge the publisher's video by.
    fn source_facts(&self, now: Instant) -> SourceFacts {
        match self.source {
            Source::Publishing { video, .. } if !self.ingest.filler.is_seen() => SourceFacts {
                offers_video: video || self.ingest.has_video(),
                ..self.ingest.source_facts(now)
            },
            // A publisher that is away violates no constraint: filler has keyframes in time.
            Source::Publishing { video, .. } | Source::Holding { video, .. } => SourceFacts {
                offers_video: video || self.ingest.has_video(),
                keyframe_interval_ms: 0,
                ..self.ingest.source_facts(now)
            },
            Source::Off => SourceFacts::default(),
        }
    }

    /// A deadline of the broadcast has come.
    pub(crate) fn timeout(&mut self, ctx: &mut Context) {
        let (now, now_us) = (ctx.now, ctx.now_us());
        if self.audio_wait.until().is_some_and(|at| now >= at) {
            self.feed(ctx);
        }
        match self.source {
            Source::Holding { until, .. } if now >= until => self.end(ctx),
            _ => self.fill(ctx, now, now_us),
        }
        self.flush(ctx);
    }

    /// Fills in what the publisher does not send, and asks it for the keyframe that is due.
    fn fill(&mut self, ctx: &mut Context, now: Instant, now_us: i64) {
        if self.ingest.fill_due().is_some_and(|at| now >= at) && self.ingest.fill(now, now_us) {
            self.feed(ctx);
        }
        let slate = self.ingest.filler.slate();
        let slate = slate.filter(|_| matches!(self.source, Source::Holding { .. }));
        self.renditions.fill(ctx, slate);
        if self.ingest.keyframe_due().is_some_and(|at| now >= at) {
            self.ingest.keyframe_asked(now);
            self.request_keyframe(ctx);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let hold = match self.source {
            Source::Holding { until, .. } => Some(until),
            _ => None,
        };
        let fill = self.ingest.fill_due().filter(|_| self.is_on_air());
        let renditions = self.renditions.fill_due().filter(|_| self.is_on_air());
        let audio = self.audio_wait.until();
        [hold, fill, renditions, audio, self.ingest.keyframe_due()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Why nothing is made of the publisher's frames, and what to do about it.
    fn video_problem(&self, now: Instant) -> Option<String> {
        let problem = self.ingest.decodable.lacks_keyframes(now);
        problem.or_else(|| self.renditions.video_problem(now))
    }

    pub(crate) fn status(&self, ctx: &Context) -> BroadcastStatus {
        BroadcastStatus {
            holding: self.is_holding(),
            hold_until_unix_ms: match self.source {
                Source::Holding { until, .. } => Some(ctx.clock.unix_ms(until)),
                _ => None,
            },
            publisher: self.publisher_status(ctx),
            filler: self.ingest.filler.is_seen(),
            slate: self.ingest.filler.slate().map(|it| it.name.clone()),
            destinations: self
                .consumers
                .destinations()
                .map(|destination| self.destination_status(ctx, destination))
                .collect(),
            viewers: self.viewers.watching(),
            rtmp_viewers: self.players.watching(),
            data: self.data.status(),
            viewers_problem: self.viewers.problem().or_else(|| self.packager.problem()),
            hls: self.packager.is_wanted(),
            hls_ladder: self.packager.wants_ladder(),
            ring_bytes: self.ring_bytes(),
            recording: self.recorder.status(),
            decoder: self.renditions.decoder_status(),
            renditions: self
                .renditions
                .list()
                .iter()
                .map(|it| RenditionStatus {
                    viewers: self.viewers.watching_rendition(it.id),
                    yields: self.yields(it),
                    ..it.status(self.consumers.users(it))
                })
                .collect(),
            ..BroadcastStatus::new(self.wanted.id.clone())
        }
    }

    fn ring_bytes(&self) -> u64 {
        let renditions = self.renditions.list().iter();
        let bytes: usize = renditions.map(|it| it.ring.bytes()).sum();
        (self.ingest.ring.bytes() + bytes) as u64
    }

    /// Starts a new second of rates.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.data.tick(now);
        self.selection_due = self.is_on_air();
        self.renditions.tick();
        self.ingest.tick();
        self.consumers.iter_mut().for_each(Consumer::tick);
        self.sessions.values_mut().for_each(IngestSession::tick);
    }
}
