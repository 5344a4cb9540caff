//! The hook of the seeded simulation in the crate `shardcast-sim`. It is compiled with the cargo
//! feature `simulation` alone, which no build of the engine enables.
//!
//! The simulation drives a [`Shard`] as the engine does: by [`Shard::handle`], [`Shard::poll`] and
//! [`Shard::next_timeout`]. Two things need more:
//!
//! * str0m draws keys from the operating system, so no two sessions over WebRTC are alike.
//!   [`SimulatedPublisher`] hands access units and Opus packets to the broadcast in the place of a
//!   WebRTC session, so that a seed decides a run alone.
//! * [`ShardView`] and [`residue`] read what no output, event or status tells, where an assertion
//!   depends on it.
//!
//! The simulation knows nothing else of the inside of a shard. A change of that inside has to keep
//! these functions true and touches nothing in `shardcast-sim`. A shard of the simulation has one
//! broadcast at most, so nothing here says which one is meant.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use shardcast_link::{DestinationId, RenditionSpec, VideoCodec};

use super::Shard;
use crate::{
    broadcast::Broadcast,
    broadcast::renditions::VideoSource,
    broadcast::ring::{Kind, RingId},
    context::{Context, TimerKey},
    destination::Destination,
    ids::{BroadcastKey, ConnId, ConnOwner, LookupId, RenditionId, SessionKey},
    ingest_event::IngestEvent,
    limits,
    timeline::Timeline,
    webrtc::audio_receiver::{AudioReceiver, OpusArrival},
};

/// The bound of the publisher's ring, in bytes.
pub const RING_BYTES_MAX: usize = limits::RING_BYTES_MAX;
/// Connections that one destination makes at once.
pub const CONNECTS_AT_ONCE_MAX: usize = limits::CONNECTS_AT_ONCE_MAX;
/// What is written to one connection and not taken by the kernel stays below this and one access
/// unit, in bytes.
pub const DESTINATION_OUTSTANDING_BYTES_MAX: usize = limits::DESTINATION_OUTSTANDING_BYTES_MAX;
/// Video that a viewer may be sent at once, in bytes; the rest follows at [`VIEWER_LIVE_BPS`] at the most.
pub const VIEWER_BURST_BYTES: u32 = limits::VIEWER_BURST_BYTES;
/// Bits a second.
pub const VIEWER_LIVE_BPS: u64 = limits::VIEWER_LIVE_BPS;
/// Video that a viewer may be sent again at once, in bytes.
pub const VIEWER_REPEATED_BURST_BYTES: u32 = limits::VIEWER_REPEATED.burst;
/// And a second.
pub const VIEWER_REPEATED_BYTES_PER_SECOND: u32 = limits::VIEWER_REPEATED.per_second;
/// What recordings have given to the disk and is not on it stays below this and one fragment, in bytes.
pub const RECORDING_OUTSTANDING_BYTES_MAX: usize = limits::RECORDING_OUTSTANDING_BYTES_MAX;
/// A fragment of a recording has so many bytes of payload, and at most one access unit more.
pub const RECORDING_FRAGMENT_BYTES: usize = limits::RECORDING_FRAGMENT_BYTES;
/// A segment of HLS ends without a keyframe when it is so long, in microseconds.
pub const HLS_SEGMENT_US_MAX: i64 = limits::HLS_SEGMENT_US_MAX;
/// Different renditions of one broadcast.
pub const RENDITIONS_MAX: usize = limits::RENDITIONS_MAX;

/// A publisher without WebRTC. Each call does what the shard does after the same event of a real
/// session; the caller polls the shard's outputs afterwards.
#[derive(Debug)]
pub struct SimulatedPublisher<'a> {
    shard: &'a mut Shard,
    key: BroadcastKey,
}

/// What became of an access unit that went into the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmittedVideo {
    /// Where the unit stands on the broadcast's clock, in microseconds.
    pub pts_us: Option<i64>,
    /// Filler stood in for the publisher when the unit came.
    pub after_filler: bool,
}

impl<'a> SimulatedPublisher<'a> {
    /// None while the shard has no broadcast.
    pub fn of(shard: &'a mut Shard) -> Option<Self> {
        let key = *shard.broadcasts.keys().next()?;
        Some(Self { shard, key })
    }

    /// Another session sends its first media, and replaces the one before. `video`: it offers video.
    pub fn publish(&mut self, now: Instant, video: bool) {
        let session = SessionKey {
            broadcast: self.key,
            number: self.shard.ctx.ids.next(),
        };
        self.with(now, |it, ctx| it.simulate_publish(ctx, session, video));
    }

    /// The session is lost.
    pub fn hold(&mut self, now: Instant) {
        self.with(now, Broadcast::simulate_hold);
    }

    /// The publisher ends the broadcast.
    pub fn end(&mut self, now: Instant) {
        self.with(now, Broadcast::simulate_end);
    }

    /// An access unit in Annex B, or a frame of another codec, at `pts_us` on the shard's clock.
    /// `contiguous`: nothing was lost since the unit before. None if the broadcast does not take it.
    pub fn video(
        &mut self,
        now: Instant,
        pts_us: i64,
        codec: VideoCodec,
        unit: &Arc<[u8]>,
        contiguous: bool,
    ) -> Option<AdmittedVideo> {
        self.with(now, |it, ctx| {
            let after_filler = it.is_filler_seen();
            let pts_us = it.simulate_video(ctx, pts_us, codec, unit, contiguous)?;
            Some(AdmittedVideo {
                pts_us,
                after_filler,
            })
        })?
    }

    /// Hands over what `microphone` has placed by now. Returns how many samples at 48 kHz the
    /// broadcast has filled in since it went on air.
    pub fn audio(&mut self, now: Instant, microphone: &mut SimulatedMicrophone) -> Option<u64> {
        self.with(now, |it, ctx| {
            let placed = std::iter::from_fn(|| microphone.receiver.poll());
            let mut events: Vec<IngestEvent> = placed.map(IngestEvent::Audio).collect();
            events.extend(
                microphone
                    .receiver
                    .held_since_us()
                    .map(IngestEvent::AudioHeld),
            );
            it.simulate_audio(ctx, events);
            it.samples_filled()
        })
    }

    fn with<T>(
        &mut self,
        now: Instant,
        run: impl FnOnce(&mut Broadcast, &mut Context) -> T,
    ) -> Option<T> {
        self.shard.ctx.now = now;
        let broadcast = self.shard.broadcasts.get_mut(&self.key)?;
        Some(run(broadcast, &mut self.shard.ctx))
    }
}

/// The receiving end of a microphone, as a WebRTC session has it: puts Opus packets in order and
/// places them on the shard's clock.
#[derive(Debug)]
pub struct SimulatedMicrophone {
    timeline: Timeline,
    receiver: AudioReceiver,
}

impl Default for SimulatedMicrophone {
    fn default() -> Self {
        Self {
            timeline: Timeline::new(),
            receiver: AudioReceiver::default(),
        }
    }
}

impl SimulatedMicrophone {
    /// A packet has arrived at `arrived_us` on the shard's clock; `rtp` counts samples at 48 kHz.
    pub fn packet(
        &mut self,
        now: Instant,
        sequence: u64,
        rtp: u64,
        arrived_us: i64,
        packet: Arc<[u8]>,
    ) {
        let arrival = OpusArrival {
            sequence,
            rtp,
            arrived_us,
            packet,
        };
        self.receiver.packet(now, &mut self.timeline, arrival);
    }

    /// Time has passed without a packet.
    pub fn timeout(&mut self, now: Instant) {
        self.receiver.timeout(now, &mut self.timeline);
    }
}

/// Which video a destination shall be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelectedVideo {
    /// The publisher's, unchanged.
    Passthrough,
    /// A rendition of this kind.
    Rendition(RenditionSpec),
    /// None that it could be sent exists.
    None,
}

/// Which video a destination is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentVideo {
    /// The publisher's, unchanged.
    Passthrough,
    /// Of this rendition.
    Rendition(RenditionId),
}

/// One destination.
#[derive(Clone, Copy, Debug)]
pub struct DestinationView<'a> {
    /// Its name at control.
    pub id: &'a DestinationId,
    /// What it shall be sent.
    pub selected: SelectedVideo,
    /// What it is sent; none while its stream is not open.
    pub sent: Option<SentVideo>,
}

/// Reads a shard.
#[derive(Clone, Copy, Debug)]
pub struct ShardView<'a>(&'a Shard);

impl<'a> ShardView<'a> {
    /// A view of `shard` as it is now.
    pub fn of(shard: &'a Shard) -> Self {
        Self(shard)
    }

    /// Control wants a broadcast here.
    pub fn has_broadcast(self) -> bool {
        !self.0.broadcasts.is_empty()
    }

    /// Somebody publishes, or was lost and is waited for.
    pub fn is_on_air(self) -> bool {
        self.0.broadcasts.values().any(Broadcast::is_on_air)
    }

    /// When the publisher is asked for a keyframe, as far as the broadcast asks by itself.
    pub fn keyframe_due(self) -> Option<Instant> {
        self.broadcast()?.keyframe_due()
    }

    /// Sequence number in the publisher's ring.
    pub fn newest_keyframe(self) -> Option<u64> {
        self.broadcast()?.ring().newest_keyframe()
    }

    /// The access unit of [`Self::newest_keyframe`], as length-prefixed NAL units.
    pub fn newest_keyframe_unit(self) -> Option<Bytes> {
        let ring = self.broadcast()?.ring();
        Some(ring.get(ring.newest_keyframe()?)?.payload.clone())
    }

    /// Sequence number of the next unit in the publisher's ring.
    pub fn ring_end(self) -> u64 {
        self.broadcast().map_or(0, |it| it.ring().end())
    }

    /// Access units of the publisher's ring from this sequence number on, as length-prefixed NAL units.
    pub fn video_units(self, from: u64) -> impl Iterator<Item = &'a Bytes> {
        let ring = self.broadcast().map(Broadcast::ring).into_iter();
        let units = ring.flat_map(move |ring| (from..ring.end()).filter_map(|seq| ring.get(seq)));
        let video = units.filter(|unit| matches!(unit.kind, Kind::Video { .. }));
        video.map(|unit| &unit.payload)
    }

    /// Bytes that the publisher's ring holds.
    pub fn ring_bytes(self) -> usize {
        self.broadcast().map_or(0, |it| it.ring().bytes())
    }

    /// TCP connections to destinations that the shard knows.
    pub fn connections(self) -> usize {
        self.all_destinations().map(Destination::connections).sum()
    }

    /// Whose connection it is.
    pub fn destination_of_connection(self, conn: ConnId) -> Option<&'a DestinationId> {
        let ConnOwner::Destination { destination, .. } = conn.0 else {
            return None;
        };
        let mut destinations = self.all_destinations();
        let owner = destinations.find(|it| it.key() == destination)?;
        owner.owns(conn).then_some(&owner.id)
    }

    /// Whose name look-up it is.
    pub fn destination_of_lookup(self, lookup: LookupId) -> Option<&'a DestinationId> {
        let mut destinations = self.all_destinations();
        let owner = destinations.find(|it| it.key() == lookup.destination)?;
        owner.awaits(lookup).then_some(&owner.id)
    }

    /// All destinations that are wanted.
    pub fn destinations(self) -> impl Iterator<Item = DestinationView<'a>> {
        self.all_destinations().map(|it| DestinationView {
            id: &it.id,
            selected: match it.video.selected() {
                VideoSource::Passthrough => SelectedVideo::Passthrough,
                VideoSource::Rendition(spec) => SelectedVideo::Rendition(spec),
                VideoSource::None => SelectedVideo::None,
            },
            sent: it.ring().map(|ring| match ring {
                RingId::Source => SentVideo::Passthrough,
                RingId::Rendition(id) => SentVideo::Rendition(id),
            }),
        })
    }

    /// All renditions of the broadcast, those that failed or are being left included.
    pub fn renditions(self) -> impl Iterator<Item = (RenditionId, RenditionSpec)> {
        let lists = self.broadcast().into_iter();
        let all = lists.flat_map(|it| it.renditions().list());
        all.map(|it| (it.id, it.spec))
    }

    /// Some viewer is sent this rendition, or shall be.
    pub fn is_viewed(self, id: RenditionId) -> bool {
        self.broadcast().is_some_and(|it| it.is_viewed(id))
    }

    /// The broadcast has a video transcoder.
    pub fn has_video_transcoder(self) -> bool {
        let broadcast = self.broadcast();
        broadcast.is_some_and(|it| it.renditions().transcoder().is_some())
    }

    /// What the renditions that some destination selects take, and decoding for them, in thousandths
    /// of a core: by measurement where there is one, otherwise by the estimate of admission.
    /// Decoding that is not measured counts 1.
    pub fn codec_permille(self) -> u32 {
        let broadcasts = self.0.broadcasts.values();
        broadcasts.map(Broadcast::selected_permille).sum()
    }

    /// How often admission refused a rendition.
    pub fn renditions_refused(self) -> u64 {
        self.0.ctx.budget.status().refused
    }

    fn broadcast(self) -> Option<&'a Broadcast> {
        self.0.broadcasts.values().next()
    }

    fn all_destinations(self) -> impl Iterator<Item = &'a Destination> {
        let broadcasts = self.0.broadcasts.values();
        broadcasts.flat_map(Broadcast::all_destinations)
    }
}

/// Stops the shard's reports of status, whose deadline never ends, and counts what the shard still
/// remembers once its broadcast was taken away: what is counted, and how many are left, which has to
/// be 0.
pub fn residue(shard: &mut Shard) -> Vec<(&'static str, usize)> {
    let ctx = &mut shard.ctx;
    ctx.timers.set(TimerKey::Status, None);
    vec![
        ("broadcasts", shard.broadcasts.len()),
        ("names of broadcasts", shard.broadcast_keys.len()),
        ("sessions", ctx.demux.len()),
        ("names of sessions", ctx.demux.names()),
        ("viewers", ctx.viewers.sessions),
        ("viewers that have not come", ctx.viewers.starting),
        ("RTMP connections", shard.ingest.len()),
        ("outputs", ctx.outputs.len()),
        ("deadlines", usize::from(ctx.timers.earliest().is_some())),
        (
            "permille of codecs",
            ctx.budget.status().used_permille as usize,
        ),
    ]
}
