//! The video transcoders of a seeded run: quick, late, stalling, failing. What they are told is held
//! against what the shard may spend and whom it feeds.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bytes::Bytes;
use shardcast_core::{
    io::{EncodedFrame, Input, RenditionId, VideoJob, VideoResult, VideoTranscoderId},
    simulation_hook::{DestinationView, SentVideo},
};
use shardcast_link::RenditionSpec;

use super::{
    trace::note,
    world::{SimEvent, Verdict, World, ms},
};
use crate::codecs::{FakeVideoTranscoder, Trouble};

/// A picture with more work than this in front of it comes too late to be encoded.
const BACKLOG: Duration = Duration::from_millis(100);
const REPETITION: Duration = Duration::from_micros(300);
/// How often a transcoder reports.
const REPORT_MS: u64 = 1_000;
#[derive(Debug, Default)]
pub(super) struct VideoTranscoders {
    transcoders: BTreeMap<VideoTranscoderId, FakeTranscoder>,
    newest: Option<VideoTranscoderId>,
    /// All renditions of the run.
    specs: BTreeMap<RenditionId, RenditionSpec>,
    failed: BTreeSet<RenditionId>,
    /// A rendition that no destination takes, and since when.
    pub(super) idle: Option<(RenditionId, Instant)>,
}

#[derive(Debug)]
struct FakeTranscoder {
    transcoder: FakeVideoTranscoder,
    /// When it has done what it was told so far.
    free_at: Instant,
}

impl VideoTranscoders {
    pub(super) fn spec(&self, rendition: RenditionId) -> Option<&RenditionSpec> {
        self.specs.get(&rendition)
    }

    pub(super) fn is_failed(&self, rendition: RenditionId) -> bool {
        self.failed.contains(&rendition)
    }

    /// How many are open.
    pub(super) fn open(&self) -> usize {
        self.transcoders.len()
    }

    fn transcoder(&mut self, transcoder: VideoTranscoderId) -> Result<&mut FakeTranscoder, String> {
        let found = self.transcoders.get_mut(&transcoder);
        found.ok_or_else(|| format!("a job for {transcoder:?}, which is not open"))
    }
}

impl World {
    fn slate_shown(&mut self, transcoder: VideoTranscoderId, image: Bytes) -> Verdict {
        note!(
            self,
            "{transcoder:?} is to show {:?}",
            self.slate_of(&image)?
        );
        self.tally.count("slate in renditions");
        if self.publisher.is_published() {
            return Err("a slate in place of a publisher that is there".to_owned());
        }
        let shown = self.video_transcoders.transcoder(transcoder)?;
        shown.transcoder.slates.push(image);
        Ok(())
    }

    /// The shard wants a video transcoder to do something.
    pub(super) fn video(&mut self, job: VideoJob) -> Verdict {
        if self.plan.transcoders.capacity_permille == 0 {
            return Err(format!("{job:?} without a codec"));
        }
        match job {
            VideoJob::Open { transcoder } => self.transcoder_opened(transcoder),
            VideoJob::Source {
                transcoder,
                codec,
                record,
            } => {
                note!(self, "{transcoder:?} is to decode {}", codec.name());
                self.video_transcoders
                    .transcoder(transcoder)?
                    .transcoder
                    .begin(codec, record)
            }
            VideoJob::Renditions {
                transcoder,
                renditions,
            } => self.renditions(transcoder, &renditions),
            VideoJob::Keyframe {
                transcoder,
                rendition,
            } => {
                let open = self.video_transcoders.transcoder(transcoder)?;
                open.transcoder.request_keyframe(rendition)
            }
            VideoJob::Decode {
                transcoder,
                pts_us,
                unit,
            } => self.decode(transcoder, pts_us, &unit),
            VideoJob::Fill {
                transcoder,
                until_us,
            } => self.fill(transcoder, until_us),
            VideoJob::Slate { transcoder, image } => self.slate_shown(transcoder, image),
            VideoJob::Close { transcoder } => {
                note!(self, "{transcoder:?} is closed");
                self.tally.count("video transcoder closed");
                let known = self
                    .video_transcoders
                    .transcoders
                    .remove(&transcoder)
                    .is_some();
                let error = || format!("{transcoder:?} is closed and was not open");
                known.then_some(()).ok_or_else(error)
            }
        }
    }

    fn transcoder_opened(&mut self, id: VideoTranscoderId) -> Verdict {
        note!(self, "{id:?} is opened");
        if self.video_transcoders.newest >= Some(id) || self.video_transcoders.open() > 0 {
            return Err(format!("{id:?} is opened beside or before another"));
        }
        let transcoder = FakeTranscoder {
            transcoder: FakeVideoTranscoder::new(id),
            free_at: self.now,
        };
        self.video_transcoders.newest = Some(id);
        self.video_transcoders.transcoders.insert(id, transcoder);
        self.after(ms(REPORT_MS), SimEvent::TranscoderReport(id));
        // It can begin with a keyframe only.
        self.keyframe_wanted();
        Ok(())
    }

    fn renditions(
        &mut self,
        id: VideoTranscoderId,
        wanted: &[(RenditionId, RenditionSpec)],
    ) -> Verdict {
        note!(self, "{id:?} is to make {}", describe(wanted));
        let gone = self
            .video_transcoders
            .transcoder(id)?
            .transcoder
            .set_renditions(wanted)?;
        let fed = |it: DestinationView<'_>| match it.sent {
            Some(SentVideo::Rendition(id)) => gone.contains(&id),
            _ => false,
        };
        if self.view().destinations().any(fed) {
            return Err(format!("somebody is sent one of {gone:?}, which ends"));
        }
        let (plan, calm_at) = (self.plan.transcoders, self.calm_at());
        for (rendition, spec) in wanted {
            if self.video_transcoders.specs.contains_key(rendition) {
                continue;
            }
            self.video_transcoders.specs.insert(*rendition, *spec);
            self.tally.count("rendition made");
            self.fits()?;
            let at = self.now + ms(self.random.between(1, 8_000));
            if self.random.chance(plan.fails_percent) && at < calm_at {
                let failed = VideoResult::Failed {
                    rendition: *rendition,
                    reason: "x264 failed in this run".to_owned(),
                };
                self.at(at, SimEvent::Transcoded(id, vec![failed]));
            }
        }
        Ok(())
    }

    /// All renditions together take no more than the capacity. Until one is measured, it counts as
    /// admission estimated it; one that is being left for another does not count.
    fn fits(&self) -> Verdict {
        let used_permille = self.view().codec_permille();
        if used_permille > self.plan.transcoders.capacity_permille {
            let most = self.plan.transcoders.capacity_permille;
            return Err(format!(
                "a rendition begins with {used_permille} of {most} permille"
            ));
        }
        Ok(())
    }

    fn decode(&mut self, id: VideoTranscoderId, pts_us: i64, unit: &[u8]) -> Verdict {
        let (now, plan) = (self.now, self.plan.transcoders);
        let transcoder = self.video_transcoders.transcoder(id)?;
        let key = transcoder.transcoder.take(now, pts_us, unit)?;
        let mut of_thousand = |permille| self.random.between(0, 999) < permille;
        let (stalls, damaged) = (
            of_thousand(plan.stalls_permille),
            of_thousand(plan.errors_permille),
        );
        if stalls {
            transcoder.free_at = transcoder.free_at.max(now) + ms(self.random.between(100, 2_500));
            self.tally.count("video transcoder stalled");
        }
        let late = transcoder.free_at > now + BACKLOG;
        let trouble = Trouble { damaged, late };
        let decoded = transcoder.transcoder.decode(pts_us, key, trouble);
        let made = decoded.encoded;
        let count = transcoder.transcoder.ids().len();
        let fresh = if late { 0 } else { count };
        let took = Duration::from_micros(plan.picture_us) * u32::try_from(1 + fresh).unwrap();
        let repetitions = u32::try_from(made.len().saturating_sub(fresh)).unwrap();
        transcoder.free_at = transcoder.free_at.max(now) + took + REPETITION * repetitions;
        let done = transcoder.free_at;
        let mut results: Vec<_> = made.into_iter().map(VideoResult::Encoded).collect();
        let asks = decoded.asks_for_keyframe;
        results.extend(asks.then_some(VideoResult::KeyframeWanted));
        if late {
            self.tally.count("picture too late to be encoded");
            note!(self, "{id:?} is too late for the picture of {pts_us} us");
        }
        if !results.is_empty() {
            self.at(done, SimEvent::Transcoded(id, results));
        }
        Ok(())
    }

    fn fill(&mut self, id: VideoTranscoderId, until_us: i64) -> Verdict {
        let (now, now_us) = (self.now, self.us());
        let transcoder = self.video_transcoders.transcoder(id)?;
        let made = transcoder.transcoder.fill(now, now_us, until_us)?;
        let count = u32::try_from(made.len()).unwrap();
        transcoder.free_at = transcoder.free_at.max(now) + REPETITION * count;
        let done = transcoder.free_at;
        self.tally
            .add("picture repeated in renditions", made.len() as u64);
        let results: Vec<_> = made.into_iter().map(VideoResult::Encoded).collect();
        if !results.is_empty() {
            self.at(done, SimEvent::Transcoded(id, results));
        }
        Ok(())
    }

    /// A transcoder has results; the shard may have closed it meanwhile.
    pub(super) fn transcoded(
        &mut self,
        transcoder: VideoTranscoderId,
        results: Vec<VideoResult>,
    ) -> Verdict {
        for result in results {
            let asks = result == VideoResult::KeyframeWanted;
            match &result {
                VideoResult::Encoded(EncodedFrame { rendition, .. })
                    if self.video_transcoders.failed.contains(rendition) =>
                {
                    continue;
                }
                VideoResult::Failed { rendition, .. } => {
                    note!(self, "{rendition:?} fails");
                    self.tally.count("rendition failed");
                    self.video_transcoders.failed.insert(*rendition);
                    if let Ok(transcoder) = self.video_transcoders.transcoder(transcoder) {
                        transcoder.transcoder.fail(*rendition);
                    }
                }
                VideoResult::KeyframeWanted => {
                    note!(self, "{transcoder:?} wants a keyframe");
                    self.tally.count("keyframe wanted by a transcoder");
                    if let Ok(transcoder) = self.video_transcoders.transcoder(transcoder) {
                        transcoder.transcoder.expect_keyframe();
                    }
                }
                VideoResult::Encoded(picture) if picture.key => {
                    let at_ms = picture.pts_us / 1_000;
                    note!(self, "{:?} has a keyframe of {at_ms} ms", picture.rendition);
                }
                _ => {}
            }
            self.handle(Input::Video { transcoder, result })?;
            if asks {
                self.keyframe_wanted();
            }
        }
        Ok(())
    }

    pub(super) fn transcoder_report(&mut self, id: VideoTranscoderId) -> Verdict {
        let picture_us = self.plan.transcoders.picture_us;
        let Ok(transcoder) = self.video_transcoders.transcoder(id) else {
            return Ok(());
        };
        let report = transcoder.transcoder.report(picture_us, |_| picture_us);
        self.after(ms(REPORT_MS), SimEvent::TranscoderReport(id));
        let result = VideoResult::Report(report);
        self.handle(Input::Video {
            transcoder: id,
            result,
        })
    }
}

fn describe(renditions: &[(RenditionId, RenditionSpec)]) -> String {
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
