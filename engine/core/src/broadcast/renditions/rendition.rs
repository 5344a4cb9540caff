//! One rendition: its own ring, with the frames that the video transcoder encodes and the audio of the
//! broadcast.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use shardcast_link::{RenditionSpec, RenditionStatus};

use crate::{
    broadcast::ring::{Kind, MediaFacts, Ring, Unit},
    codec::h264::ParameterSets,
    io::{EncodedFrame, RenditionId, RenditionReport},
    limits::VIEWERS_KEYFRAME_MS,
};

#[derive(Debug)]
pub(crate) struct Rendition {
    pub(crate) id: RenditionId,
    pub(crate) spec: RenditionSpec,
    pub(crate) ring: Ring,
    /// What admission took it to cost, in thousandths of a core; counts until it is measured.
    pub(crate) estimate_permille: u32,
    /// Measured over the last second; `None` until then.
    pub(crate) measured_permille: Option<u32>,
    /// The governor has lowered it, or its publisher is away: it will take more than it takes now.
    below_its_cost: bool,
    /// By the governor.
    pub(crate) is_lowered: bool,
    /// Why it cannot be made.
    pub(crate) problem: Option<String>,
    config: Option<Rc<ParameterSets>>,
    /// When a keyframe was asked for last.
    keyframe_asked: Option<Instant>,
    report: Option<RenditionReport>,
    cpu_us_before: u64,
    bytes: u64,
    bytes_before: u64,
    bitrate_bps: u64,
}

impl Rendition {
    pub(crate) fn new(id: RenditionId, spec: RenditionSpec, estimate_permille: u32) -> Self {
        Self {
            id,
            spec,
            ring: Ring::default(),
            estimate_permille,
            measured_permille: None,
            below_its_cost: false,
            is_lowered: false,
            problem: None,
            config: None,
            keyframe_asked: None,
            report: None,
            cpu_us_before: 0,
            bytes: 0,
            bytes_before: 0,
            bitrate_bps: 0,
        }
    }

    pub(crate) fn facts(&self) -> MediaFacts {
        MediaFacts {
            expects_video: true,
            frames_per_second: self.spec.frames_per_second,
            video_bps: self.spec.video_bps.into(),
            audio_bps: self.spec.audio_bps,
            aac: None,
        }
    }

    pub(crate) fn gop_us(&self) -> i64 {
        i64::from(self.spec.gop_ms) * 1_000
    }

    /// Pixels; 0 until the first frame.
    pub(crate) fn size(&self) -> (u32, u32) {
        self.config
            .as_ref()
            .map_or((0, 0), |config| (config.width(), config.height()))
    }

    /// Whether a keyframe is to be asked for, for viewers, again. The first frame is one anyway.
    pub(super) fn may_ask(&mut self, now: Instant) -> bool {
        let apart = Duration::from_millis(VIEWERS_KEYFRAME_MS);
        let recently = |at: Instant| now.saturating_duration_since(at) < apart;
        let may = self.problem.is_none()
            && self.config.is_some()
            && !self.keyframe_asked.is_some_and(recently);
        if may {
            self.keyframe_asked = Some(now);
        }
        may
    }

    /// Puts an encoded frame into the ring.
    pub(crate) fn encoded(&mut self, frame: EncodedFrame) {
        let EncodedFrame {
            rendition: _,
            pts_us,
            key,
            parameter_sets,
            unit,
        } = frame;
        if let Some((sps, pps)) = parameter_sets {
            let same = self.config.as_ref().is_some_and(|config| {
                *config.sps_nal() == sps && config.pps_nals() == std::slice::from_ref(&pps)
            });
            if !same {
                match ParameterSets::new(&sps, &[pps]) {
                    Ok(config) => self.config = Some(Rc::new(config)),
                    Err(error) => tracing::error!(%error, "x264's parameter sets cannot be read"),
                }
            }
        }
        let Some(config) = self.config.clone() else {
            return; // Nothing before the first IDR.
        };
        self.bytes += unit.len() as u64;
        let unit = Unit {
            kind: Kind::Video { key, config },
            pts_us,
            dts_us: pts_us,
            payload: unit,
        };
        self.ring.push(unit, None);
    }

    /// Puts an audio frame of the broadcast into the ring.
    pub(crate) fn push_audio(&mut self, unit: &Unit) {
        self.ring.push(unit.clone(), None);
    }

    /// Takes the counters of the transcoder, once a second.
    pub(crate) fn reported(&mut self, report: RenditionReport, wall_us: u64) {
        let cpu_us = report.scale_us + report.encode_us;
        let spent_us = cpu_us.saturating_sub(self.cpu_us_before);
        // The first second is not a whole one.
        if let Some(before) = &self.report {
            self.measured_permille = u32::try_from(spent_us * 1_000 / wall_us.max(1)).ok();
            let frames = report.frames.saturating_sub(before.frames);
            let repeated = report.repeated.saturating_sub(before.repeated);
            self.is_lowered = report.preset < self.spec.preset
                || report.frames_per_second < self.spec.frames_per_second;
            self.below_its_cost = self.is_lowered || repeated * 2 > frames;
        }
        self.cpu_us_before = cpu_us;
        self.report = Some(report);
    }

    pub(crate) fn used_permille(&self) -> u32 {
        match self.problem {
            Some(_) => 0,
            None => {
                let measured_permille = self.measured_permille.unwrap_or_default();
                if self.measured_permille.is_none() || self.below_its_cost {
                    measured_permille.max(self.estimate_permille)
                } else {
                    measured_permille
                }
            }
        }
    }

    /// Starts a new second of rates.
    pub(crate) fn tick(&mut self) {
        self.bitrate_bps = 8 * (self.bytes - self.bytes_before);
        self.bytes_before = self.bytes;
    }

    pub(crate) fn status(&self, destinations: u32) -> RenditionStatus {
        let (width, height) = self.size();
        let report = self.report.as_ref();
        let count = |of: fn(&RenditionReport) -> u64| report.map_or(0, of);
        RenditionStatus {
            spec: self.spec,
            width,
            height,
            destinations,
            viewers: 0,
            yields: false,
            frames: count(|it| it.frames),
            repeated: count(|it| it.repeated),
            dropped: count(|it| it.dropped),
            keyframes: count(|it| it.keyframes),
            scale_us: count(|it| it.scale_us),
            encode_us: count(|it| it.encode_us),
            bitrate_bps: self.bitrate_bps,
            preset: report.map_or(self.spec.preset, |it| it.preset),
            frames_per_second: report
                .map_or(self.spec.frames_per_second, |it| it.frames_per_second),
            problem: self.problem.clone(),
        }
    }
}
