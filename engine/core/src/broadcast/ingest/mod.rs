//! The publisher's media on its way into the ring: conversion to AVCC, one monotone clock, a gapless
//! audio timeline, keyframe requests in time.

mod catch_up;
pub(crate) mod decodable;
pub(crate) mod decode_clock;
#[cfg(test)]
mod decode_clock_tests;
mod encoder;
mod encoders;
mod opus;
mod rates;
pub(crate) mod session;
pub(crate) mod sessions;
mod status;

use std::{
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use shardcast_link::{VideoCodec, VideoStatus};

use self::{
    catch_up::CatchUp,
    decodable::{Decodable, KeyframeRepeat},
    decode_clock::{DecodeClock, Frame, Order, Stamp},
    rates::Rates,
};
use super::{
    audio::{OpusTrack, PlacedInput, aac_track::AacTrack, gap_filler::AudioGapFiller},
    filler::Filler,
};
use crate::{
    broadcast::renditions::constraints::SourceFacts,
    broadcast::ring::{Kind, Ring, Unit},
    codec::h264::{ParameterSets, UNIT_BYTES_MAX, VideoUnit},
    is_keyframe,
    limits::KEYFRAME_REQUEST_MS_MIN,
};

/// A keyframe takes about this long from request to arrival; it is asked for so much earlier.
const KEYFRAME_LEAD_MS: u64 = 60;
/// A publisher starts with a keyframe by itself; it is only asked if none came within this.
const KEYFRAME_FIRST_MS: u64 = 300;
/// While nothing comes, silence is made this often.
const SILENCE_TICK_MS: u64 = 100;

/// A decodable frame of the publisher, for the transcoder that makes renditions.
#[derive(Clone, Debug)]
pub(crate) struct SourceFrame {
    pub(crate) codec: VideoCodec,
    /// Of H.264.
    pub(crate) config: Option<Rc<ParameterSets>>,
    /// When it is shown; frames are in the order of decoding.
    pub(crate) pts_us: i64,
    pub(crate) key: bool,
    /// It is the first one that tells that the publisher sends B-frames.
    pub(crate) begins_b_frames: bool,
    /// H.264: NAL units behind lengths of four bytes.
    pub(crate) unit: Bytes,
}

#[derive(Debug)]
pub(crate) struct Ingest {
    pub(crate) ring: Ring,
    pub(crate) audio_inputs: VecDeque<PlacedInput>,
    opus: OpusTrack,
    /// The audio of an encoder; `None` while, or after, a browser publishes.
    aac: Option<AacTrack>,
    /// The publisher, or the last one, tells when pictures are decoded.
    tells_decode_times: bool,
    config: Option<Rc<ParameterSets>>,
    /// Of the last keyframe.
    codec: Option<VideoCodec>,
    awaits_keyframe: bool,
    audio: AudioGapFiller,
    decode_clock: DecodeClock,
    catch_up: CatchUp,
    last_keyframe_us: i64,
    /// When silence is made next.
    silence_at: Option<Instant>,
    pub(crate) filler: Filler,
    keyframe_at: Option<Instant>,
    keyframe_due: Option<Instant>,
    keyframe_interval: Duration,
    keyframe_repeat: KeyframeRepeat,
    /// When a request reached the publisher last.
    keyframe_requested: Option<Instant>,
    pub(crate) decodable: Decodable,
    video_bytes: u64,
    rates: Rates,
    video: VideoStatus,
    audio_packets: u64,
    audio_bytes: u64,
}

impl Ingest {
    pub(crate) fn new(keyframe_interval: Duration) -> Self {
        Self {
            ring: Ring::default(),
            audio_inputs: VecDeque::new(),
            opus: OpusTrack::default(),
            aac: None,
            tells_decode_times: false,
            config: None,
            codec: None,
            awaits_keyframe: true,
            audio: AudioGapFiller::default(),
            decode_clock: DecodeClock::default(),
            catch_up: CatchUp::default(),
            last_keyframe_us: 0,
            silence_at: None,
            filler: Filler::default(),
            keyframe_at: None,
            keyframe_due: None,
            keyframe_interval,
            keyframe_repeat: KeyframeRepeat::default(),
            keyframe_requested: None,
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

    /// Another publisher's media begins. None of it can be decoded before its first keyframe.
    pub(crate) fn start(&mut self, now: Instant, video: bool) {
        self.tells_decode_times = false;
        self.filler.expect(false);
        self.audio.forget_held();
        self.awaits_keyframe = true;
        self.filler.begin(now, false);
        self.keyframe_at = None;
        // What was measured of the publisher before does not hold for this one.
        self.codec = None;
        self.decode_clock.start();
        self.catch_up = CatchUp::default();
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

    /// There is no publisher: no keyframes are due, and filler begins.
    pub(crate) fn stop(&mut self, now: Instant) {
        self.audio.forget_held();
        if let Some(aac) = &mut self.aac {
            aac.end();
        }
        self.keyframe_due = None;
        self.awaits_keyframe = true;
        self.filler.begin(now, true);
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
    ) -> Option<SourceFrame> {
        self.filler.arrival(now);
        self.video.frames += 1;
        self.video_bytes += frame.len() as u64;
        let frame = match codec {
            VideoCodec::H264 => self.h264(now, pts_us, frame, contiguous),
            _ => self.foreign(now, pts_us, codec, frame, contiguous),
        };
        if frame.is_none() {
            // Its time has passed all the same, and audio may be absent too.
            self.silence_until(pts_us);
        }
        self.decodable.came(now, frame.is_some());
        frame
    }

    fn h264(
        &mut self,
        now: Instant,
        pts_us: i64,
        annex_b: &[u8],
        contiguous: bool,
    ) -> Option<SourceFrame> {
        let unit = match VideoUnit::from_annex_b(annex_b) {
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
        let frame = Frame {
            pts_us,
            key,
            order: self.order(&config, &unit),
            b_slices: unit.b_slices,
            disposable: !unit.reference,
        };
        let stamp = self.decode_clock.stamp(frame);
        let begins_b_frames = !had_b_frames && self.decode_clock.has_b_frames();
        let pts_us = stamp.map_or(pts_us, |stamp| stamp.pts_us);
        if let Some(stamp) = stamp {
            self.push_picture(now, &unit, config.clone(), stamp);
        }
        Some(SourceFrame {
            codec: VideoCodec::H264,
            config: Some(config),
            pts_us,
            key,
            begins_b_frames,
            unit: unit.avcc,
        })
    }

    /// Puts a picture of the publisher into the ring.
    fn push_picture(
        &mut self,
        now: Instant,
        unit: &VideoUnit,
        config: Rc<ParameterSets>,
        Stamp { pts_us, dts_us }: Stamp,
    ) {
        let key = unit.key;
        let in_ring = Unit {
            kind: Kind::Video { key, config },
            pts_us,
            dts_us,
            payload: unit.avcc.clone(),
        };
        let seq = self.ring.end();
        self.filler.picture(now, &in_ring, unit.reference, seq);
        self.push_video(in_ring);
    }

    /// Where a frame is shown. Parameter sets that rule B-frames out are trusted until some come,
    /// so that streams without them are not looked into.
    fn order(&mut self, config: &ParameterSets, unit: &VideoUnit) -> Order {
        let syntax = &config.sps().order;
        if syntax.as_decoded && !unit.b_slices && !self.decode_clock.has_b_frames() {
            return Order::AsDecoded;
        }
        let counted = self.decode_clock.counter().next(syntax, &unit.avcc);
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
    ) -> Option<SourceFrame> {
        let key = is_keyframe(codec, frame);
        if frame.len() > UNIT_BYTES_MAX {
            self.damaged(now);
            return None;
        }
        if !self.decodable(now, codec, key, contiguous) {
            return None;
        }
        self.filler.forget();
        self.config = None;
        (self.video.width, self.video.height) = (0, 0);
        let placed = Frame {
            pts_us,
            key,
            order: Order::AsDecoded,
            b_slices: false,
            disposable: false,
        };
        let pts_us = self.decode_clock.stamp(placed)?.pts_us;
        self.last_keyframe_us = if key { pts_us } else { self.last_keyframe_us };
        self.silence_until(pts_us);
        Some(SourceFrame {
            codec,
            config: None,
            pts_us,
            key,
            begins_b_frames: false,
            unit: Bytes::from_owner(Arc::clone(frame)),
        })
    }

    /// Whether everything that the frame refers to is there.
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

    /// Puts a unit into the ring; the frames that filler is made from stay in it.
    pub(crate) fn push(&mut self, unit: Unit) {
        self.ring.push(unit, self.filler.wanted_from());
    }

    fn push_video(&mut self, unit: Unit) {
        let dts_us = unit.dts_us;
        if unit.is_keyframe() {
            self.last_keyframe_us = unit.pts_us;
        }
        self.push(unit);
        // Up to the DTS and not the PTS, so that audio which comes on time is not late.
        self.silence_until(dts_us);
    }

    /// Fills in what the publisher did not send up to now: filler frames once they are due, and silence.
    /// True when something went into the ring.
    pub(crate) fn fill(&mut self, now: Instant, now_us: i64) -> bool {
        if self.silence_due().is_some_and(|at| now >= at) {
            self.silence_until(now_us);
            self.silence_at = Some(now + Duration::from_millis(SILENCE_TICK_MS));
        }
        if self.filler.is_absent(now) {
            self.filler.begin(now, false);
        }
        let interval_us = i64::try_from(self.keyframe_interval.as_micros()).unwrap_or(i64::MAX);
        let mut filled = false;
        while let Some(last_us) = self.decode_clock.last_pts_us()
            && let Some(unit) =
                self.filler
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
        [self.silence_due(), self.filler.next_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    fn silence_due(&self) -> Option<Instant> {
        let due = self.filler.silence_due()?;
        Some(self.silence_at.map_or(due, |at| at.max(due)))
    }

    /// The clock, or the video, has come to `until_us`: silence is filled in where audio is absent.
    fn silence_until(&mut self, until_us: i64) {
        if let Some(aac) = &mut self.aac {
            return aac.advance(until_us);
        }
        if let Some(feed) = self.audio.advance(until_us) {
            self.feed_audio(&[feed], &[], 0);
        }
    }

    /// Media time of the first sample that audio transcoders were fed.
    pub(crate) fn audio_origin_us(&self) -> Option<i64> {
        self.audio.origin_us()
    }

    /// Pixels of the publisher's video, if they are told without decoding it.
    pub(crate) fn picture_size(&self) -> Option<(u32, u32)> {
        let config = self.config.as_ref()?;
        Some((config.width(), config.height()))
    }

    /// What destinations judge the publisher's video by.
    pub(crate) fn source_facts(&self, now: Instant) -> SourceFacts {
        let since_ms = self.keyframe_at.map_or(0, |at| {
            u32::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(u32::MAX)
        });
        SourceFacts {
            offers_video: true,
            codec: self.codec,
            width: self.config.as_ref().map_or(0, |config| config.width()),
            height: self.config.as_ref().map_or(0, |config| config.height()),
            profile: self
                .config
                .as_ref()
                .map_or(0, |config| config.sps().profile),
            keyframe_interval_ms: self.video.keyframe_interval_ms.max(since_ms),
            video_bps: self.rates.mean_bps,
            b_frames: self.decode_clock.has_b_frames(),
            tells_decode_times: self.tells_decode_times,
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

    /// A request has reached the publisher.
    pub(super) fn keyframe_requested(&mut self, now: Instant) {
        self.keyframe_requested = Some(now);
    }

    /// It was asked for one a moment ago: again as soon as that may be.
    pub(crate) fn keyframe_soon(&mut self, now: Instant) {
        let apart = Duration::from_millis(KEYFRAME_REQUEST_MS_MIN);
        let may_at = self.keyframe_requested.map(|at| at + apart);
        if let Some(soon) = may_at.filter(|at| *at > now) {
            self.keyframe_due = Some(self.keyframe_due.map_or(soon, |due| due.min(soon)));
        }
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
            self.filler.begin(now, false);
        }
    }
}
