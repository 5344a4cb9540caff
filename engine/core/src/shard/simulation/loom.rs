//! Whoever decodes the publisher's picture and makes renditions of it, beside the shard and in
//! simulated time: quickly, late, with pictures left out, or not at all. What it is told is held
//! against what a lane may rely on and what the operator wants.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bytes::Bytes;
use shardcast_link::{RenditionSpec, VideoCodec};

use super::{
    picture::{Picture, Shows, read_vp8, record},
    trace::note,
    weave::Weave,
    world::{Happening, Verdict, World, ms},
};
use crate::{
    broadcast::Slot,
    io::{EncodedPicture, Input, LaneReport, RenditionId, VideoJob, VideoLaneId, VideoResult},
    limits::RENDITIONS_MAX,
    rendition::RingId,
};

/// More than this in front of a picture, and it is too late to be made.
const BACKLOG: Duration = Duration::from_millis(100);
const REPETITION: Duration = Duration::from_micros(300);
/// Without a picture for so long, time is told to go on; and not before.
const FILL_AFTER: Duration = Duration::from_millis(250);
/// A lane says this often what it has done.
const REPORT_MS: u64 = 1_000;
#[derive(Debug, Default)]
pub(super) struct Loom {
    lanes: BTreeMap<VideoLaneId, Lane>,
    newest: Option<VideoLaneId>,
    /// Whatever is or was made.
    specs: BTreeMap<RenditionId, RenditionSpec>,
    failed: BTreeSet<RenditionId>,
    /// One that nobody takes, and since when.
    pub(super) idle: Option<(RenditionId, Instant)>,
}

#[derive(Debug)]
struct Lane {
    weaves: Vec<Weave>,
    source: Option<Source>,
    /// Distance of the grid from the broadcast's clock.
    origin_us: Option<i64>,
    /// The last picture, and when it came.
    shows_slate: bool,
    decoded: Option<(i64, Instant)>,
    filled_us: i64,
    /// When it has done what it was told so far.
    free_at: Instant,
    report: LaneReport,
}

/// What it decodes.
#[derive(Debug)]
struct Source {
    codec: VideoCodec,
    record: Option<Bytes>,
    /// Number of the last picture; none may be left out behind it.
    number: Option<u64>,
    /// It has asked for a keyframe.
    needs_key: bool,
    /// Nothing can be decoded before the next keyframe.
    stuck: bool,
}

impl Loom {
    pub(super) fn spec(&self, rendition: RenditionId) -> Option<&RenditionSpec> {
        self.specs.get(&rendition)
    }

    pub(super) fn is_failed(&self, rendition: RenditionId) -> bool {
        self.failed.contains(&rendition)
    }

    /// Lanes that are open.
    pub(super) fn open(&self) -> usize {
        self.lanes.len()
    }

    fn lane(&mut self, lane: VideoLaneId) -> Result<&mut Lane, String> {
        let found = self.lanes.get_mut(&lane);
        found.ok_or_else(|| format!("a job for {lane:?}, which is not open"))
    }
}

impl World {
    /// The shard wants a lane to do something.
    pub(super) fn video(&mut self, job: VideoJob) -> Verdict {
        if self.plan.lanes.capacity_permille == 0 {
            return Err(format!("{job:?} without a codec"));
        }
        match job {
            VideoJob::Open { lane } => self.lane_opened(lane),
            VideoJob::Source {
                lane,
                codec,
                record,
            } => {
                note!(self, "{lane:?} is to decode {}", codec.name());
                self.loom.lane(lane)?.begin(codec, record)
            }
            VideoJob::Renditions { lane, renditions } => self.renditions(lane, &renditions),
            VideoJob::Decode { lane, pts_us, unit } => self.decode(lane, pts_us, &unit),
            VideoJob::Fill { lane, until_us } => self.fill(lane, until_us),
            VideoJob::Slate { lane, image } => {
                note!(self, "{lane:?} is to show {:?}", self.slate_of(&image)?);
                self.tally.count("slate in renditions");
                if self.stage.is_published() {
                    return Err("a slate in place of a publisher that is there".to_owned());
                }
                self.loom.lane(lane)?.shows_slate = true;
                Ok(())
            }
            VideoJob::Close { lane } => {
                note!(self, "{lane:?} is closed");
                self.tally.count("lane closed");
                let known = self.loom.lanes.remove(&lane).is_some();
                let words = || format!("{lane:?} is closed and was not open");
                known.then_some(()).ok_or_else(words)
            }
        }
    }

    fn lane_opened(&mut self, id: VideoLaneId) -> Verdict {
        note!(self, "{id:?} is opened");
        if self.loom.newest >= Some(id) || self.loom.open() > 0 {
            return Err(format!("{id:?} is opened beside or before another"));
        }
        let lane = Lane {
            weaves: Vec::new(),
            source: None,
            origin_us: None,
            shows_slate: false,
            decoded: None,
            filled_us: i64::MIN,
            free_at: self.now,
            report: LaneReport::default(),
        };
        self.loom.newest = Some(id);
        self.loom.lanes.insert(id, lane);
        self.after(ms(REPORT_MS), Happening::LaneReport(id));
        // It can begin with a keyframe only.
        self.keyframe_wanted();
        Ok(())
    }

    fn renditions(&mut self, id: VideoLaneId, wanted: &[(RenditionId, RenditionSpec)]) -> Verdict {
        note!(self, "{id:?} is to make {}", words(wanted));
        let lane = self.loom.lane(id)?;
        let ids: BTreeSet<RenditionId> = wanted.iter().map(|(id, _)| *id).collect();
        let alike = |(at, (_, spec)): (usize, &(RenditionId, RenditionSpec))| {
            wanted[..at].iter().any(|(_, other)| other == spec)
        };
        if ids.len() < wanted.len() || wanted.iter().enumerate().any(alike) {
            return Err("a rendition is to be made twice".to_owned());
        }
        if wanted.len() > RENDITIONS_MAX {
            return Err(format!("{} renditions of one broadcast", wanted.len()));
        }
        if lane.weaves.iter().map(|it| it.id).eq(ids.iter().copied()) {
            return Err("the same renditions as before are told again".to_owned());
        }
        let gone = |it: &&Weave| !it.failed && !ids.contains(&it.id);
        let gone: Vec<RenditionId> = lane.weaves.iter().filter(gone).map(|it| it.id).collect();
        lane.weaves.retain(|weave| ids.contains(&weave.id));
        for (id, spec) in wanted {
            match lane.weaves.iter().find(|weave| weave.id == *id) {
                Some(weave) if weave.spec == *spec => {}
                Some(_) => return Err(format!("{id:?} is to become another")),
                None => lane.weaves.push(Weave::new(*id, *spec)),
            }
        }
        lane.weaves.sort_by_key(|weave| weave.id);
        let fed = |it: &Slot| match it.destination.ring() {
            Some(RingId::Rendition(id)) => gone.contains(&id),
            _ => false,
        };
        let mut slots = self.shard.broadcasts.values().flat_map(|it| &it.slots);
        if slots.any(fed) {
            return Err(format!("somebody is sent one of {gone:?}, which ends"));
        }
        let (plan, calm_at) = (self.plan.lanes, self.calm_at());
        for (rendition, spec) in wanted {
            if self.loom.specs.contains_key(rendition) {
                continue;
            }
            self.loom.specs.insert(*rendition, *spec);
            self.tally.count("rendition made");
            self.fits()?;
            let at = self.now + ms(self.random.between(1, 8_000));
            if self.random.chance(plan.fails_percent) && at < calm_at {
                let failed = VideoResult::Failed {
                    rendition: *rendition,
                    reason: "the loom is out of yarn".to_owned(),
                };
                self.at(at, Happening::Woven(id, vec![failed]));
            }
        }
        Ok(())
    }

    /// What is made, by what admission took it for until it is measured, is not more than may be.
    /// What is being left for something else is not counted.
    fn fits(&self) -> Verdict {
        let used = self.shard.broadcasts.values().map(|broadcast| {
            let it = &broadcast.renditions;
            let encode: u32 = it
                .list()
                .iter()
                .filter(|rendition| broadcast.chooses(rendition))
                .map(crate::rendition::Rendition::used_permille)
                .sum();
            encode + it.decode_permille().unwrap_or(1)
        });
        let used_permille: u32 = used.sum();
        if used_permille > self.plan.lanes.capacity_permille {
            let most = self.plan.lanes.capacity_permille;
            return Err(format!(
                "a rendition begins with {used_permille} of {most} permille"
            ));
        }
        Ok(())
    }

    fn decode(&mut self, id: VideoLaneId, pts_us: i64, unit: &[u8]) -> Verdict {
        let (now, plan) = (self.now, self.plan.lanes);
        let lane = self.loom.lane(id)?;
        let key = lane.take(now, pts_us, unit)?;
        let mut of_thousand = |permille| self.random.between(0, 999) < permille;
        let (stalls, fails) = (
            of_thousand(plan.stalls_permille),
            of_thousand(plan.errors_permille),
        );
        if stalls {
            lane.free_at = lane.free_at.max(now) + ms(self.random.between(100, 2_500));
            self.tally.count("lane stalled");
        }
        let late = lane.free_at > now + BACKLOG;
        let Some(source) = lane.source.as_mut() else {
            return Ok(());
        };
        let asks = fails && !key && !source.stuck;
        source.stuck = !key && (source.stuck || asks);
        let mut made = Vec::new();
        if source.stuck {
            lane.report.errors += 1;
        } else {
            lane.show(pts_us, late, &mut made);
        }
        let fresh = if late { 0 } else { lane.weaves.len() };
        let took = Duration::from_micros(plan.picture_us) * u32::try_from(1 + fresh).unwrap();
        let repetitions = u32::try_from(made.len().saturating_sub(fresh)).unwrap();
        lane.free_at = lane.free_at.max(now) + took + REPETITION * repetitions;
        let done = lane.free_at;
        let mut results: Vec<_> = made.into_iter().map(VideoResult::Encoded).collect();
        results.extend(asks.then_some(VideoResult::KeyframeWanted));
        if late {
            self.tally.count("picture too late to be made");
            note!(self, "{id:?} is too late for the picture of {pts_us} us");
        }
        if !results.is_empty() {
            self.at(done, Happening::Woven(id, results));
        }
        Ok(())
    }

    fn fill(&mut self, id: VideoLaneId, until_us: i64) -> Verdict {
        let (now, now_us) = (self.now, self.us());
        let lane = self.loom.lane(id)?;
        let Some((_, decoded_at)) = lane.decoded else {
            // A slate that begins a rendition shows on no grid that could be looked at here.
            let words = || "time goes on behind no picture".to_owned();
            return lane.shows_slate.then_some(()).ok_or_else(words);
        };
        if until_us <= lane.filled_us || until_us > now_us || now < decoded_at + FILL_AFTER {
            return Err(format!("filled up to {until_us} us at {now_us} us"));
        }
        lane.filled_us = until_us;
        let origin_us = lane.origin_us.unwrap_or_default();
        let mut made = Vec::new();
        for weave in lane.weaves.iter_mut().filter(|it| !it.failed) {
            weave.fill(origin_us, until_us - origin_us, &mut made);
        }
        let count = u32::try_from(made.len()).unwrap();
        lane.free_at = lane.free_at.max(now) + REPETITION * count;
        let done = lane.free_at;
        self.tally
            .add("picture repeated in renditions", made.len() as u64);
        let results: Vec<_> = made.into_iter().map(VideoResult::Encoded).collect();
        if !results.is_empty() {
            self.at(done, Happening::Woven(id, results));
        }
        Ok(())
    }

    /// A lane has something to say; the shard may have closed it meanwhile.
    pub(super) fn woven(&mut self, lane: VideoLaneId, results: Vec<VideoResult>) -> Verdict {
        for result in results {
            let asks = result == VideoResult::KeyframeWanted;
            match &result {
                VideoResult::Encoded(EncodedPicture { rendition, .. })
                    if self.loom.failed.contains(rendition) =>
                {
                    continue;
                }
                VideoResult::Failed { rendition, .. } => {
                    note!(self, "{rendition:?} fails");
                    self.tally.count("rendition failed");
                    self.loom.failed.insert(*rendition);
                    if let Ok(lane) = self.loom.lane(lane) {
                        let weaves = lane.weaves.iter_mut();
                        weaves.for_each(|it| it.failed |= it.id == *rendition);
                    }
                }
                VideoResult::KeyframeWanted => {
                    note!(self, "{lane:?} wants a keyframe");
                    self.tally.count("keyframe wanted by a lane");
                    if let Ok(Some(source)) = self.loom.lane(lane).map(|it| it.source.as_mut()) {
                        source.needs_key = true;
                    }
                }
                VideoResult::Encoded(picture) if picture.key => {
                    let at_ms = picture.pts_us / 1_000;
                    note!(self, "{:?} has a keyframe of {at_ms} ms", picture.rendition);
                }
                _ => {}
            }
            self.handle(Input::Video { lane, result })?;
            if asks {
                self.keyframe_wanted();
            }
        }
        Ok(())
    }

    pub(super) fn lane_report(&mut self, id: VideoLaneId) -> Verdict {
        let picture_us = self.plan.lanes.picture_us;
        let Ok(lane) = self.loom.lane(id) else {
            return Ok(());
        };
        let renditions = lane.weaves.iter().map(|it| it.report(picture_us));
        let report = LaneReport {
            decode_us: lane.report.frames * picture_us,
            renditions: renditions.collect(),
            ..lane.report
        };
        self.after(ms(REPORT_MS), Happening::LaneReport(id));
        let result = VideoResult::Report(report);
        self.handle(Input::Video { lane: id, result })
    }
}

impl Lane {
    fn begin(&mut self, codec: VideoCodec, record_told: Option<Bytes>) -> Verdict {
        let known = match &record_told {
            Some(told) => codec == VideoCodec::H264 && [0, 1].iter().any(|it| record(*it) == *told),
            None => codec != VideoCodec::H264,
        };
        self.source = Some(Source {
            codec,
            record: record_told,
            number: None,
            needs_key: true,
            stuck: false,
        });
        let words = || format!("{} with the wrong record", codec.name());
        known.then_some(()).ok_or_else(words)
    }

    /// Takes an access unit, if it can be decoded behind the one before; true for a keyframe.
    fn take(&mut self, now: Instant, pts_us: i64, unit: &[u8]) -> Result<bool, String> {
        let source = self.source.as_mut().ok_or("a picture before its source")?;
        let (number, key) = match source.codec {
            VideoCodec::H264 => {
                let picture = Picture::read_unit(unit).ok_or("it is to decode no picture")?;
                let told = source.record.as_ref();
                if told != Some(&record(picture.config)) {
                    return Err(format!("{picture:?} under another record"));
                }
                let Shows::Sent(number) = picture.shows else {
                    return Err(format!("{picture:?} is to be decoded"));
                };
                (number, picture.is_key())
            }
            _ => read_vp8(unit).ok_or("it is to decode no picture in VP8")?,
        };
        let follows = source.number.is_some_and(|before| before + 1 == number);
        if !key && (source.needs_key || !follows) {
            let before = source.number;
            return Err(format!(
                "picture {number} is to be decoded after {before:?}"
            ));
        }
        if self
            .decoded
            .is_some_and(|(before_us, _)| pts_us <= before_us)
        {
            return Err(format!(
                "the time of picture {number} is not behind the last"
            ));
        }
        source.number = Some(number);
        source.needs_key = false;
        self.decoded = Some((pts_us, now));
        self.report.frames += 1;
        (self.report.width, self.report.height) = (1_280, 720);
        Ok(key)
    }

    /// Puts a picture into all renditions, or leaves it out of them.
    fn show(&mut self, pts_us: i64, late: bool, made: &mut Vec<EncodedPicture>) {
        let origin_us = *self.origin_us.get_or_insert(pts_us);
        self.report.late += u64::from(late);
        for weave in self.weaves.iter_mut().filter(|it| !it.failed) {
            if late {
                weave.leave_out(pts_us - origin_us);
            } else {
                weave.show(origin_us, pts_us - origin_us, made);
            }
        }
    }
}

fn words(renditions: &[(RenditionId, RenditionSpec)]) -> String {
    let each = renditions.iter().map(|(id, spec)| {
        format!(
            "{}: {} lines, {} a second, {} ms, {}+{} kbit/s",
            id.0,
            spec.height,
            spec.frames_per_second,
            spec.gop_ms,
            spec.video_bps / 1_000,
            spec.audio_bps / 1_000
        )
    });
    format!("[{}]", each.collect::<Vec<_>>().join("; "))
}
