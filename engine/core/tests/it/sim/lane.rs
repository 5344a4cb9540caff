//! Stands in for the codecs. A lane takes as long as it is told to, and makes pictures of a few
//! bytes on the grid of each rendition, with an IDR where one belongs.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use shardcast_core::io::{
    AudioJob, ENCODED_HEADROOM_BYTES, EncodedPicture, Input, LaneReport, RenditionId,
    RenditionReport, StillPicture, VideoJob, VideoLaneId, VideoResult,
};
use shardcast_link::{RenditionSpec, VideoCodec};

use super::{
    Arrival, World,
    client::{PPS, SPS_360P},
};

const PIXELS_720P: u64 = 1_280 * 720;

fn pixels(spec: &RenditionSpec) -> u64 {
    u64::from(spec.width.unwrap_or(1_280)) * u64::from(spec.height)
}

/// One rendition and the slot of its grid that comes next.
struct Loom {
    id: RenditionId,
    spec: RenditionSpec,
    next_slot: Option<i64>,
    frames: u64,
}

pub(crate) struct Lane {
    pub(crate) id: VideoLaneId,
    /// What a picture takes on its way through.
    pub(crate) delay: Duration,
    looms: Vec<Loom>,
    origin_us: Option<i64>,
    pub(crate) open: bool,
    pub(crate) sources: Vec<VideoCodec>,
    pub(crate) decoded: u64,
    pub(crate) fills: u64,
    pub(crate) slates: Vec<Bytes>,
    /// Makes nothing more of this rendition.
    pub(crate) broken: Option<RenditionId>,
    last_us: i64,
}

impl Lane {
    pub(crate) fn new(id: VideoLaneId) -> Self {
        Self {
            id,
            delay: Duration::from_millis(25),
            looms: Vec::new(),
            origin_us: None,
            open: true,
            sources: Vec::new(),
            decoded: 0,
            fills: 0,
            slates: Vec::new(),
            broken: None,
            last_us: i64::MIN,
        }
    }

    pub(crate) fn renditions(&self) -> Vec<RenditionSpec> {
        self.looms.iter().map(|loom| loom.spec).collect()
    }

    pub(crate) fn ids(&self) -> Vec<RenditionId> {
        self.looms.iter().map(|loom| loom.id).collect()
    }

    pub(crate) fn run(&mut self, job: VideoJob) -> VecDeque<VideoResult> {
        assert!(self.open, "{job:?} for a lane that was closed");
        let mut results = VecDeque::new();
        match job {
            VideoJob::Open { .. } => panic!("opened twice"),
            VideoJob::Close { .. } => self.open = false,
            VideoJob::Source { codec, record, .. } => {
                assert_eq!(record.is_some(), codec == VideoCodec::H264);
                self.sources.push(codec);
            }
            VideoJob::Renditions { renditions, .. } => self.set(&renditions),
            VideoJob::Decode { pts_us, unit, .. } => {
                let codec = *self.sources.last().expect("a source before its pictures");
                if self.origin_us.is_none() {
                    assert!(shardcast_core::is_keyframe(codec, &unit), "begins inside");
                }
                // A B slice is shown before what it was sent behind.
                let b_slice = codec == VideoCodec::H264 && unit[5] & 0xFC == 0x9C;
                assert!(
                    b_slice || pts_us > self.last_us,
                    "{pts_us} behind {}",
                    self.last_us
                );
                self.last_us = self.last_us.max(pts_us);
                self.origin_us.get_or_insert(pts_us);
                self.decoded += 1;
                self.weave(pts_us, &mut results);
            }
            VideoJob::Fill { until_us, .. } => {
                self.fills += 1;
                if self.origin_us.is_some() {
                    self.weave(until_us, &mut results);
                }
            }
            VideoJob::Slate { image, .. } => self.slates.push(image),
        }
        results
    }

    pub(crate) fn report(&self) -> LaneReport {
        let rendition = |loom: &Loom| RenditionReport {
            rendition: loom.id,
            width: loom.spec.width.unwrap_or(1_280),
            height: loom.spec.height,
            frames: loom.frames,
            repeated: 0,
            dropped: 0,
            keyframes: 0,
            scale_us: loom.frames * pixels(&loom.spec) * 2_100 / PIXELS_720P,
            encode_us: loom.frames * pixels(&loom.spec) * 6_000 / PIXELS_720P,
            preset: loom.spec.preset,
            frames_per_second: loom.spec.frames_per_second,
        };
        LaneReport {
            width: 1_280,
            height: 720,
            frames: self.decoded,
            errors: 0,
            late: 0,
            decode_us: self.decoded * 2_000,
            renditions: self.looms.iter().map(rendition).collect(),
        }
    }

    fn set(&mut self, wanted: &[(RenditionId, RenditionSpec)]) {
        self.looms
            .retain(|loom| wanted.iter().any(|(id, _)| *id == loom.id));
        for (id, spec) in wanted {
            if !self.looms.iter().any(|loom| loom.id == *id) {
                self.looms.push(Loom {
                    id: *id,
                    spec: *spec,
                    next_slot: None,
                    frames: 0,
                });
            }
        }
    }

    /// Fills all grids up to a time.
    fn weave(&mut self, until_us: i64, results: &mut VecDeque<VideoResult>) {
        let origin_us = self.origin_us.unwrap();
        for loom in &mut self.looms {
            let fps = i64::from(loom.spec.frames_per_second);
            let last = ((until_us - origin_us) * fps + 500_000).div_euclid(1_000_000);
            let first = loom.next_slot.unwrap_or(last);
            for slot in first..=last {
                let gop = i64::from(loom.spec.gop_ms) * fps / 1_000;
                let key = loom.frames == 0 || slot % gop == 0;
                loom.frames += 1;
                if self.broken != Some(loom.id) {
                    results.push_back(VideoResult::Encoded(picture(
                        loom.id,
                        origin_us + slot * 1_000_000 / fps,
                        key,
                    )));
                }
            }
            loom.next_slot = Some(first.max(last + 1));
        }
    }
}

fn picture(rendition: RenditionId, pts_us: i64, key: bool) -> EncodedPicture {
    let mark = u8::try_from(rendition.0 % 128).unwrap();
    let pps = Bytes::from([PPS, &[mark]].concat());
    let mut unit = vec![0; ENCODED_HEADROOM_BYTES];
    unit.extend([0, 0, 0, 4, if key { 0x65 } else { 0x41 }, 0x9a, mark, 0xEE]);
    EncodedPicture {
        rendition,
        pts_us,
        key,
        parameter_sets: key.then(|| (Bytes::from_static(SPS_360P), pps)),
        unit,
    }
}

fn lane_of(job: &VideoJob) -> VideoLaneId {
    match job {
        VideoJob::Open { lane }
        | VideoJob::Source { lane, .. }
        | VideoJob::Renditions { lane, .. }
        | VideoJob::Decode { lane, .. }
        | VideoJob::Fill { lane, .. }
        | VideoJob::Slate { lane, .. }
        | VideoJob::Close { lane } => *lane,
    }
}

impl World {
    pub(super) fn video(&mut self, job: VideoJob) {
        if let VideoJob::Open { lane } = job {
            self.video.push(Lane::new(lane));
            return;
        }
        let id = lane_of(&job);
        let lane = self.video.iter_mut().find(|lane| lane.id == id);
        let lane = lane.expect("a lane that was opened");
        let at = self.now + lane.delay;
        for result in lane.run(job) {
            self.arrivals.push_back((at, Arrival::Video(id, result)));
        }
    }

    /// Every lane says what it has done; each second.
    pub(crate) fn report_lanes(&mut self) {
        let open = self.video.iter().filter(|lane| lane.open);
        let reports: Vec<_> = open.map(|lane| (lane.id, lane.report())).collect();
        for (id, report) in reports {
            self.lane_says(id, VideoResult::Report(report));
        }
    }

    pub(crate) fn lane_says(&mut self, lane: VideoLaneId, result: VideoResult) {
        self.shard.handle(self.now, Input::Video { lane, result });
        self.settle();
    }

    /// Stands in for the codec: counts samples, makes frames of that many.
    pub(super) fn audio(&mut self, job: &AudioJob) {
        let (lane, samples) = match job {
            AudioJob::Open { lane, audio_bps } => {
                self.audio_bps.push(*audio_bps);
                self.lanes.insert(*lane, 0);
                return;
            }
            AudioJob::Close { lane } => {
                self.lanes.remove(lane);
                return;
            }
            AudioJob::Decode { lane, .. } => (*lane, 960),
            AudioJob::Recover { lane, samples, .. }
            | AudioJob::Conceal { lane, samples }
            | AudioJob::Silence { lane, samples } => (*lane, u64::from(*samples)),
        };
        let pending = self.lanes.get_mut(&lane).expect("an open lane");
        *pending += samples;
        let count = *pending / 1024;
        *pending %= 1024;
        let frames = vec![Bytes::from_static(&[0x21; 300]); usize::try_from(count).unwrap()];
        self.shard
            .handle(self.now, Input::AudioFrames { lane, frames });
    }

    /// Audio lanes that are open.
    pub(crate) fn audio_lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Answers the newest question for a picture.
    pub(crate) fn answer_still(&mut self, result: Result<StillPicture, String>) {
        let still = self.stills.last().expect("a picture was asked for").still;
        self.shard.handle(self.now, Input::Still { still, result });
        self.settle();
    }
}
