//! The media of an encoder on its way into the ring. It comes coded as destinations take it, with the times
//! at which it is decoded and shown, over a connection that loses nothing: so it is passed on as it is, to
//! the byte.

use std::time::Instant;

use bytes::Bytes;
use shardcast_link::VideoCodec;

use super::{Ingest, SourceFrame, catch_up::TAKEN_US_MIN, decode_clock::Stamp};
use crate::{
    broadcast::{
        audio::{OpusTrack, aac_track::AacTrack, gap_filler::AudioGapFiller},
        ring::Unit,
    },
    codec::{AudioCodec, aac::AacConfig, h264::VideoUnit},
};

impl Ingest {
    /// An encoder's media begins. The audio of a browser before it is over.
    pub(crate) fn start_encoder(&mut self, now: Instant) {
        self.start(now, true);
        self.tells_decode_times = true;
        self.filler.expect(true);
        self.opus = OpusTrack::default();
        self.audio = AudioGapFiller::default();
        self.audio_inputs.clear();
        self.aac.get_or_insert_with(AacTrack::new).begin();
    }

    /// The audio of a browser begins.
    pub(crate) fn end_aac(&mut self) {
        self.aac = None;
    }

    /// Whether audio is an encoder's.
    pub(crate) fn has_aac(&self) -> bool {
        self.aac.is_some()
    }

    /// What is told of the audio while it is an encoder's.
    pub(crate) fn aac_config(&self) -> Option<AacConfig> {
        self.aac.as_ref().map(AacTrack::config)
    }

    /// Bit rate of an encoder's audio, once it is known.
    pub(crate) fn audio_bps(&self) -> Option<u32> {
        let bps = u32::try_from(self.rates.audio_bps).unwrap_or(u32::MAX);
        (self.aac.is_some() && bps > 0).then_some(bps)
    }

    /// A picture with its times. What comes back can be decoded and is in the ring. The second value says, in
    /// microseconds, by how much the times had to be led on because theirs were taken.
    pub(crate) fn access_unit(
        &mut self,
        now: Instant,
        now_us: i64,
        stamp: Stamp,
        unit: VideoUnit,
    ) -> (Option<SourceFrame>, i64) {
        self.filler.arrival(now);
        self.video.frames += 1;
        self.video_bytes += unit.avcc.len() as u64;
        let placed = self.placed(now, now_us, stamp, unit);
        if placed.is_none() {
            self.silence_until(stamp.dts_us);
        }
        self.decodable.came(now, placed.is_some());
        placed.map_or((None, 0), |(frame, led_us)| (Some(frame), led_us))
    }

    fn placed(
        &mut self,
        now: Instant,
        now_us: i64,
        stamp: Stamp,
        unit: VideoUnit,
    ) -> Option<(SourceFrame, i64)> {
        let late_us = now_us - stamp.dts_us;
        if unit.key && self.catches_up(now, stamp, late_us) {
            return None;
        }
        if let Some(sps) = &unit.sps {
            self.configure(sps, &unit.pps);
        }
        if !unit.has_picture() || !self.decodable(now, VideoCodec::H264, unit.key, true) {
            return None;
        }
        let config = self.config.clone()?;
        let had_b_frames = self.decode_clock.has_b_frames();
        let (stamp, led_us) = self.decode_clock.place(stamp, unit.key, unit.b_slices);
        if unit.key {
            self.catch_up.placed(stamp.dts_us, late_us - led_us);
        }
        self.push_picture(now, &unit, config.clone(), stamp);
        let frame = SourceFrame {
            codec: VideoCodec::H264,
            config: Some(config),
            pts_us: stamp.pts_us,
            key: unit.key,
            begins_b_frames: !had_b_frames && self.decode_clock.has_b_frames(),
            unit: unit.avcc,
        };
        Some((frame, led_us))
    }

    /// Whether a keyframe is left out, whose place filler has taken, since a later one will have its own.
    fn catches_up(&mut self, now: Instant, stamp: Stamp, late_us: i64) -> bool {
        let taken_us = self.decode_clock.taken_us(stamp, true);
        let is_taken = self.awaits_keyframe && taken_us >= TAKEN_US_MIN;
        is_taken && self.catch_up.leaves_out(now, stamp.dts_us, late_us)
    }

    /// What the AAC that follows is.
    pub(crate) fn set_aac(&mut self, config: AacConfig) {
        if let Some(aac) = &mut self.aac {
            aac.set_config(config);
        }
    }

    /// An AAC frame with its time.
    pub(crate) fn aac(&mut self, now: Instant, config: AacConfig, pts_us: i64, frame: Bytes) {
        self.filler.media(now);
        self.audio_packets += 1;
        self.audio_bytes += frame.len() as u64;
        if let Some(aac) = &mut self.aac {
            aac.frame(config, pts_us, frame);
        }
    }

    /// Puts the next unit of an encoder's audio into the ring, and hands it on.
    pub(crate) fn push_aac(&mut self) -> Option<Unit> {
        let unit = self.aac.as_mut()?.take()?;
        self.push(unit.clone());
        self.ring.leave_out(AudioCodec::Opus);
        Some(unit)
    }
}
