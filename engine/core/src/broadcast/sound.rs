//! The audio lanes of a broadcast: one for each bit rate of AAC that somebody takes, all fed the
//! same. What comes out of a lane is placed by counting its samples.

use bytes::Bytes;

use super::{audio_clock::SAMPLE_RATE, decode_clock::STEP_US_MIN};
use crate::{
    io::LaneId,
    ring::{Kind, Unit},
    rtmp::flv,
};

/// Bit rate of the AAC beside the publisher's own picture, in bits a second.
pub(crate) const AUDIO_BPS_DEFAULT: u32 = 128_000;
/// Samples in an AAC-LC frame.
const AAC_FRAME_SAMPLES: i64 = 1_024;
/// What the codecs delay: Opus 312 samples of look-ahead, AAC 1024 samples of priming.
const CODEC_DELAY_SAMPLES: i64 = 312 + 1_024;

/// What the audio lanes of the broadcast shall do.
#[derive(Clone, Debug)]
pub(crate) enum LaneFeed {
    /// An Opus packet of so many samples.
    Packet(Bytes, u32),
    /// So many samples in front of an Opus packet, from the redundancy that it carries.
    Recover(Bytes, u32),
    Conceal(u32),
    Silence(u32),
}

impl LaneFeed {
    pub(crate) fn samples(&self) -> u32 {
        match self {
            Self::Packet(_, samples)
            | Self::Recover(_, samples)
            | Self::Conceal(samples)
            | Self::Silence(samples) => *samples,
        }
    }
}

/// One lane.
#[derive(Debug)]
pub(crate) struct AudioLane {
    pub(crate) id: LaneId,
    pub(crate) audio_bps: u32,
    /// Samples that the broadcast's sound had before the lane was opened.
    start_samples: i64,
    frames: i64,
    last_us: Option<i64>,
}

#[derive(Debug, Default)]
pub(crate) struct Sound {
    pub(crate) lanes: Vec<AudioLane>,
    fed_samples: i64,
}

impl Sound {
    /// So much silence comes first in the lane: then its frames begin where those of the others do,
    /// and whoever changes from one to the other misses nothing.
    pub(crate) fn open(&mut self, id: LaneId, audio_bps: u32) -> u32 {
        let into_frame = self.fed_samples % AAC_FRAME_SAMPLES;
        self.lanes.push(AudioLane {
            id,
            audio_bps,
            start_samples: self.fed_samples - into_frame,
            frames: 0,
            last_us: None,
        });
        u32::try_from(into_frame).unwrap_or_default()
    }

    pub(crate) fn has(&self, audio_bps: u32) -> bool {
        self.lanes.iter().any(|lane| lane.audio_bps == audio_bps)
    }

    /// Takes out the lanes of bit rates that are not wanted.
    pub(crate) fn close_unless(&mut self, mut wanted: impl FnMut(u32) -> bool) -> Vec<LaneId> {
        let closed = self.lanes.extract_if(.., |lane| !wanted(lane.audio_bps));
        closed.map(|lane| lane.id).collect()
    }

    /// All lanes are given so many samples.
    pub(crate) fn fed(&mut self, samples: u32) {
        self.fed_samples += i64::from(samples);
    }

    /// Off air: the next sound begins with no samples.
    pub(crate) fn end(&mut self) -> Vec<AudioLane> {
        self.fed_samples = 0;
        std::mem::take(&mut self.lanes)
    }

    /// AAC frames from a lane, in the order of what it was fed, and the bit rate that they have.
    /// `origin_us` is the time of the first sample of the broadcast.
    pub(crate) fn frames(
        &mut self,
        id: LaneId,
        frames: Vec<Bytes>,
        origin_us: i64,
    ) -> Option<(u32, Vec<Unit>)> {
        let lane = self.lanes.iter_mut().find(|lane| lane.id == id)?;
        let units = frames
            .into_iter()
            .map(|frame| lane.place(&frame, origin_us));
        let units = units.collect();
        Some((lane.audio_bps, units))
    }
}

impl AudioLane {
    fn place(&mut self, frame: &[u8], origin_us: i64) -> Unit {
        let samples = self.start_samples + self.frames * AAC_FRAME_SAMPLES - CODEC_DELAY_SAMPLES;
        self.frames += 1;
        let pts_us = origin_us + samples * 1_000_000 / SAMPLE_RATE;
        let pts_us = step(&mut self.last_us, pts_us);
        Unit {
            kind: Kind::Audio,
            pts_us,
            dts_us: pts_us,
            body: flv::aac_raw(frame),
        }
    }
}

/// Each sound is behind the one before.
fn step(last_us: &mut Option<i64>, pts_us: i64) -> i64 {
    let pts_us = last_us.map_or(pts_us, |last| pts_us.max(last + STEP_US_MIN));
    *last_us = Some(pts_us);
    pts_us
}
