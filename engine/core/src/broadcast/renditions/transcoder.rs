//! The renditions of a broadcast, and the jobs of the one transcoder that makes them.
//!
//! The transcoder decodes the publisher's frames as they come. While none come it is sent fill jobs, so
//! that the timeline of renditions is gapless: it repeats the last frame, or the slate.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use shardcast_link::{DecoderStatus, RenditionSpec, VideoCodec};

use super::rendition::Rendition;
use crate::{
    broadcast::{
        filler::Slate,
        ingest::{SourceFrame, decodable::Decodable},
    },
    codec::h264::ParameterSets,
    context::Context,
    ids::{RenditionId, VideoTranscoderId},
    io::{Output, VideoJob, VideoResult, VideoTranscoderReport},
};

/// Without a frame for so long, renditions repeat the last one. Shorter pauses are filled when the next
/// frame comes.
const FILL_AFTER: Duration = Duration::from_millis(250);
/// How often a fill job is sent while no frame comes.
const FILL_TICK: Duration = Duration::from_millis(100);
/// Fill jobs stay so far behind the clock, so that a frame that is late still has its place.
const FILL_BEHIND_US: i64 = 100_000;

/// Frames within a second from which the cost of decoding is measured.
const FRAMES_MIN: u64 = 5;

/// What a result of the transcoder asks of its broadcast.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// There is something new in a ring.
    pub(crate) fed: bool,
    /// Which rendition cannot be made.
    pub(crate) failed: Option<RenditionId>,
    /// Counters have come.
    pub(crate) report: bool,
}

/// The stream that the transcoder was sent last.
#[derive(Clone, Debug)]
struct Stream {
    codec: VideoCodec,
    config: Option<Rc<ParameterSets>>,
}

impl Stream {
    fn is_of(&self, frame: &SourceFrame) -> bool {
        let same_sets = match (&self.config, &frame.config) {
            (Some(ours), Some(theirs)) => Rc::ptr_eq(ours, theirs),
            (None, None) => true,
            _ => false,
        };
        self.codec == frame.codec && same_sets
    }
}

#[derive(Debug, Default)]
pub(crate) struct Renditions {
    list: Vec<Rendition>,
    transcoder: Option<VideoTranscoderId>,
    /// The list differs from the one that was sent to the transcoder.
    changed: bool,
    stream: Option<Stream>,
    /// The transcoder can begin with a keyframe only.
    lacks_keyframe: bool,
    /// One shall be asked of the publisher.
    keyframe_wanted: bool,
    /// When the next fill job is due.
    fill_at: Option<Instant>,
    /// The last frame: its time, and when it came. Its publisher's clock may be behind.
    decoded: Option<(i64, Instant)>,
    filled_us: i64,
    /// The first picture that the transcoder has made. All renditions have keyframes at whole groups of pictures from
    /// there on.
    origin_us: Option<i64>,
    /// The publisher's last frame and when it came, while that is a keyframe and there is no transcoder:
    /// one that is opened because of it begins with it.
    keyframe: Option<(Instant, SourceFrame)>,
    slate: Option<String>,
    report: Option<(VideoTranscoderReport, Instant)>,
    decode_permille: Option<u32>,
    /// Whether the decoder can use the publisher's frames.
    decodable: Decodable,
}

impl Renditions {
    pub(crate) fn list(&self) -> &[Rendition] {
        &self.list
    }

    /// Whether the governor has lowered one.
    pub(crate) fn are_lowered(&self) -> bool {
        self.list.iter().any(|it| it.is_lowered)
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

    pub(crate) fn transcoder(&self) -> Option<VideoTranscoderId> {
        self.transcoder
    }

    pub(crate) fn open(&mut self, ctx: &mut Context, transcoder: VideoTranscoderId) {
        self.transcoder = Some(transcoder);
        self.stream = None;
        self.lacks_keyframe = true;
        self.keyframe_wanted = true;
        // Without a publisher a slate is all that there is to show.
        self.fill_at = Some(ctx.now + FILL_AFTER);
        ctx.output(Output::Video(VideoJob::Open { transcoder }));
    }

    /// The renditions are selected. The transcoder begins with the keyframe that has just come, if one
    /// has.
    pub(crate) fn begin(&mut self, ctx: &mut Context) {
        if self.transcoder.is_some()
            && let Some((came, frame)) = self.keyframe.take()
        {
            let pts_us = frame.pts_us;
            self.decode(ctx, frame);
            // Time counts from when it came: otherwise a rendition that begins while the publisher is
            // away stays as far behind as the frame is old.
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

    /// Closes the transcoder, which has nothing to make any more. Rings stay for consumers that are still
    /// sent what is in them; the next rendition has another transcoder.
    pub(crate) fn close(&mut self, ctx: &mut Context) {
        let Some(transcoder) = self.transcoder else {
            return;
        };
        *self = Self {
            list: std::mem::take(&mut self.list),
            keyframe_wanted: self.keyframe_wanted,
            ..Self::default()
        };
        ctx.output(Output::Video(VideoJob::Close { transcoder }));
    }

    /// A frame of the publisher.
    pub(crate) fn decode(&mut self, ctx: &mut Context, frame: SourceFrame) {
        let now = ctx.now;
        let Some(transcoder) = self.transcoder else {
            self.keyframe = frame.key.then_some((now, frame));
            return;
        };
        if self.lacks_keyframe && !frame.key {
            return;
        }
        self.keyframe_wanted &= !frame.key;
        self.send_list(ctx, transcoder);
        let same = self.stream.as_ref().is_some_and(|it| it.is_of(&frame));
        if !same {
            if !frame.key {
                self.lacks_keyframe = true;
                self.keyframe_wanted = true;
                return;
            }
            ctx.output(Output::Video(VideoJob::Source {
                transcoder,
                codec: frame.codec,
                record: frame.config.as_ref().map(|it| it.record().clone()),
            }));
            self.stream = Some(Stream {
                codec: frame.codec,
                config: frame.config,
            });
        }
        self.lacks_keyframe = false;
        self.slate = None;
        self.fill_at = Some(now + FILL_AFTER);
        self.decoded = Some((frame.pts_us, now));
        ctx.output(Output::Video(VideoJob::Decode {
            transcoder,
            pts_us: frame.pts_us,
            unit: frame.unit,
        }));
    }

    /// When [`Self::fill`] has something to do.
    pub(crate) fn fill_due(&self) -> Option<Instant> {
        self.fill_at
    }

    /// No frame has come for a while. `slate` is shown instead of the last one.
    pub(crate) fn fill(&mut self, ctx: &mut Context, slate: Option<&Slate>) {
        let (now, now_us) = (ctx.now, ctx.now_us());
        let Some(transcoder) = self
            .transcoder
            .filter(|_| self.fill_at.is_some_and(|at| now >= at))
        else {
            return;
        };
        self.send_list(ctx, transcoder);
        self.fill_at = Some(now + FILL_TICK);
        if let Some(slate) = slate.filter(|slate| self.slate.as_ref() != Some(&slate.name)) {
            self.slate = Some(slate.name.clone());
            let image = slate.image.clone();
            ctx.output(Output::Video(VideoJob::Slate { transcoder, image }));
        }
        if self.decoded.is_none() && self.slate.is_none() {
            return; // There is nothing to repeat yet.
        }
        let by_picture_us = self.decoded.map_or(now_us, |(pts_us, at)| {
            let since = now.saturating_duration_since(at).as_micros();
            pts_us.saturating_add(i64::try_from(since).unwrap_or(i64::MAX))
        });
        let until_us = now_us.min(by_picture_us) - FILL_BEHIND_US;
        if until_us > self.filled_us {
            self.filled_us = until_us;
            ctx.output(Output::Video(VideoJob::Fill {
                transcoder,
                until_us,
            }));
        }
    }

    /// The first picture that the transcoder has made.
    pub(crate) fn origin_us(&self) -> Option<i64> {
        self.origin_us
    }

    /// Takes a result of the transcoder.
    pub(crate) fn result(&mut self, now: Instant, result: VideoResult) -> News {
        let mut news = News::default();
        match result {
            VideoResult::Encoded(frame) => {
                self.origin_us.get_or_insert(frame.pts_us);
                let rendition = self.list.iter_mut().find(|it| it.id == frame.rendition);
                news.fed = rendition.map(|it| it.encoded(frame)).is_some();
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
                    // Its consumers may have to go on with the publisher's video.
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

    /// Has the next frame of a rendition made a keyframe, if that is not too soon after one.
    pub(crate) fn request_keyframe(&mut self, ctx: &mut Context, rendition: RenditionId) {
        self.flush(ctx);
        let mut list = self.list.iter_mut();
        if let Some(transcoder) = self.transcoder
            && let Some(made) = list.find(|it| it.id == rendition)
            && made.may_ask(ctx.now)
        {
            ctx.output(Output::Video(VideoJob::Keyframe {
                transcoder,
                rendition,
            }));
        }
    }

    /// Sends the list to the transcoder, if it has changed.
    pub(crate) fn flush(&mut self, ctx: &mut Context) {
        if let Some(transcoder) = self.transcoder {
            self.send_list(ctx, transcoder);
        }
    }

    /// Pixels of the publisher's video, once the transcoder has decoded a frame.
    pub(crate) fn decoded_size(&self) -> Option<(u32, u32)> {
        let (report, _) = self.report.as_ref()?;
        (report.width > 0).then_some((report.width, report.height))
    }

    pub(crate) fn report(&self) -> Option<&VideoTranscoderReport> {
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

    fn reported(&mut self, now: Instant, report: VideoTranscoderReport) {
        let before = self.report.as_ref();
        let (frames, errors) = before.map_or((0, 0), |(old, _)| (old.frames, old.errors));
        // A frame that is decoded and not shown is an error too.
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

    fn send_list(&mut self, ctx: &mut Context, transcoder: VideoTranscoderId) {
        if std::mem::take(&mut self.changed) {
            let list = self.list.iter().filter(|it| it.problem.is_none());
            let renditions = list.map(|it| (it.id, it.spec)).collect();
            ctx.output(Output::Video(VideoJob::Renditions {
                transcoder,
                renditions,
            }));
        }
    }
}
