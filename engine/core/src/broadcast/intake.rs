//! What becomes of a publisher's media on its way into the ring: conversion, one monotone clock,
//! sound without gaps, keyframes in time.

use std::{
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use shardcast_link::{AudioStatus, VideoCodec, VideoStatus};

use super::{
    audio_clock::{AudioClock, Feed},
    decodable::{Decodable, KeyframeRepeat},
    decode_clock::{DecodeClock, Order, Picture},
    rates::{Counted, Rates},
    sound::LaneFeed,
    stand_in::StandIn,
};
use crate::{
    destination::SourceFacts,
    h264::{ParameterSets, UNIT_BYTES_MAX, VideoUnit},
    is_keyframe, opus,
    ring::{Kind, Ring, Unit},
    rtmp::flv::AVC_HEADER_BYTES,
    webrtc::audio_receiver::PlacedOpus,
};

/// A keyframe takes about this long from request to arrival; it is asked for so much earlier.
const KEYFRAME_LEAD_MS: u64 = 60;
/// A publisher starts with a keyframe by itself; it is only asked if none came within this.
const KEYFRAME_FIRST_MS: u64 = 300;
/// While nothing comes, silence is made this often.
const SILENCE_TICK_MS: u64 = 100;

/// A picture of the publisher that can be decoded, for the lane that renditions come from.
#[derive(Clone, Debug)]
pub(crate) struct SourcePicture {
    pub(crate) codec: VideoCodec,
    /// Of H.264.
    pub(crate) config: Option<Rc<ParameterSets>>,
    /// When it is shown; pictures are in the order of decoding.
    pub(crate) pts_us: i64,
    pub(crate) key: bool,
    /// It is the first one that tells that the publisher sends B-frames.
    pub(crate) begins_b_frames: bool,
    /// H.264: NAL units behind lengths of four bytes.
    pub(crate) unit: Bytes,
}

#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) ring: Ring,
    pub(crate) lane_feeds: VecDeque<LaneFeed>,
    config: Option<Rc<ParameterSets>>,
    /// Of the last keyframe.
    codec: Option<VideoCodec>,
    awaits_keyframe: bool,
    audio: AudioClock,
    decode_clock: DecodeClock,
    last_keyframe_us: i64,
    /// When silence is made next.
    silence_at: Option<Instant>,
    pub(crate) stand_in: StandIn,
    keyframe_at: Option<Instant>,
    keyframe_due: Option<Instant>,
    keyframe_interval: Duration,
    keyframe_repeat: KeyframeRepeat,
    pub(super) decodable: Decodable,
    video_bytes: u64,
    rates: Rates,
    video: VideoStatus,
    audio_packets: u64,
    audio_bytes: u64,
}

impl Intake {
    pub(crate) fn new(keyframe_interval: Duration) -> Self {
        Self {
            ring: Ring::default(),
            lane_feeds: VecDeque::new(),
            config: None,
            codec: None,
            awaits_keyframe: true,
            audio: AudioClock::default(),
            decode_clock: DecodeClock::default(),
            last_keyframe_us: 0,
            silence_at: None,
            stand_in: StandIn::default(),
            keyframe_at: None,
            keyframe_due: None,
            keyframe_interval,
            keyframe_repeat: KeyframeRepeat::default(),
            decodable: Decodable::default(),
            video_bytes: 0,
            rates: Rates::default(),
            video: VideoStatus::default(),
            audio_packets: 0,
            audio_bytes: 0,
        }
    }

    pub(crate) fn set_keyframe_interval(&mut self, interval: Duration) {
        self.keyframe_interval = interval;
    }

    /// Another publisher's media begins: nothing of it can be decoded before its first keyframe.
    pub(crate) fn start(&mut self, now: Instant, video: bool) {
        self.audio.forget_held();
        self.awaits_keyframe = true;
        self.stand_in.begin(now, false);
        self.keyframe_at = None;
        // What the one before was like says nothing of this one.
        self.codec = None;
        self.decode_clock.start();
        self.video.keyframe_interval_ms = 0;
        self.rates.mean_bps = 0;
        self.keyframe_repeat = KeyframeRepeat::default();
        self.decodable = Decodable::default();
        self.keyframe_due = video.then_some(now + Duration::from_millis(KEYFRAME_FIRST_MS));
    }

    /// The publisher has added its first video track, or removed its last: keyframes are due, or not.
    pub(crate) fn offers(&mut self, now: Instant, video: bool) {
        self.awaits_keyframe = true;
        self.keyframe_due = video.then_some(now + Duration::from_millis(KEYFRAME_FIRST_MS));
    }

    /// No publisher: no keyframes are due, and pictures of ours take the place of its.
    pub(crate) fn stop(&mut self, now: Instant) {
        self.audio.forget_held();
        self.keyframe_due = None;
        self.awaits_keyframe = true;
        self.stand_in.begin(now, true);
    }

    /// A frame of the publisher: an access unit in Annex B, or a frame of another codec. What comes
    /// back can be decoded; H.264 is in the ring then.
    pub(crate) fn video(
        &mut self,
        now: Instant,
        pts_us: i64,
        codec: VideoCodec,
        frame: &Arc<[u8]>,
        contiguous: bool,
    ) -> Option<SourcePicture> {
        self.stand_in.arrival(now);
        self.video.frames += 1;
        self.video_bytes += frame.len() as u64;
        let picture = match codec {
            VideoCodec::H264 => self.h264(now, pts_us, frame, contiguous),
            _ => self.foreign(now, pts_us, codec, frame, contiguous),
        };
        if picture.is_none() {
            // Its time has passed all the same, and sound may be absent too.
            self.silence_until(pts_us);
        }
        self.decodable.came(now, picture.is_some());
        picture
    }

    fn h264(
        &mut self,
        now: Instant,
        pts_us: i64,
        annex_b: &[u8],
        contiguous: bool,
    ) -> Option<SourcePicture> {
        let mut unit = match VideoUnit::from_annex_b(annex_b, 0) {
            Ok(unit) => unit,
            Err(error) => {
                tracing::debug!(%error, "an access unit was left out");
                self.damaged(now);
                return None;
            }
        };
        if let Some(sps) = &unit.sps {
            self.configure(sps, &unit.pps);
        }
        if !unit.has_picture() {
            return None; // Parameter sets or SEI alone.
        }
        let key = unit.key;
        if !self.decodable(now, VideoCodec::H264, key, contiguous) {
            return None;
        }
        let config = self.config.clone()?;
        let had_b_frames = self.decode_clock.has_b_frames();
        let picture = Picture {
            pts_us,
            key,
            order: self.order(&config, &unit),
            b_slices: unit.b_slices,
            disposable: !unit.reference,
        };
        let reference = unit.reference;
        let stamp = self.decode_clock.stamp(picture);
        let begins_b_frames = !had_b_frames && self.decode_clock.has_b_frames();
        let pts_us = stamp.map_or(pts_us, |stamp| stamp.pts_us);
        if let Some(stamp) = stamp {
            unit.set_composition_time(stamp.cts_ms());
            let unit = Unit {
                kind: Kind::Video {
                    key,
                    config: config.clone(),
                },
                pts_us,
                dts_us: stamp.dts_us,
                body: unit.body.clone(),
            };
            let seq = self.ring.end();
            self.stand_in.picture(now, &unit, reference, seq);
            self.push_video(unit);
        }
        Some(SourcePicture {
            codec: VideoCodec::H264,
            config: Some(config),
            pts_us,
            key,
            begins_b_frames,
            unit: unit.body.slice(AVC_HEADER_BYTES.min(unit.body.len())..),
        })
    }

    /// Where a picture is shown. Parameter sets that rule B-frames out are believed until some come,
    /// so that streams without them are not looked into.
    fn order(&mut self, config: &ParameterSets, unit: &VideoUnit) -> Order {
        let syntax = &config.sps().order;
        if syntax.as_decoded && !unit.b_slices && !self.decode_clock.has_b_frames() {
            return Order::AsDecoded;
        }
        let nal_units = unit.body.get(AVC_HEADER_BYTES..).unwrap_or_default();
        let counted = self.decode_clock.counter().next(syntax, nal_units);
        counted.map_or(Order::Unknown, Order::Counted)
    }

    /// What no destination takes as it is: renditions are made from it.
    fn foreign(
        &mut self,
        now: Instant,
        pts_us: i64,
        codec: VideoCodec,
        frame: &Arc<[u8]>,
        contiguous: bool,
    ) -> Option<SourcePicture> {
        let key = is_keyframe(codec, frame);
        if frame.len() > UNIT_BYTES_MAX {
            self.damaged(now);
            return None;
        }
        if !self.decodable(now, codec, key, contiguous) {
            return None;
        }
        self.stand_in.forget();
        self.config = None;
        (self.video.width, self.video.height) = (0, 0);
        let picture = Picture {
            pts_us,
            key,
            order: Order::AsDecoded,
            b_slices: false,
            disposable: false,
        };
        let pts_us = self.decode_clock.stamp(picture)?.pts_us;
        self.last_keyframe_us = if key { pts_us } else { self.last_keyframe_us };
        self.silence_until(pts_us);
        Some(SourcePicture {
            codec,
            config: None,
            pts_us,
            key,
            begins_b_frames: false,
            unit: Bytes::from_owner(Arc::clone(frame)),
        })
    }

    /// Whether everything that the frame leans on is there.
    fn decodable(&mut self, now: Instant, codec: VideoCodec, key: bool, contiguous: bool) -> bool {
        if key {
            self.codec = Some(codec);
            self.keyframe(now);
        } else if self.awaits_keyframe || !contiguous || self.codec != Some(codec) {
            self.damaged(now);
            return false;
        }
        true
    }

    fn push_video(&mut self, unit: Unit) {
        let dts_us = unit.dts_us;
        if unit.is_keyframe() {
            self.last_keyframe_us = unit.pts_us;
        }
        self.ring.push(unit);
        // Before what is shown later than it comes, so that sound which comes on time is not late.
        self.silence_until(dts_us);
    }

    /// Fills in what the publisher did not send up to now: pictures of ours once they are due, and
    /// silence with them. True when something went into the ring.
    pub(crate) fn fill(&mut self, now: Instant, now_us: i64) -> bool {
        if self.silence_due().is_some_and(|at| now >= at) {
            self.silence_until(now_us);
            self.silence_at = Some(now + Duration::from_millis(SILENCE_TICK_MS));
        }
        if self.stand_in.is_absent(now) {
            self.stand_in.begin(now, false);
        }
        let interval_us = i64::try_from(self.keyframe_interval.as_micros()).unwrap_or(i64::MAX);
        let mut filled = false;
        while let Some(last_us) = self.decode_clock.last_pts_us()
            && let Some(unit) =
                self.stand_in
                    .next_unit(now, now_us, last_us, self.last_keyframe_us, interval_us)
        {
            self.decode_clock.filled(unit.pts_us);
            self.push_video(unit);
            filled = true;
        }
        if filled && !self.awaits_keyframe {
            self.awaits_keyframe = true;
            self.keyframe_due = Some(now);
        }
        filled
    }

    /// When [`Self::fill`] has something to do.
    pub(crate) fn fill_due(&self) -> Option<Instant> {
        [self.silence_due(), self.stand_in.next_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    fn silence_due(&self) -> Option<Instant> {
        let due = self.stand_in.silence_due()?;
        Some(self.silence_at.map_or(due, |at| at.max(due)))
    }

    /// An Opus packet.
    pub(crate) fn audio(&mut self, now: Instant, opus: &PlacedOpus) {
        self.stand_in.media(now);
        self.audio_packets += 1;
        self.audio_bytes += opus.packet.len() as u64;
        let Some(duration) = opus::duration_samples(&opus.packet) else {
            return;
        };
        for feed in self.audio.packet(opus.pts_us, duration, opus.lost) {
            self.feed_lane(feed, &opus.packet, duration);
        }
    }

    /// Audio is here from `since_us` on and comes as soon as its place is known.
    pub(crate) fn audio_held(&mut self, now: Instant, since_us: i64) {
        self.stand_in.media(now);
        self.audio.held(since_us);
    }

    /// The clock, or the picture, has come to `until_us`: destinations get silence where sound is absent.
    fn silence_until(&mut self, until_us: i64) {
        if let Some(feed) = self.audio.advance(until_us) {
            self.feed_lane(feed, &[], 0);
        }
    }

    /// Media time of the first sample that audio lanes were fed.
    pub(crate) fn sound_origin_us(&self) -> Option<i64> {
        self.audio.origin_us()
    }

    /// Pixels of the publisher's picture, if they are told without decoding it.
    pub(crate) fn picture_size(&self) -> Option<(u32, u32)> {
        let config = self.config.as_ref()?;
        Some((config.width(), config.height()))
    }

    /// What destinations judge the publisher's picture by.
    pub(crate) fn source_facts(&self, now: Instant) -> SourceFacts {
        let since_ms = self.keyframe_at.map_or(0, |at| {
            u32::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(u32::MAX)
        });
        SourceFacts {
            offers_video: true,
            codec: self.codec,
            width: self.config.as_ref().map_or(0, |config| config.width()),
            height: self.config.as_ref().map_or(0, |config| config.height()),
            keyframe_interval_ms: self.video.keyframe_interval_ms.max(since_ms),
            video_bps: self.rates.mean_bps,
            b_frames: self.decode_clock.has_b_frames(),
        }
    }

    /// When a keyframe shall be asked for.
    pub(crate) fn keyframe_due(&self) -> Option<Instant> {
        self.keyframe_due
    }

    /// The publisher is asked for a keyframe now.
    pub(crate) fn keyframe_asked(&mut self, now: Instant) {
        self.keyframe_due = Some(now + self.keyframe_repeat.next());
    }

    pub(crate) fn video_status(&self) -> VideoStatus {
        let codec = self.codec.unwrap_or(VideoCodec::H264);
        VideoStatus {
            codec: codec.name().to_owned(),
            ..self.video.clone()
        }
    }

    pub(crate) fn audio_status(&self) -> AudioStatus {
        AudioStatus {
            codec: "opus".to_owned(),
            packets: self.audio_packets,
            samples_filled: self.audio.samples_filled(),
            bitrate_bps: self.rates.audio_bps,
        }
    }

    pub(crate) fn frames_per_second(&self) -> u32 {
        self.video.frames_per_second
    }

    pub(crate) fn has_video(&self) -> bool {
        self.video.frames > 0
    }

    pub(crate) fn has_audio(&self) -> bool {
        self.audio_packets > 0
    }

    pub(crate) fn video_bps(&self) -> u64 {
        self.rates.video_bps
    }

    /// Starts a new second of rates.
    pub(crate) fn tick(&mut self) {
        self.rates.tick(Counted {
            frames: self.video.frames,
            video_bytes: self.video_bytes,
            audio_bytes: self.audio_bytes,
        });
        self.video.frames_per_second = self.rates.frames;
    }

    /// Takes over the parameter sets in front of a keyframe, if they are not those in use.
    fn configure(&mut self, sps: &Bytes, pps: &[Bytes]) {
        if let Some(config) = &self.config
            && config.sps_nal() == sps
            && config.pps_nals() == pps
        {
            return;
        }
        match ParameterSets::new(sps, pps) {
            Ok(config) => {
                self.video.width = config.width();
                self.video.height = config.height();
                self.config = Some(Rc::new(config));
            }
            Err(error) => tracing::warn!(%error, "the publisher's video cannot be described"),
        }
    }

    fn keyframe(&mut self, now: Instant) {
        self.awaits_keyframe = false;
        if let Some(before) = self.keyframe_at {
            let interval = now.saturating_duration_since(before).as_millis();
            self.video.keyframe_interval_ms = u32::try_from(interval).unwrap_or(u32::MAX);
        }
        self.keyframe_at = Some(now);
        self.keyframe_repeat = KeyframeRepeat::default();
        let lead = Duration::from_millis(KEYFRAME_LEAD_MS);
        self.keyframe_due = Some(now + self.keyframe_interval.saturating_sub(lead));
    }

    /// A unit cannot be decoded, and so none can before the next keyframe.
    pub(crate) fn damaged(&mut self, now: Instant) {
        self.video.frames_damaged += 1;
        self.decodable.came(now, false);
        if !self.awaits_keyframe {
            self.awaits_keyframe = true;
            self.keyframe_due = Some(now);
            self.stand_in.begin(now, false);
        }
    }

    fn feed_lane(&mut self, feed: Feed, packet: &[u8], duration: u32) {
        self.lane_feeds.push_back(match feed {
            Feed::Packet => LaneFeed::Packet(Bytes::copy_from_slice(packet), duration),
            Feed::Recover(samples) => LaneFeed::Recover(Bytes::copy_from_slice(packet), samples),
            Feed::Conceal(samples) => LaneFeed::Conceal(samples),
            Feed::Silence(samples) => LaneFeed::Silence(samples),
        });
    }
}
