//! What is made from the publisher's picture, and what the one lane that makes it is told.
//!
//! The lane decodes the publisher's pictures as they come. While none come it is told that time goes
//! on, so that renditions never have a hole: it repeats the last picture, or the slate.

use std::{
    collections::VecDeque,
    rc::Rc,
    time::{Duration, Instant},
};

use shardcast_link::{DecoderStatus, RenditionSpec, VideoCodec};

use super::{decodable::Decodable, intake::SourcePicture, stand_in::Slate};
use crate::{
    h264::ParameterSets,
    io::{LaneReport, RenditionId, VideoJob, VideoLaneId, VideoResult},
    rendition::Rendition,
};

/// Without a picture for so long, the last one stands for what is missing. Shorter pauses are filled
/// when the next picture comes.
const FILL_AFTER: Duration = Duration::from_millis(250);
/// How often that is done.
const FILL_TICK: Duration = Duration::from_millis(100);
/// It is done up to so long ago, so that a picture that is late still has its place.
const FILL_BEHIND_US: i64 = 100_000;

/// Pictures within a second that say what decoding takes.
const FRAMES_MIN: u64 = 5;

/// What a result of the lane asks of others.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// There is something new in a ring.
    pub(crate) fed: bool,
    /// Which rendition cannot be made.
    pub(crate) failed: Option<RenditionId>,
    /// Counters have come.
    pub(crate) report: bool,
}

/// What the lane was told to decode.
#[derive(Clone, Debug)]
struct Stream {
    codec: VideoCodec,
    config: Option<Rc<ParameterSets>>,
}

impl Stream {
    fn is_of(&self, picture: &SourcePicture) -> bool {
        let same_sets = match (&self.config, &picture.config) {
            (Some(ours), Some(theirs)) => Rc::ptr_eq(ours, theirs),
            (None, None) => true,
            _ => false,
        };
        self.codec == picture.codec && same_sets
    }
}

#[derive(Debug, Default)]
pub(crate) struct Renditions {
    list: Vec<Rendition>,
    lane: Option<VideoLaneId>,
    /// The list is not what the lane was told.
    changed: bool,
    jobs: VecDeque<VideoJob>,
    stream: Option<Stream>,
    /// The lane can begin with a keyframe only.
    lacks_keyframe: bool,
    /// One shall be asked of the publisher.
    keyframe_wanted: bool,
    /// When the lane was last given a picture, and when it is to be told that time goes on.
    fill_at: Option<Instant>,
    /// The last picture: its time, and when it came. Its publisher's clock may be behind.
    decoded: Option<(i64, Instant)>,
    filled_us: i64,
    /// The publisher's last picture and when it came, while that is a keyframe and there is no lane: one
    /// that is opened because of it begins with it.
    keyframe: Option<(Instant, SourcePicture)>,
    slate: Option<String>,
    report: Option<(LaneReport, Instant)>,
    decode_permille: Option<u32>,
    /// What the decoder makes of the publisher's pictures.
    decodable: Decodable,
}

impl Renditions {
    pub(crate) fn list(&self) -> &[Rendition] {
        &self.list
    }

    pub(crate) fn list_mut(&mut self) -> &mut [Rendition] {
        &mut self.list
    }

    /// The one that is made; one that failed is another.
    pub(crate) fn of(&self, spec: &RenditionSpec) -> Option<&Rendition> {
        self.list
            .iter()
            .find(|it| it.spec == *spec && it.problem.is_none())
    }

    pub(crate) fn lane(&self) -> Option<VideoLaneId> {
        self.lane
    }

    pub(crate) fn open(&mut self, now: Instant, lane: VideoLaneId) {
        self.lane = Some(lane);
        self.stream = None;
        self.lacks_keyframe = true;
        self.keyframe_wanted = true;
        // Nobody may be publishing: then a slate is all that there is.
        self.fill_at = Some(now + FILL_AFTER);
        self.jobs.push_back(VideoJob::Open { lane });
    }

    /// The renditions are chosen. The lane begins with the keyframe that has just come, if one has.
    pub(crate) fn begin(&mut self, now: Instant) {
        if self.lane.is_some()
            && let Some((came, picture)) = self.keyframe.take()
        {
            let pts_us = picture.pts_us;
            self.decode(now, picture);
            // Time goes on from when it came: else a rendition that begins while the publisher is away
            // stays as far behind as the picture is old.
            self.decoded = self.decoded.map(|_| (pts_us, came));
        }
    }

    pub(crate) fn add(&mut self, rendition: Rendition) {
        self.list.push(rendition);
        self.changed = true;
    }

    pub(crate) fn retain(&mut self, keep: impl FnMut(&Rendition) -> bool) {
        let told = |list: &[Rendition]| list.iter().filter(|it| it.problem.is_none()).count();
        let before = told(&self.list);
        self.list.retain(keep);
        self.changed |= told(&self.list) != before;
    }

    /// Whether there is a rendition that is made.
    pub(crate) fn is_at_work(&self) -> bool {
        self.list.iter().any(|it| it.problem.is_none())
    }

    /// Nothing is to be made any more by the lane, which is given back closed. Rings stay for those
    /// who are sent what is in them; the next rendition has another lane.
    pub(crate) fn close(&mut self) -> Option<VideoLaneId> {
        let lane = self.lane?;
        *self = Self {
            list: std::mem::take(&mut self.list),
            keyframe_wanted: self.keyframe_wanted,
            ..Self::default()
        };
        self.jobs.push_back(VideoJob::Close { lane });
        Some(lane)
    }

    /// A picture of the publisher.
    pub(crate) fn decode(&mut self, now: Instant, picture: SourcePicture) {
        let Some(lane) = self.lane else {
            self.keyframe = picture.key.then_some((now, picture));
            return;
        };
        if self.lacks_keyframe && !picture.key {
            return;
        }
        self.keyframe_wanted &= !picture.key;
        self.tell_list(lane);
        let same = self.stream.as_ref().is_some_and(|it| it.is_of(&picture));
        if !same {
            if !picture.key {
                self.lacks_keyframe = true;
                self.keyframe_wanted = true;
                return;
            }
            self.jobs.push_back(VideoJob::Source {
                lane,
                codec: picture.codec,
                record: picture.config.as_ref().map(|it| it.record().clone()),
            });
            self.stream = Some(Stream {
                codec: picture.codec,
                config: picture.config,
            });
        }
        self.lacks_keyframe = false;
        self.slate = None;
        self.fill_at = Some(now + FILL_AFTER);
        self.decoded = Some((picture.pts_us, now));
        self.jobs.push_back(VideoJob::Decode {
            lane,
            pts_us: picture.pts_us,
            unit: picture.unit,
        });
    }

    /// When [`Self::fill`] has something to do.
    pub(crate) fn fill_due(&self) -> Option<Instant> {
        self.fill_at
    }

    /// No picture has come for a while. `slate` is what is to be seen instead of the last one.
    pub(crate) fn fill(&mut self, now: Instant, now_us: i64, slate: Option<&Slate>) {
        let Some(lane) = self
            .lane
            .filter(|_| self.fill_at.is_some_and(|at| now >= at))
        else {
            return;
        };
        self.tell_list(lane);
        self.fill_at = Some(now + FILL_TICK);
        if let Some(slate) = slate.filter(|slate| self.slate.as_ref() != Some(&slate.name)) {
            self.slate = Some(slate.name.clone());
            let image = slate.image.clone();
            self.jobs.push_back(VideoJob::Slate { lane, image });
        }
        if self.decoded.is_none() && self.slate.is_none() {
            return; // Nothing yet that could be repeated.
        }
        let by_picture_us = self.decoded.map_or(now_us, |(pts_us, at)| {
            let since = now.saturating_duration_since(at).as_micros();
            pts_us.saturating_add(i64::try_from(since).unwrap_or(i64::MAX))
        });
        let until_us = now_us.min(by_picture_us) - FILL_BEHIND_US;
        if until_us > self.filled_us {
            self.filled_us = until_us;
            self.jobs.push_back(VideoJob::Fill { lane, until_us });
        }
    }

    /// What the lane has said.
    pub(crate) fn result(&mut self, now: Instant, result: VideoResult) -> News {
        let mut news = News::default();
        match result {
            VideoResult::Encoded(picture) => {
                let rendition = self.list.iter_mut().find(|it| it.id == picture.rendition);
                news.fed = rendition.map(|it| it.encoded(picture)).is_some();
            }
            VideoResult::KeyframeWanted => {
                self.lacks_keyframe = true;
                self.keyframe_wanted = true;
            }
            VideoResult::Report(report) => {
                self.reported(now, report);
                news.report = true;
            }
            VideoResult::Failed { rendition, reason } => {
                let failed = self.list.iter_mut().find(|it| it.id == rendition);
                if let Some(failed) = failed {
                    failed.problem = Some(reason);
                    self.changed = true;
                    // Whoever took it may have to go on with the publisher's picture.
                    self.keyframe_wanted = true;
                    news.failed = Some(rendition);
                }
            }
        }
        news
    }

    /// Whether a keyframe shall be asked of the publisher; once.
    pub(crate) fn take_keyframe_wanted(&mut self) -> bool {
        std::mem::take(&mut self.keyframe_wanted)
    }

    pub(crate) fn take_job(&mut self) -> Option<VideoJob> {
        if let Some(lane) = self.lane {
            self.tell_list(lane);
        }
        self.jobs.pop_front()
    }

    /// Pixels of the publisher's picture, as far as the lane knows them.
    pub(crate) fn decoded_size(&self) -> Option<(u32, u32)> {
        let (report, _) = self.report.as_ref()?;
        (report.width > 0).then_some((report.width, report.height))
    }

    pub(crate) fn report(&self) -> Option<&LaneReport> {
        self.report.as_ref().map(|(report, _)| report)
    }

    /// Measured over the last second, in thousandths of a core.
    pub(crate) fn decode_permille(&self) -> Option<u32> {
        self.decode_permille
    }

    pub(crate) fn decoder_status(&self) -> Option<DecoderStatus> {
        let codec = self.stream.as_ref()?.codec;
        let report = self.report().cloned().unwrap_or_default();
        Some(DecoderStatus {
            codec,
            width: report.width,
            height: report.height,
            frames: report.frames,
            errors: report.errors,
            late: report.late,
            cpu_us: report.decode_us,
        })
    }

    /// Starts a new second of rates.
    pub(crate) fn tick(&mut self) {
        self.list.iter_mut().for_each(Rendition::tick);
    }

    /// Why the decoder makes nothing of what it is given, and what to do about it.
    pub(crate) fn video_problem(&self, now: Instant) -> Option<String> {
        let codec = self.stream.as_ref()?.codec;
        self.decodable.defeats_decoder(now, codec)
    }

    fn reported(&mut self, now: Instant, report: LaneReport) {
        let before = self.report.as_ref();
        let (frames, errors) = before.map_or((0, 0), |(old, _)| (old.frames, old.errors));
        // A picture that is decoded and not shown is an error too.
        let shown = report.frames.saturating_sub(frames) > report.errors.saturating_sub(errors);
        if report.frames > frames || report.errors > errors {
            self.decodable.came(now, shown);
        }
        let wall = before.map(|(_, at)| now.saturating_duration_since(*at));
        let wall_us = wall
            .map_or(1_000_000, |wall| wall.as_micros() as u64)
            .max(1);
        // Of a publisher that is away nothing is decoded; it will be again.
        let spent_us = before
            .filter(|(old, _)| report.frames >= old.frames + FRAMES_MIN)
            .map(|(old, _)| report.decode_us.saturating_sub(old.decode_us));
        self.decode_permille =
            spent_us.and_then(|spent_us| u32::try_from(spent_us * 1_000 / wall_us).ok());
        for each in &report.renditions {
            let rendition = self.list.iter_mut().find(|it| it.id == each.rendition);
            if let Some(rendition) = rendition {
                rendition.reported(each.clone(), wall_us);
            }
        }
        self.report = Some((report, now));
    }

    fn tell_list(&mut self, lane: VideoLaneId) {
        if std::mem::take(&mut self.changed) {
            let list = self.list.iter().filter(|it| it.problem.is_none());
            let renditions = list.map(|it| (it.id, it.spec)).collect();
            self.jobs
                .push_back(VideoJob::Renditions { lane, renditions });
        }
    }
}
