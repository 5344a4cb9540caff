//! What re-encoding costs: a whole Shardcast, its codecs alone, and ffmpeg, on the same clip in the
//! same run, one after the other.

mod alone;
mod ffmpeg;

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use shardcast_link::{DecoderStatus, Preset, RenditionSpec, RenditionStatus};
use tokio::time::{sleep, timeout};

use crate::BenchError;
use crate::clip::Clip;
use crate::harness::{Harness, Status, threads_cpu};
use crate::publisher::{Publisher, PublisherOptions};
use crate::sink::{PictureReport, Sink};
use crate::stats::Spread;

/// Until everything flows, on a machine that is busy.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Between start and measurement: the first seconds of codecs and caches are not typical.
const SETTLE: Duration = Duration::from_secs(3);
/// Names of the engine's threads that decode and encode begin so.
pub(crate) const CODEC_THREADS: &str = "codec-";

/// What is made of what, and how often it is measured.
#[derive(Clone, Debug)]
pub struct ReencodeOptions {
    /// The largest first.
    pub renditions: Vec<RenditionSpec>,
    /// Length of the measurement of Shardcast in each run.
    pub duration: Duration,
    pub runs: u32,
}

impl ReencodeOptions {
    /// 720 lines at 3 Mbit/s, and 480 and 360 with a ladder.
    pub fn renditions(ladder: bool) -> Vec<RenditionSpec> {
        let heights: &[u32] = if ladder { &[720, 480, 360] } else { &[720] };
        let spec = |height: &u32| RenditionSpec {
            width: Some(height * 16 / 9 / 2 * 2),
            ..RenditionSpec::of_height(*height)
        };
        heights.iter().map(spec).collect()
    }
}

/// CPU time for each of the publisher's pictures, in microseconds; scaling and encoding of all
/// renditions together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PictureCost {
    pub decode_us: f64,
    pub scale_us: f64,
    pub encode_us: f64,
}

impl PictureCost {
    pub fn total_us(&self) -> f64 {
        self.decode_us + self.scale_us + self.encode_us
    }
}

/// One after the other on the same machine.
#[derive(Clone, Debug, Serialize)]
pub struct ReencodeRun {
    /// As Shardcast counts it around its codecs.
    pub shardcast: PictureCost,
    /// All that its codec threads use, queues and wakes included.
    pub shardcast_threads_us: f64,
    pub alone: PictureCost,
    pub ffmpeg_us: f64,
    pub to_alone: f64,
    pub threads_to_alone: f64,
    pub to_ffmpeg: f64,
    /// A preset or a frame rate was below what was asked for: then the costs are of something else.
    pub throttled: bool,
    pub frames_sent: u64,
    pub frames_decoded: u64,
    /// Of each rendition, the largest first.
    pub frames_encoded: Vec<u64>,
    /// Pictures that the decoder made too late to be encoded.
    pub frames_late: u64,
}

/// All runs.
#[derive(Clone, Debug, Serialize)]
pub struct ReencodeReport {
    pub source: String,
    pub renditions: Vec<RenditionSpec>,
    pub runs: Vec<ReencodeRun>,
    /// CPU time of Shardcast's codecs against the same codecs alone.
    pub to_alone: Option<Spread>,
    pub threads_to_alone: Option<Spread>,
    pub to_ffmpeg: Option<Spread>,
    /// What the destination of each rendition received, in the last run.
    pub received: Vec<PictureReport>,
}

/// Measures the three, `runs` times in turn.
///
/// # Errors
/// When something does not start, or a codec refuses.
pub async fn reencode(
    harness: &Harness,
    clip: &Arc<Clip>,
    options: &ReencodeOptions,
) -> Result<ReencodeReport, BenchError> {
    let mut report = ReencodeReport {
        source: format!(
            "{} {}×{} at {} frames a second, {} kbit/s",
            clip.format.codec.name(),
            clip.format.width,
            clip.format.height,
            clip.format.fps,
            clip.format.video_kbps
        ),
        renditions: options.renditions.clone(),
        runs: Vec::new(),
        to_alone: None,
        threads_to_alone: None,
        to_ffmpeg: None,
        received: Vec::new(),
    };
    for number in 0..options.runs {
        let sink = Sink::start()?;
        let live = Live::start(harness, clip, &sink, &options.renditions, number).await?;
        let window = live.measure(options.duration).await?;
        let frames_sent = live.stop().await;
        let received = keys(&options.renditions)
            .into_iter()
            .filter_map(|key| sink.stream(&key));
        report.received = received.map(|stream| stream.picture).collect();
        let run = beside(clip, options, window, frames_sent).await?;
        report.runs.push(run);
    }
    let spread = |of: fn(&ReencodeRun) -> f64| Spread::of(report.runs.iter().map(of).collect());
    report.to_alone = spread(|run| run.to_alone);
    report.threads_to_alone = spread(|run| run.threads_to_alone);
    report.to_ffmpeg = spread(|run| run.to_ffmpeg);
    Ok(report)
}

/// The same without Shardcast, while nothing else runs.
async fn beside(
    clip: &Arc<Clip>,
    options: &ReencodeOptions,
    window: Window,
    frames_sent: u64,
) -> Result<ReencodeRun, BenchError> {
    let pictures = (options.duration.as_secs_f64() * f64::from(clip.format.fps)) as usize;
    let (clip, specs) = (Arc::clone(clip), options.renditions.clone());
    let both = tokio::task::spawn_blocking(move || {
        let alone = alone::measure(&clip, &specs, pictures)?;
        let ffmpeg_us = ffmpeg::measure(&clip, &specs, pictures)?;
        Ok::<_, BenchError>((alone, ffmpeg_us))
    });
    let (alone, ffmpeg_us) = both.await.map_err(std::io::Error::other)??;
    let total_us = window.cost.total_us();
    Ok(ReencodeRun {
        shardcast: window.cost,
        shardcast_threads_us: window.threads_us,
        alone,
        ffmpeg_us,
        to_alone: total_us / alone.total_us(),
        threads_to_alone: window.threads_us / alone.total_us(),
        to_ffmpeg: total_us / ffmpeg_us,
        throttled: window.throttled,
        frames_sent,
        frames_decoded: window.decoder.frames,
        frames_encoded: window.renditions.iter().map(|r| r.frames).collect(),
        frames_late: window.decoder.late,
    })
}

fn keys(specs: &[RenditionSpec]) -> Vec<String> {
    specs
        .iter()
        .map(|spec| format!("lines{}", spec.height))
        .collect()
}

/// A broadcast whose destinations are all sent renditions.
struct Live<'a> {
    harness: &'a Harness,
    stream_id: String,
    publisher: Publisher,
    source_fps: u32,
    specs: &'a [RenditionSpec],
}

/// What was counted between two reports of a shard.
struct Window {
    cost: PictureCost,
    threads_us: f64,
    throttled: bool,
    /// Since the beginning.
    decoder: DecoderStatus,
    renditions: Vec<RenditionStatus>,
}

impl<'a> Live<'a> {
    async fn start(
        harness: &'a Harness,
        clip: &Arc<Clip>,
        sink: &Sink,
        specs: &'a [RenditionSpec],
        number: u32,
    ) -> Result<Self, BenchError> {
        let stream_id = format!("reencode{number}");
        harness.create(&stream_id).await?;
        for (spec, key) in specs.iter().zip(keys(specs)) {
            harness
                .add_rendition(&stream_id, &sink.url(&key), spec)
                .await?;
        }
        let publisher = PublisherOptions::new(harness.signalling(), &stream_id);
        let publisher = Publisher::start(Arc::clone(clip), publisher);
        for key in keys(specs) {
            sink.frames(&key, 1, START_PATIENCE).await?;
        }
        sleep(SETTLE).await;
        Ok(Self {
            harness,
            stream_id,
            publisher,
            source_fps: clip.format.fps,
            specs,
        })
    }

    async fn measure(&self, duration: Duration) -> Result<Window, BenchError> {
        let before = self.counted(0).await?;
        let threads = || threads_cpu(self.harness.engine_pid(), CODEC_THREADS);
        let threads_before = threads()?;
        sleep(duration).await;
        let threads_spent = threads()?.saturating_sub(threads_before);
        let after = self.counted(before.0.frames).await?;
        let frames = (after.0.frames - before.0.frames).max(1) as f64;
        let sum = |of: fn(&RenditionStatus) -> u64| {
            let all = |list: &[RenditionStatus]| list.iter().map(of).sum::<u64>();
            all(&after.1).saturating_sub(all(&before.1)) as f64
        };
        let made = sum(|r| r.frames).max(1.0) / self.specs.len().max(1) as f64;
        let pictures = duration.as_secs_f64() * f64::from(self.source_fps);
        Ok(Window {
            cost: PictureCost {
                decode_us: (after.0.cpu_us - before.0.cpu_us) as f64 / frames,
                scale_us: sum(|r| r.scale_us) / made,
                encode_us: sum(|r| r.encode_us) / made,
            },
            threads_us: threads_spent.as_secs_f64() * 1e6 / pictures.max(1.0),
            throttled: after.1.iter().any(is_throttled),
            decoder: after.0,
            renditions: after.1,
        })
    }

    /// The counters of a report in which more than so many pictures were decoded.
    async fn counted(
        &self,
        frames: u64,
    ) -> Result<(DecoderStatus, Vec<RenditionStatus>), BenchError> {
        let counted = |status: &Status| {
            let broadcast = status.broadcast(&self.stream_id)?;
            let decoder = broadcast
                .decoder
                .filter(|decoder| decoder.frames > frames)?;
            let complete = broadcast.renditions.len() == self.specs.len();
            complete.then(|| (decoder, by_size(&broadcast.renditions)))
        };
        let what = "counters of the renditions";
        let shown = |status: &Status| counted(status).is_some();
        let status = self
            .harness
            .wait_status(what, START_PATIENCE, shown)
            .await?;
        counted(&status).ok_or_else(|| BenchError::Late {
            what: what.to_owned(),
            waited: START_PATIENCE,
        })
    }

    /// Frames that were sent in all.
    async fn stop(self) -> u64 {
        let sent = self.publisher.stop().await.frames_sent;
        // The next run is measured without this one, but a server that keeps it is no reason to fail.
        let _ = self.harness.delete(&self.stream_id).await;
        let gone = self.harness.wait_status("end", START_PATIENCE, |status| {
            status.renditions(&self.stream_id).is_empty()
        });
        let _ = timeout(START_PATIENCE, gone).await;
        sent
    }
}

fn by_size(renditions: &[RenditionStatus]) -> Vec<RenditionStatus> {
    let mut renditions = renditions.to_vec();
    renditions.sort_by_key(|rendition| std::cmp::Reverse(rendition.height));
    renditions
}

/// Something below what was asked for is in force.
pub(crate) fn is_throttled(rendition: &RenditionStatus) -> bool {
    let presets: [Preset; 2] = [rendition.preset, rendition.spec.preset];
    let [in_force, wanted] = presets;
    in_force < wanted || rendition.frames_per_second < rendition.spec.frames_per_second
}
