//! Measures Shardcast with many broadcasts at once, and the time to the first frame.

use std::{path::PathBuf, sync::Arc, time::Duration};

use serde::Serialize;
use tokio::time::sleep;

use crate::BenchError;
use crate::harness::{CorePlan, Harness, HarnessOptions, Pinned, usage};
use crate::load::{
    Clips, Door, HlsFigures, IngestDelay, Load, Mix, Processes, START_TIME_LIMIT, Window,
};
use crate::publisher::{Publisher, PublisherOptions};
use crate::sink::{ConnectionReport, Sink};
use crate::stats::{Percentiles, Spread};
use crate::test_clip::TestClip;
use crate::work::{WorkRates, WorkSample};

/// Time between start and measurement: the first seconds of codecs and caches are not typical.
const SETTLE: Duration = Duration::from_secs(3);

/// Size and length of the load.
#[derive(Clone, Debug)]
pub struct LiveOptions {
    /// Broadcasts at the same time.
    pub broadcasts: u32,
    /// What they are.
    pub mix: Mix,
    /// Length of the measurement.
    pub duration: Duration,
}

/// The Shardcast that is measured, and the cores it has.
#[derive(Clone, Debug)]
pub struct ServerSetup {
    /// Its executable or the directory of it; `None`: the one next to this executable. An older
    /// release will do; it has fewer counters.
    pub server: Option<PathBuf>,
    /// Shards of the engine.
    pub shards: u16,
    /// Cores of the engine and of the generator.
    pub cores: CorePlan,
}

impl Default for ServerSetup {
    /// One shard, and no cores set apart.
    fn default() -> Self {
        Self {
            server: None,
            shards: 1,
            cores: CorePlan::default(),
        }
    }
}

impl ServerSetup {
    /// Starts it, and pins it and this process as long as the second part of the result lives.
    ///
    /// # Errors
    /// When it does not start, or a core cannot be used.
    pub async fn start(&self) -> Result<(Harness, Pinned), BenchError> {
        let harness = Harness::start(HarnessOptions {
            server: self.server.clone(),
            shards: self.shards,
            cores: self.cores.engine_cores(),
            ..HarnessOptions::default()
        })
        .await?;
        let pinned = self.cores.apply(&harness)?;
        Ok((harness, pinned))
    }
}

/// Results of the load.
#[derive(Clone, Debug, Serialize)]
pub struct LiveReport {
    /// Broadcasts at the same time.
    pub broadcasts: u32,
    /// RTMP destinations of each broadcast; of a mix, the most.
    pub destinations: u32,
    /// Length of the measurement in seconds.
    pub seconds: f64,
    /// Bytes that one publisher sent, audio included, in kbit/s.
    pub video_kbps: f64,
    /// Video frames sent, by all publishers together.
    pub frames_sent: u64,
    /// Frames that were sent and not received, by all destinations together; of the last 300 ms only
    /// those between two that were.
    pub frames_lost: u64,
    /// All other defects at the destinations, as text.
    pub faults: Vec<String>,
    /// CPU time of the engine for one broadcast with all its destinations, in percent of a core.
    pub engine_cpu_percent_per_broadcast: f64,
    /// CPU time of control, in percent of a core.
    pub control_cpu_percent: f64,
    /// CPU time of the publishers and sinks of this process, in percent of a core.
    pub generator_cpu_percent: f64,
    /// Resident memory of the engine minus that without broadcasts, for one broadcast.
    pub engine_mb_per_broadcast: f64,
    /// Growth of the engine's resident memory during the measurement, in MB.
    pub engine_mb_grown: f64,
    /// From the publisher's send call to the destination's read call, of the frames received during
    /// the measurement.
    pub delay_ms: Option<Percentiles>,
    /// The same for each way in which some of the broadcasts are published.
    pub delay_by_ingest: Vec<IngestDelay>,
    /// Longest distance of neighbouring keyframes of each destination.
    pub keyframe_interval_ms: Option<Spread>,
    /// Audio minus video in milliseconds: the medians of the destinations.
    pub sync_ms: Option<Spread>,
    /// From the first `publish` to ICE and DTLS being up, or to the answer to RTMP's `publish`, of each publisher.
    pub connect_ms: Option<Percentiles>,
    /// Frames that the generator sent more than 50 ms late: above 0, the generator itself delayed
    /// frames, and the delays are not valid.
    pub frames_sent_late: u64,
    /// What HLS pollers did; `None` without any.
    pub hls: Option<HlsFigures>,
    /// Recordings of all broadcasts at the end, in MB; 0 when none is recorded.
    pub recorded_mb: f64,
    /// What the shards' work consisted of; `None` of a server that does not count it.
    pub work_per_second: Option<WorkRates>,
}

/// Publishes all broadcasts at once and measures them. `cores` is what the server was started with.
///
/// # Errors
/// When something does not start.
pub async fn live(
    harness: &Harness,
    cores: &CorePlan,
    clips: &Clips,
    options: &LiveOptions,
) -> Result<LiveReport, BenchError> {
    let idle_mb = mb(usage(harness.engine_pid())?.resident_bytes);
    let mix = &options.mix;
    let (door, sinks) = (Door::Shardcast(harness), Load::sinks(mix)?);
    let load = Load::start(&door, mix, options.broadcasts, sinks, clips).await?;
    sleep(SETTLE).await;
    let work_before = WorkSample::take(harness).await;
    let processes = Processes::of(harness, cores);
    let window = Window::measure(&load, &processes, options.duration).await?;
    let work_after = WorkSample::take(harness).await;
    let end = load.stop().await;

    let broadcasts = f64::from(options.broadcasts.max(1));
    let work = work_before.zip(work_after);
    let sync_medians = end.streams.iter().filter_map(|s| Some(s.sync_ms?.median));
    let connects_ms = end.publishers.iter().filter_map(|p| p.connect_ms);
    Ok(LiveReport {
        broadcasts: options.broadcasts,
        destinations: mix.destinations_max(),
        seconds: window.seconds,
        video_kbps: window.publisher_kbps,
        frames_sent: end.frames_sent,
        frames_lost: end.frames_lost,
        engine_cpu_percent_per_broadcast: window.media_cpu_percent / broadcasts,
        control_cpu_percent: window.others_cpu_percent,
        generator_cpu_percent: window.generator.cpu_percent,
        engine_mb_per_broadcast: (window.media_mb - idle_mb) / broadcasts,
        engine_mb_grown: window.media_mb_grown,
        delay_ms: window.delay_ms,
        delay_by_ingest: window.delay_by_ingest,
        keyframe_interval_ms: widest(&end.streams),
        sync_ms: Spread::of(sync_medians.collect()),
        connect_ms: Percentiles::of(connects_ms.collect()),
        frames_sent_late: end.publishers.iter().map(|p| p.frames_late).sum(),
        work_per_second: work.map(|(before, after)| after.since(&before, broadcasts)),
        hls: window.hls,
        recorded_mb: mb(end.recorded_bytes),
        faults: end.faults,
    })
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / (1_024.0 * 1_024.0)
}

/// The longest keyframe distance of each stream.
fn widest(streams: &[ConnectionReport]) -> Option<Spread> {
    let max = |stream: &ConnectionReport| Some(stream.keyframe_interval_ms?.max);
    Spread::of(streams.iter().filter_map(max).collect())
}

/// Time until a destination can show the broadcast.
#[derive(Clone, Debug, Serialize)]
pub struct FirstFrameReport {
    /// Milliseconds from the first media packet sent to a decodable video frame and an audio frame
    /// received, in each run.
    pub runs_ms: Vec<f64>,
    /// Percentiles of `runs_ms`.
    pub first_frame_ms: Option<Percentiles>,
    /// Milliseconds from `publish` to the first media packet.
    pub connect_ms: Option<Percentiles>,
}

/// Publishes `runs` times, one after the other, to a destination that was added before.
///
/// # Errors
/// When a run does not start.
pub async fn first_frame(
    harness: &Harness,
    clip: &Arc<TestClip>,
    runs: u32,
) -> Result<FirstFrameReport, BenchError> {
    let sink = Sink::start()?;
    let (mut runs_ms, mut connects_ms) = (Vec::new(), Vec::new());
    for run in 0..runs {
        let (stream_id, key) = (format!("first{run}"), format!("run{run}"));
        harness.create(&stream_id).await?;
        harness.add(&stream_id, &sink.url(&key)).await?;
        let options = PublisherOptions::new(harness.signalling(), stream_id);
        let publisher = Publisher::start(Arc::clone(clip), options);
        publisher.published(START_TIME_LIMIT).await?;
        let shown = |stream: &ConnectionReport| {
            stream.first_video_us.is_some() && stream.first_audio_us.is_some()
        };
        let stream = sink
            .wait(&key, "video and audio", START_TIME_LIMIT, shown)
            .await?;
        let report = publisher.stop().await;
        let shown_us = stream
            .first_video_us
            .max(stream.first_audio_us)
            .unwrap_or_default();
        let sent_us = report.first_media_us.unwrap_or_default();
        runs_ms.push(shown_us.saturating_sub(sent_us) as f64 / 1_000.0);
        connects_ms.extend(report.connect_ms);
    }
    Ok(FirstFrameReport {
        first_frame_ms: Percentiles::of(runs_ms.clone()),
        runs_ms,
        connect_ms: Percentiles::of(connects_ms),
    })
}
