//! Measures Shardcast with many broadcasts at once, and the time to the first frame.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::time::sleep;

use crate::BenchError;
use crate::harness::{CorePlan, Harness, HarnessOptions, Pinned, Usage, usage};
use crate::publisher::{Pace, Publisher, PublisherOptions};
use crate::sink::{ConnectionReport, Sink};
use crate::stats::{Percentiles, Spread};
use crate::test_clip::TestClip;
use crate::work::{WorkRates, WorkSample};

/// Longest wait for the first frame of a destination and for the end of a stream.
const START_TIME_LIMIT: Duration = Duration::from_secs(30);
/// Time between start and measurement: the first seconds of codecs and caches are not typical.
const SETTLE: Duration = Duration::from_secs(3);

/// Time in which each frame has to arrive before the publishers stop.
const ARRIVAL: Duration = Duration::from_millis(300);

/// Size and length of the load.
#[derive(Clone, Copy, Debug)]
pub struct LiveOptions {
    /// Broadcasts at the same time.
    pub broadcasts: u32,
    /// RTMP destinations of each broadcast.
    pub destinations: u32,
    /// Length of the measurement.
    pub duration: Duration,
    /// The publishers send audio.
    pub audio: bool,
    /// Frame spacing of the publishers.
    pub pace: Pace,
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
    /// RTMP destinations of each broadcast.
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
    /// Longest distance of neighbouring keyframes of each destination.
    pub keyframe_interval_ms: Option<Spread>,
    /// Audio minus video in milliseconds: the medians of the destinations.
    pub sync_ms: Option<Spread>,
    /// From the first `publish` to ICE and DTLS being up, of each publisher.
    pub connect_ms: Option<Percentiles>,
    /// Frames that the generator sent more than 50 ms late: above 0, the generator itself delayed
    /// frames, and the delays are not valid.
    pub frames_sent_late: u64,
    /// What the shards' work consisted of; `None` of a server that does not count it.
    pub work_per_second: Option<WorkRates>,
}

/// Publishes all broadcasts at once and measures them.
///
/// # Errors
/// When something does not start.
pub async fn live(
    harness: &Harness,
    clip: &Arc<TestClip>,
    options: &LiveOptions,
) -> Result<LiveReport, BenchError> {
    let sink = Sink::start()?;
    let idle = usage(harness.engine_pid())?;
    let publishers = start_broadcasts(harness, clip, options, &sink).await?;
    sleep(SETTLE).await;
    let window = Window::measure(harness, &publishers, &sink, options.duration).await?;

    // A frame that leaves together with `stop` may come after it.
    let sent: Vec<u64> = publishers.iter().map(|p| p.report().frames_sent).collect();
    sleep(ARRIVAL).await;
    let mut reports = Vec::new();
    for publisher in publishers {
        reports.push(publisher.stop().await);
    }
    let streams = ends(&sink, options).await;
    let broadcasts = f64::from(options.broadcasts.max(1));
    let (engine_before, engine_after) = (window.before.engine, window.after.engine);
    let sync_medians = streams.iter().filter_map(|s| Some(s.sync_ms?.median));
    Ok(LiveReport {
        broadcasts: options.broadcasts,
        destinations: options.destinations,
        seconds: window.seconds,
        video_kbps: window.sent_bytes as f64 * 8.0 / 1_000.0 / window.seconds / broadcasts,
        frames_sent: reports.iter().map(|report| report.frames_sent).sum(),
        frames_lost: frames_lost(&streams, &sent, options),
        faults: faults(&streams),
        engine_cpu_percent_per_broadcast: window.cpu_percent(|all| all.engine) / broadcasts,
        control_cpu_percent: window.cpu_percent(|all| all.control),
        generator_cpu_percent: window.cpu_percent(|all| all.generator),
        engine_mb_per_broadcast: mb(engine_after.resident_bytes, idle.resident_bytes) / broadcasts,
        engine_mb_grown: mb(engine_after.resident_bytes, engine_before.resident_bytes),
        delay_ms: window.delay_ms,
        keyframe_interval_ms: widest(&streams),
        sync_ms: Spread::of(sync_medians.collect()),
        connect_ms: Percentiles::of(reports.iter().filter_map(|r| r.connect_ms).collect()),
        frames_sent_late: reports.iter().map(|report| report.frames_late).sum(),
        work_per_second: window.work,
    })
}

/// Starts all broadcasts, and waits until each destination has received a video frame.
async fn start_broadcasts(
    harness: &Harness,
    clip: &Arc<TestClip>,
    options: &LiveOptions,
    sink: &Sink,
) -> Result<Vec<Publisher>, BenchError> {
    let mut publishers = Vec::new();
    for number in 0..options.broadcasts {
        let stream_id = format!("live{number}");
        harness.create(&stream_id).await?;
        for destination in 0..options.destinations {
            harness
                .add(&stream_id, &sink.url(&key(number, destination)))
                .await?;
        }
        let publisher = PublisherOptions {
            number,
            audio: options.audio,
            pace: options.pace,
            ..PublisherOptions::new(harness.signalling(), stream_id)
        };
        publishers.push(Publisher::start(Arc::clone(clip), publisher));
        // Browsers do not send their frames at the same instant.
        sleep(Duration::from_millis(37)).await;
    }
    for publisher in &publishers {
        publisher.published(START_TIME_LIMIT).await?;
    }
    for number in 0..options.broadcasts {
        for destination in 0..options.destinations {
            sink.frames(&key(number, destination), 1, START_TIME_LIMIT)
                .await?;
        }
    }
    Ok(publishers)
}

/// CPU time and memory of all processes at one moment.
struct Usages {
    engine: Usage,
    control: Usage,
    generator: Usage,
}

impl Usages {
    fn now(harness: &Harness) -> Result<Self, BenchError> {
        Ok(Self {
            engine: usage(harness.engine_pid())?,
            control: usage(harness.control_pid())?,
            generator: usage(i32::try_from(std::process::id()).unwrap_or_default())?,
        })
    }
}

/// What was used and sent during the measurement.
struct Window {
    before: Usages,
    after: Usages,
    seconds: f64,
    /// Bytes of media that all publishers sent.
    sent_bytes: u64,
    delay_ms: Option<Percentiles>,
    work: Option<WorkRates>,
}

impl Window {
    async fn measure(
        harness: &Harness,
        publishers: &[Publisher],
        sink: &Sink,
        duration: Duration,
    ) -> Result<Self, BenchError> {
        let work_before = WorkSample::take(harness).await;
        sink.forget_delays();
        let before = Usages::now(harness)?;
        let (start, start_bytes) = (Instant::now(), media_bytes(publishers));
        sleep(duration).await;
        let seconds = start.elapsed().as_secs_f64();
        let after = Usages::now(harness)?;
        let sent_bytes = media_bytes(publishers) - start_bytes;
        let delay_ms = sink.delay_ms();
        let work_after = WorkSample::take(harness).await;
        let pair = work_before.as_ref().zip(work_after.as_ref());
        Ok(Self {
            before,
            after,
            seconds,
            sent_bytes,
            delay_ms,
            work: pair.map(|(before, after)| after.since(before, publishers.len() as f64)),
        })
    }

    /// CPU time of one process, in percent of a core.
    fn cpu_percent(&self, of: fn(&Usages) -> Usage) -> f64 {
        let used = of(&self.after).cpu.saturating_sub(of(&self.before).cpu);
        used.as_secs_f64() / self.seconds * 100.0
    }
}

fn key(broadcast: u32, destination: u32) -> String {
    format!("b{broadcast}-d{destination}")
}

fn media_bytes(publishers: &[Publisher]) -> u64 {
    publishers
        .iter()
        .map(|publisher| publisher.report().media_bytes_sent)
        .sum()
}

fn mb(more: u64, less: u64) -> f64 {
    (more as f64 - less as f64) / (1_024.0 * 1_024.0)
}

/// Waits for the ends of all streams, and returns the reports of all connections.
async fn ends(sink: &Sink, options: &LiveOptions) -> Vec<ConnectionReport> {
    for broadcast in 0..options.broadcasts {
        for destination in 0..options.destinations {
            let key = key(broadcast, destination);
            // A stream that does not end in time is reported as it is.
            let _ = sink
                .wait(&key, "end", START_TIME_LIMIT, |s| s.ended.is_some())
                .await;
        }
    }
    sink.connections()
}

/// Frame numbers missing inside the streams, and of the first `sent` frames of each broadcast those
/// behind the last one received.
fn frames_lost(streams: &[ConnectionReport], sent: &[u64], options: &LiveOptions) -> u64 {
    let inside: u64 = streams.iter().map(|stream| stream.frames_missing).sum();
    let mut behind = 0;
    for (broadcast, sent) in (0..).zip(sent) {
        for destination in 0..options.destinations {
            let key = key(broadcast, destination);
            let stream = streams.iter().rev().find(|stream| stream.stream_key == key);
            let last = stream
                .and_then(|stream| stream.last_stamp)
                .map_or(0, |stamp| stamp + 1);
            behind += sent.saturating_sub(u64::from(last));
        }
    }
    inside + behind
}

fn faults(streams: &[ConnectionReport]) -> Vec<String> {
    let mut faults = Vec::new();
    for stream in streams {
        for fault in stream.faults() {
            faults.push(format!("{}: {fault}", stream.stream_key));
        }
        if !stream.ended_cleanly() {
            faults.push(format!(
                "{}: ended by {:?}",
                stream.stream_key, stream.ended
            ));
        }
    }
    faults
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
