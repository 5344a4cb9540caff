//! Measures the CPU time of a re-encode: in Shardcast, with its codecs alone (the baseline), and with
//! ffmpeg. All three take the same clip, one after the other in the same run.

mod baseline;
mod ffmpeg;

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use shardcast_link::{DecoderStatus, Preset, RenditionSpec, RenditionStatus};
use tokio::time::{sleep, timeout};

use crate::BenchError;
use crate::harness::{Harness, Status, threads_cpu};
use crate::publisher::{Publisher, PublisherOptions};
use crate::sink::{Sink, VideoReport};
use crate::stats::Spread;
use crate::test_clip::TestClip;

/// Longest wait for the first frame of a destination, on a busy machine.
const START_TIME_LIMIT: Duration = Duration::from_secs(60);
/// Time between start and measurement: the first seconds of codecs and caches are not typical.
const SETTLE: Duration = Duration::from_secs(3);
/// Beginning of the names of the engine's threads that decode and encode.
pub(crate) const CODEC_THREADS: &str = "codec-";

/// Renditions, and number and length of the runs.
#[derive(Clone, Debug)]
pub struct ReencodeOptions {
    /// The largest first.
    pub renditions: Vec<RenditionSpec>,
    /// Length of the measurement of Shardcast in each run.
    pub duration: Duration,
    /// Number of runs.
    pub runs: u32,
}

impl ReencodeOptions {
    /// 720p at 3 Mbit/s; with a ladder, 480p and 360p too.
    pub fn renditions(ladder: bool) -> Vec<RenditionSpec> {
        let heights: &[u32] = if ladder { &[720, 480, 360] } else { &[720] };
        let spec = |height: &u32| RenditionSpec {
            width: Some(height * 16 / 9 / 2 * 2),
            ..RenditionSpec::of_height(*height)
        };
        heights.iter().map(spec).collect()
    }
}

/// CPU time for each frame of the publisher, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct FrameCost {
    /// Decoding.
    pub decode_us: f64,
    /// Scaling for all renditions.
    pub scale_us: f64,
    /// Encoding of all renditions.
    pub encode_us: f64,
}

impl FrameCost {
    /// Decoding, scaling and encoding together.
    pub fn total_us(&self) -> f64 {
        self.decode_us + self.scale_us + self.encode_us
    }
}

/// Results of one run.
#[derive(Clone, Debug, Serialize)]
pub struct ReencodeRun {
    /// The CPU time that Shardcast measures around its codecs.
    pub shardcast: FrameCost,
    /// The whole CPU time of its codec threads, queues and wake-ups included.
    pub shardcast_threads_us: f64,
    /// The same codecs without Shardcast.
    #[serde(rename = "alone")]
    pub baseline: FrameCost,
    /// `ffmpeg -threads 1`, with its start and the reading of the file.
    pub ffmpeg_us: f64,
    /// `shardcast` divided by `baseline`.
    #[serde(rename = "to_alone")]
    pub to_baseline: f64,
    /// `shardcast_threads_us` divided by `baseline`.
    #[serde(rename = "threads_to_alone")]
    pub threads_to_baseline: f64,
    /// `shardcast` divided by `ffmpeg_us`.
    pub to_ffmpeg: f64,
    /// A preset or a frame rate was below the requested one, so the costs are not comparable.
    pub throttled: bool,
    /// Video frames that the publisher sent.
    pub frames_sent: u64,
    /// Frames that Shardcast decoded.
    pub frames_decoded: u64,
    /// Frames encoded of each rendition, the largest first.
    pub frames_encoded: Vec<u64>,
    /// Frames that were decoded too late to be encoded.
    pub frames_late: u64,
}

/// Results of all runs.
#[derive(Clone, Debug, Serialize)]
pub struct ReencodeReport {
    /// Codec, size, frame rate and bit rate of the source, as text.
    pub source: String,
    /// The renditions that were made, the largest first.
    pub renditions: Vec<RenditionSpec>,
    /// One entry for each run.
    pub runs: Vec<ReencodeRun>,
    /// CPU time of Shardcast's codecs divided by that of the same codecs alone.
    #[serde(rename = "to_alone")]
    pub to_baseline: Option<Spread>,
    /// The same with everything that the codec threads do around the codecs.
    #[serde(rename = "threads_to_alone")]
    pub threads_to_baseline: Option<Spread>,
    /// CPU time of Shardcast's codecs divided by that of ffmpeg.
    pub to_ffmpeg: Option<Spread>,
    /// The video that the destination of each rendition received in the last run.
    pub received: Vec<VideoReport>,
}

/// Measures the three in turn, `runs` times.
///
/// # Errors
/// When something does not start, or a codec refuses.
pub async fn reencode(
    harness: &Harness,
    clip: &Arc<TestClip>,
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
        to_baseline: None,
        threads_to_baseline: None,
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
        report.received = received.map(|stream| stream.video).collect();
        let run = measure_others(clip, options, window, frames_sent).await?;
        report.runs.push(run);
    }
    let spread = |of: fn(&ReencodeRun) -> f64| Spread::of(report.runs.iter().map(of).collect());
    report.to_baseline = spread(|run| run.to_baseline);
    report.threads_to_baseline = spread(|run| run.threads_to_baseline);
    report.to_ffmpeg = spread(|run| run.to_ffmpeg);
    Ok(report)
}

/// Measures the codecs alone and ffmpeg, while nothing else runs.
async fn measure_others(
    clip: &Arc<TestClip>,
    options: &ReencodeOptions,
    window: Window,
    frames_sent: u64,
) -> Result<ReencodeRun, BenchError> {
    let frames = (options.duration.as_secs_f64() * f64::from(clip.format.fps)) as usize;
    let (clip, specs) = (Arc::clone(clip), options.renditions.clone());
    let both = tokio::task::spawn_blocking(move || {
        let baseline = baseline::measure(&clip, &specs, frames)?;
        let ffmpeg_us = ffmpeg::measure(&clip, &specs, frames)?;
        Ok::<_, BenchError>((baseline, ffmpeg_us))
    });
    let (baseline, ffmpeg_us) = both.await.map_err(std::io::Error::other)??;
    let total_us = window.cost.total_us();
    Ok(ReencodeRun {
        shardcast: window.cost,
        shardcast_threads_us: window.threads_us,
        baseline,
        ffmpeg_us,
        to_baseline: total_us / baseline.total_us(),
        threads_to_baseline: window.threads_us / baseline.total_us(),
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

/// A broadcast whose destinations all receive renditions.
struct Live<'a> {
    harness: &'a Harness,
    stream_id: String,
    publisher: Publisher,
    source_fps: u32,
    specs: &'a [RenditionSpec],
}

/// What was counted between two reports of a shard.
struct Window {
    cost: FrameCost,
    threads_us: f64,
    throttled: bool,
    /// Counters since the beginning of the broadcast.
    decoder: DecoderStatus,
    renditions: Vec<RenditionStatus>,
}

impl<'a> Live<'a> {
    async fn start(
        harness: &'a Harness,
        clip: &Arc<TestClip>,
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
            sink.frames(&key, 1, START_TIME_LIMIT).await?;
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
        let source_frames = duration.as_secs_f64() * f64::from(self.source_fps);
        Ok(Window {
            cost: FrameCost {
                decode_us: (after.0.cpu_us - before.0.cpu_us) as f64 / frames,
                scale_us: sum(|r| r.scale_us) / made,
                encode_us: sum(|r| r.encode_us) / made,
            },
            threads_us: threads_spent.as_secs_f64() * 1e6 / source_frames.max(1.0),
            throttled: after.1.iter().any(is_throttled),
            decoder: after.0,
            renditions: after.1,
        })
    }

    /// The counters of the first status with more than `frames` decoded frames.
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
            .wait_status(what, START_TIME_LIMIT, shown)
            .await?;
        counted(&status).ok_or_else(|| BenchError::Late {
            what: what.to_owned(),
            waited: START_TIME_LIMIT,
        })
    }

    /// Ends the broadcast and returns the number of frames sent.
    async fn stop(self) -> u64 {
        let sent = self.publisher.stop().await.frames_sent;
        // The next run is measured without this broadcast, but a failed deletion is no reason to stop.
        let _ = self.harness.delete(&self.stream_id).await;
        let gone = self.harness.wait_status("end", START_TIME_LIMIT, |status| {
            status.renditions(&self.stream_id).is_empty()
        });
        let _ = timeout(START_TIME_LIMIT, gone).await;
        sent
    }
}

fn by_size(renditions: &[RenditionStatus]) -> Vec<RenditionStatus> {
    let mut renditions = renditions.to_vec();
    renditions.sort_by_key(|rendition| std::cmp::Reverse(rendition.height));
    renditions
}

/// The preset or the frame rate in force is below the requested one.
pub(crate) fn is_throttled(rendition: &RenditionStatus) -> bool {
    let presets: [Preset; 2] = [rendition.preset, rendition.spec.preset];
    let [in_force, wanted] = presets;
    in_force < wanted || rendition.frames_per_second < rendition.spec.frames_per_second
}
