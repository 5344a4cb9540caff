//! Who takes units from the rings of a broadcast. A consumer is fed at its own pace, chooses a ring by
//! its [`VideoSelector`], and asks for keyframes; what else it does is its kind's own affair.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use shardcast_link::{DestinationId, DestinationStatus, Event, VideoPath, WantedBroadcast};

use super::{AUDIO_BPS_DEFAULT, Broadcast, Ingest, Renditions, Source};
use crate::{
    broadcast::renditions::Rendition,
    broadcast::renditions::Rings,
    broadcast::renditions::{VideoSelector, VideoSource},
    broadcast::ring::{MediaFacts, RingId},
    codec::AudioCodec,
    context::{Context, TimerKey},
    destination::{Destination, Requests},
    ids::{ConnId, DestinationKey, LookupId},
    io::TcpEvent,
    limits::DESTINATIONS_MAX,
};

/// One consumer.
#[derive(Debug)]
pub(crate) enum Consumer {
    /// An RTMP server that the broadcast is sent on to.
    Destination(Box<Destination>),
}

impl Consumer {
    /// What it is called in logs.
    pub(crate) fn name(&self) -> &str {
        let Self::Destination(destination) = self;
        &destination.id.0
    }

    /// Decides which video it is sent.
    pub(crate) fn video(&self) -> &VideoSelector {
        let Self::Destination(destination) = self;
        &destination.video
    }

    pub(crate) fn video_mut(&mut self) -> &mut VideoSelector {
        let Self::Destination(destination) = self;
        &mut destination.video
    }

    /// Whether it is sent media, or will be by itself.
    pub(crate) fn takes_media(&self) -> bool {
        let Self::Destination(destination) = self;
        destination.takes_media()
    }

    /// What it takes audio in; `None` while that is not known, or nothing is sent to it.
    pub(crate) fn audio(&self) -> Option<AudioCodec> {
        let Self::Destination(destination) = self;
        destination.audio()
    }

    /// The ring that it is fed from; `None` while nothing is sent.
    pub(crate) fn ring(&self) -> Option<RingId> {
        let Self::Destination(destination) = self;
        destination.ring()
    }

    /// The broadcast has gone on or off air, or waits for its publisher (`holding`).
    pub(crate) fn set_source(&mut self, ctx: &mut Context, on_air: bool, holding: bool) {
        let Self::Destination(destination) = self;
        destination.set_on_air(ctx, on_air);
        destination.set_holding(ctx.now, holding);
    }

    /// Gives it what is new in the ring that was chosen for it. Without one it goes on as it is, and
    /// what has not begun does not begin.
    pub(crate) fn feed(&mut self, ctx: &mut Context, rings: Rings<'_>) {
        let Self::Destination(destination) = self;
        let wanted = match destination.video.selected() {
            VideoSource::Passthrough => Some(RingId::Source),
            VideoSource::Rendition(spec) => {
                let mut renditions = rings.renditions.iter();
                let rendition = renditions.find(|it| it.spec == spec && it.problem.is_none());
                rendition.map(|it| RingId::Rendition(it.id))
            }
            VideoSource::None => {
                if destination.video.is_off() {
                    destination.leave_rendition(rings);
                }
                None
            }
        };
        if wanted.is_some() || destination.ring().is_some() {
            destination.feed(ctx, rings, wanted);
        }
    }

    /// Sets its timer, and gives back what it asks of its broadcast; once.
    pub(crate) fn flush(&mut self, ctx: &mut Context) -> Requests {
        let Self::Destination(destination) = self;
        destination.flush(ctx)
    }

    /// Starts a new second of rates.
    pub(crate) fn tick(&mut self) {
        let Self::Destination(destination) = self;
        destination.tick();
    }
}

/// All consumers of a broadcast; destinations in the order in which control wants them.
#[derive(Debug, Default)]
pub(crate) struct Consumers {
    list: Vec<Consumer>,
    /// Places in the list: an event of one of a thousand must not search all.
    places: HashMap<DestinationKey, usize>,
}

impl Consumers {
    /// Whether somebody takes audio in this.
    pub(crate) fn take_audio_in(&self, codec: AudioCodec) -> bool {
        self.list.iter().any(|it| it.audio() == Some(codec))
    }

    /// How many are sent this rendition, or shall be.
    pub(super) fn users(&self, rendition: &Rendition) -> u32 {
        let users = self.list.iter().filter(|it| is_user(it, rendition));
        users.count() as u32
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Consumer> {
        self.list.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Consumer> {
        self.list.iter_mut()
    }

    pub(crate) fn get(&self, place: usize) -> Option<&Consumer> {
        self.list.get(place)
    }

    pub(crate) fn get_mut(&mut self, place: usize) -> Option<&mut Consumer> {
        self.list.get_mut(place)
    }

    /// Where a destination stands.
    pub(crate) fn place(&self, key: DestinationKey) -> Option<usize> {
        self.places.get(&key).copied()
    }

    pub(crate) fn destinations(&self) -> impl Iterator<Item = &Destination> {
        self.list.iter().map(|consumer| {
            let Consumer::Destination(destination) = consumer;
            destination.as_ref()
        })
    }

    /// Takes all destinations out, to be given back by [`Self::set_destinations`].
    pub(crate) fn take_destinations(&mut self) -> Vec<Destination> {
        self.places.clear();
        let list = std::mem::take(&mut self.list).into_iter();
        let destinations = list.map(|consumer| {
            let Consumer::Destination(destination) = consumer;
            *destination
        });
        destinations.collect()
    }

    pub(crate) fn set_destinations(&mut self, destinations: Vec<Destination>) {
        let keys = destinations.iter().map(Destination::key);
        self.places = keys.zip(0..).collect();
        self.list = destinations
            .into_iter()
            .map(|destination| Consumer::Destination(Box::new(destination)))
            .collect();
        debug_assert_eq!(self.places.len(), self.list.len(), "a key is used twice");
    }
}

impl Broadcast {
    /// Keeps the destinations that are wanted, makes those that are lacking, and gives back the
    /// others.
    pub(super) fn want_destinations(
        &mut self,
        ctx: &mut Context,
        wanted: &WantedBroadcast,
    ) -> Vec<Destination> {
        let before = self.consumers.take_destinations();
        let mut before: HashMap<DestinationId, Vec<Destination>> =
            before.into_iter().fold(HashMap::new(), |mut all, it| {
                all.entry(it.id.clone()).or_default().push(it);
                all
            });
        let mut destinations = Vec::with_capacity(wanted.destinations.len());
        for wanted in wanted.destinations.iter().take(DESTINATIONS_MAX) {
            let same = before.get_mut(&wanted.id).and_then(|all| {
                let index = all.iter().position(|it| it.is_for(&wanted.url))?;
                Some(all.remove(index))
            });
            let mut destination = same.unwrap_or_else(|| Destination::new(ctx, self.key, wanted));
            destination.set_retry(ctx, wanted.retry);
            destination.set_video(wanted.video);
            destinations.push(destination);
        }
        self.consumers.set_destinations(destinations);
        let mut unwanted: Vec<Destination> = before.into_values().flatten().collect();
        // A map has no order of its own, and runs are to be the same every time.
        unwanted.sort_by_key(|destination| destination.key());
        unwanted
    }

    /// The answer to a look-up of a destination.
    pub(crate) fn resolved(
        &mut self,
        ctx: &mut Context,
        lookup: LookupId,
        result: Result<Vec<SocketAddr>, String>,
    ) {
        let Some(place) = self.consumers.place(lookup.destination) else {
            return;
        };
        if let Some(Consumer::Destination(destination)) = self.consumers.get_mut(place) {
            destination.resolved(ctx, lookup, result);
        }
        self.flush_consumer(ctx, place);
    }

    /// Something happened on a connection of a destination.
    pub(crate) fn tcp(
        &mut self,
        ctx: &mut Context,
        key: DestinationKey,
        conn: ConnId,
        event: TcpEvent<'_>,
    ) {
        let Some(place) = self.consumers.place(key) else {
            return;
        };
        let rings = rings(&self.ingest, &self.renditions, self.source);
        // One that the kernel has taken everything of lacks nothing but audio that waits for its picture.
        let is_taken = matches!(event, TcpEvent::Accepted { .. });
        let audio_waits = is_taken && self.audio_wait.until().is_some();
        if let Some(consumer) = self.consumers.get_mut(place) {
            let Consumer::Destination(destination) = consumer;
            let was_full = destination.is_full();
            destination.tcp(ctx, conn, event);
            if was_full || !audio_waits {
                consumer.feed(ctx, rings);
            }
        }
        self.flush_consumer(ctx, place);
    }

    /// A deadline of a destination has come.
    pub(crate) fn destination_timeout(&mut self, ctx: &mut Context, key: DestinationKey) {
        let Some(place) = self.consumers.place(key) else {
            return;
        };
        if let Some(Consumer::Destination(destination)) = self.consumers.get_mut(place) {
            destination.timeout(ctx);
        }
        self.flush_consumer(ctx, place);
    }

    /// Gives every consumer what is new in the rings. Viewers get it as a timer that is due now: a frame
    /// is encrypted for each of them, and what the destinations are sent can leave before that.
    pub(super) fn feed(&mut self, ctx: &mut Context) {
        self.audio_wait.over();
        let rings = rings(&self.ingest, &self.renditions, self.source);
        for consumer in self.consumers.iter_mut() {
            consumer.feed(ctx, rings);
        }
        let origin_us = self.renditions.origin_us();
        self.packager.feed(ctx, &self.wanted.id, rings, origin_us);
        self.feed_players(ctx);
        self.feed_recorder(ctx);
        self.feed_viewers_soon(ctx, Duration::ZERO);
    }

    /// Viewers are given what is new in the rings by a timer that is due `within` so long.
    pub(super) fn feed_viewers_soon(&mut self, ctx: &mut Context, within: Duration) {
        if self.viewers.are_behind() {
            let timer = TimerKey::Viewers(self.key);
            ctx.timers.bring_forward(timer, ctx.now + within);
        }
    }

    /// Gives every consumer the audio that waits for a picture.
    pub(super) fn feed_waiting(&mut self, ctx: &mut Context) {
        if self.audio_wait.until().is_some() {
            self.feed(ctx);
        }
    }

    /// Flushes one consumer alone.
    pub(super) fn flush_consumer(&mut self, ctx: &mut Context, place: usize) {
        if self.flush_place(ctx, place) {
            self.request_keyframe(ctx);
        }
    }

    /// Whether the consumer waits for a keyframe: of the publisher, or of the filler.
    pub(super) fn flush_place(&mut self, ctx: &mut Context, place: usize) -> bool {
        let Some(consumer) = self.consumers.get_mut(place) else {
            return false;
        };
        let requests = consumer.flush(ctx);
        if requests.keyframe {
            self.ingest.filler.keyframe_wanted();
        }
        if requests.report {
            self.report_consumer(ctx, place);
        }
        requests.keyframe
    }

    pub(super) fn report_consumer(&self, ctx: &mut Context, place: usize) {
        let Some(Consumer::Destination(destination)) = self.consumers.get(place) else {
            return;
        };
        let status = self.destination_status(ctx, destination);
        let broadcast = self.wanted.id.clone();
        tracing::info!(
            %broadcast,
            destination = %status.id,
            state = ?status.state,
            problem = status.last_problem.as_ref().map(|problem| problem.message.as_str()),
            "destination"
        );
        ctx.event(Event::Destination { broadcast, status });
    }

    /// Whether it is the choice of some consumer or of the packager, or for some viewer.
    pub(super) fn chooses(&self, rendition: &Rendition) -> bool {
        let chosen = VideoSource::Rendition(rendition.spec);
        let mut consumers = self.consumers.iter();
        rendition.problem.is_none()
            && (consumers.any(|it| it.video().selected() == chosen)
                || self.viewers.choose(&rendition.spec)
                || self.packager.chooses(&rendition.spec))
    }

    /// Whether viewers alone are to be sent this rendition, over WebRTC or by HLS, and there is other video for them: it ends
    /// where a destination needs what it takes.
    pub(super) fn yields(&self, rendition: &Rendition) -> bool {
        let chosen = VideoSource::Rendition(rendition.spec);
        let mut consumers = self.consumers.iter();
        self.chooses(rendition)
            && !consumers.any(|it| it.video().selected() == chosen)
            && !self.viewers.need(&rendition.spec)
            && !self.packager.needs(&rendition.spec)
    }

    /// Whether some consumer or viewer is sent this rendition, or shall be, or it is packaged.
    pub(super) fn uses(&self, rendition: &Rendition) -> bool {
        self.consumers.iter().any(|it| is_user(it, rendition))
            || self.viewers.use_rendition(rendition)
            || self.packager.uses(rendition)
    }

    pub(super) fn destination_status(
        &self,
        ctx: &Context,
        destination: &Destination,
    ) -> DestinationStatus {
        let mut status = destination.status(ctx);
        if let Some(picture) = &mut status.video {
            let choice = destination.video.selected();
            let rendition = self.renditions.list().iter().find(|it| {
                destination.ring() == Some(RingId::Rendition(it.id))
                    || choice == VideoSource::Rendition(it.spec)
            });
            if let Some(rendition) = rendition.filter(|_| picture.path == VideoPath::Rendition) {
                (picture.width, picture.height) = rendition.size();
                if rendition.problem.is_some() {
                    picture.path = VideoPath::None;
                }
            }
        }
        status
    }

    /// Whether viewers are offered video.
    pub(super) fn expects_video(&self) -> bool {
        expects_video(&self.ingest, self.source)
    }

    /// Tells every consumer whether there is a publisher, or one is waited for.
    pub(super) fn update_consumers(&mut self, ctx: &mut Context) {
        let (on_air, holding) = (self.is_on_air(), self.is_holding());
        for consumer in self.consumers.iter_mut() {
            consumer.set_source(ctx, on_air, holding);
        }
    }
}

/// Whether a consumer is sent this rendition, or shall be. One that failed keeps its audio for those
/// that it was sent to, and is no longer selected.
fn is_user(consumer: &Consumer, rendition: &Rendition) -> bool {
    let chosen = rendition.problem.is_none()
        && consumer.video().selected() == VideoSource::Rendition(rendition.spec);
    chosen || consumer.ring() == Some(RingId::Rendition(rendition.id))
}

/// Whether the publisher's video is there, or will come.
fn expects_video(ingest: &Ingest, source: Source) -> bool {
    let is_offered = match source {
        Source::Publishing { video, .. } | Source::Holding { video, .. } => video,
        Source::Off => false,
    };
    is_offered || ingest.filler.has_pictures()
}

pub(super) fn rings<'a>(
    ingest: &'a Ingest,
    renditions: &'a Renditions,
    source: Source,
) -> Rings<'a> {
    Rings {
        source: &ingest.ring,
        source_facts: MediaFacts {
            expects_video: expects_video(ingest, source),
            frames_per_second: ingest.frames_per_second(),
            video_bps: ingest.video_bps(),
            audio_bps: ingest.audio_bps().unwrap_or(AUDIO_BPS_DEFAULT),
            aac: ingest.aac_config(),
        },
        renditions: renditions.list(),
    }
}
