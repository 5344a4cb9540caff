//! Measurements of a whole Shardcast: many broadcasts at once, and the first frame.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::time::sleep;

use crate::BenchError;
use crate::clip::Clip;
use crate::harness::{Harness, usage};
use crate::publisher::{Pace, Publisher, PublisherOptions, PublisherReport};
use crate::sink::{ConnectionReport, Sink};
use crate::stats::{Percentiles, Spread};

/// Until everything flows.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// Between start and measurement: the first seconds of codecs and caches are not typical.
const SETTLE: Duration = Duration::from_secs(3);

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub struct LiveOptions {
    pub broadcasts: u32,
    pub destinations: u32,
    pub duration: Duration,
    pub audio: bool,
    pub pace: Pace,
}

/// What many broadcasts at once cost.
#[derive(Clone, Debug, Serialize)]
pub struct LiveReport {
    pub broadcasts: u32,
    pub destinations: u32,
    pub seconds: f64,
    pub video_kbps: f64,
    pub frames_sent: u64,
    /// Frames that a destination should have got and did not, all destinations together.
    pub frames_lost: u64,
    /// Everything else that was wrong at a destination, in words.
    pub faults: Vec<String>,
    /// Of one core, per broadcast with all its destinations.
    pub engine_cpu_percent_per_broadcast: f64,
    pub control_cpu_percent: f64,
    /// Of one core: publishers and sinks of this process.
    pub generator_cpu_percent: f64,
    /// Resident memory of the engine above that without broadcasts.
    pub engine_mb_per_broadcast: f64,
    /// The same, grown during the measurement.
    pub engine_mb_grown: f64,
    /// From the publisher's send call to the destination's read call.
    pub delay_ms: Option<Percentiles>,
    pub keyframe_interval_ms: Option<Spread>,
    /// Medians of the destinations.
    pub sync_ms: Option<Spread>,
    pub connect_ms: Option<Percentiles>,
    /// Frames that left the generator more than 50 ms late: above 0, the generator was too slow for
    /// the delays to be believed.
    pub frames_sent_late: u64,
}

/// Publishes `broadcasts` at once to `destinations` each, and measures.
///
/// # Errors
/// When something does not start.
pub async fn live(
    harness: &Harness,
    clip: &Arc<Clip>,
    options: &LiveOptions,
) -> Result<LiveReport, BenchError> {
    let sink = Sink::start()?;
    let (engine, control) = (harness.engine_pid(), harness.control_pid());
    let idle = usage(engine)?;
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
        // Frames of different browsers do not come at the same instant.
        sleep(Duration::from_millis(37)).await;
    }
    for publisher in &publishers {
        publisher.published(START_PATIENCE).await?;
    }
    for number in 0..options.broadcasts {
        for destination in 0..options.destinations {
            sink.frames(&key(number, destination), 1, START_PATIENCE)
                .await?;
        }
    }
    sleep(SETTLE).await;

    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let before = [usage(engine)?, usage(control)?, usage(own)?];
    let (start, start_bytes) = (Instant::now(), video_bytes(&publishers));
    sleep(options.duration).await;
    let seconds = start.elapsed().as_secs_f64();
    let sent_bytes = video_bytes(&publishers) - start_bytes;
    let after = [usage(engine)?, usage(control)?, usage(own)?];

    let mut reports = Vec::new();
    for publisher in publishers {
        reports.push(publisher.stop().await);
    }
    let streams = ends(&sink, options).await;
    let cpu_percent = |n: usize| {
        let cpu = |usages: &[crate::harness::Usage; 3]| usages.get(n).map(|u| u.cpu);
        let used = cpu(&after)
            .unwrap_or_default()
            .saturating_sub(cpu(&before).unwrap_or_default());
        used.as_secs_f64() / seconds * 100.0
    };
    let broadcasts = f64::from(options.broadcasts.max(1));
    let [engine_before, ..] = before;
    let [engine_after, ..] = after;
    Ok(LiveReport {
        broadcasts: options.broadcasts,
        destinations: options.destinations,
        seconds,
        video_kbps: sent_bytes as f64 * 8.0 / 1_000.0 / seconds / broadcasts,
        frames_sent: reports.iter().map(|report| report.frames_sent).sum(),
        frames_lost: frames_lost(&streams, &reports, options),
        faults: faults(&streams),
        engine_cpu_percent_per_broadcast: cpu_percent(0) / broadcasts,
        control_cpu_percent: cpu_percent(1),
        generator_cpu_percent: cpu_percent(2),
        engine_mb_per_broadcast: mb(engine_after.resident_bytes, idle.resident_bytes) / broadcasts,
        engine_mb_grown: mb(engine_after.resident_bytes, engine_before.resident_bytes),
        delay_ms: sink.delay_ms(),
        keyframe_interval_ms: widest(&streams),
        sync_ms: Spread::of(
            streams
                .iter()
                .filter_map(|s| Some(s.sync_ms?.median))
                .collect(),
        ),
        connect_ms: Percentiles::of(reports.iter().filter_map(|r| r.connect_ms).collect()),
        frames_sent_late: reports.iter().map(|report| report.frames_late).sum(),
    })
}

fn key(broadcast: u32, destination: u32) -> String {
    format!("b{broadcast}-d{destination}")
}

fn video_bytes(publishers: &[Publisher]) -> u64 {
    publishers
        .iter()
        .map(|publisher| publisher.report().media_bytes_sent)
        .sum()
}

fn mb(more: u64, less: u64) -> f64 {
    (more as f64 - less as f64) / (1_024.0 * 1_024.0)
}

/// Waits for the ends of all streams, and gives what they were.
async fn ends(sink: &Sink, options: &LiveOptions) -> Vec<ConnectionReport> {
    for broadcast in 0..options.broadcasts {
        for destination in 0..options.destinations {
            let key = key(broadcast, destination);
            // One that does not end in time is reported as it is.
            let _ = sink
                .wait(&key, "end", START_PATIENCE, |s| s.ended.is_some())
                .await;
        }
    }
    sink.connections()
}

/// Missing numbers inside of streams, and frames sent after the last one that came.
fn frames_lost(
    streams: &[ConnectionReport],
    reports: &[PublisherReport],
    options: &LiveOptions,
) -> u64 {
    let inside: u64 = streams.iter().map(|stream| stream.frames_missing).sum();
    let mut behind = 0;
    for (broadcast, report) in (0..).zip(reports) {
        for destination in 0..options.destinations {
            let key = key(broadcast, destination);
            let stream = streams.iter().rev().find(|stream| stream.stream_key == key);
            let last = stream
                .and_then(|stream| stream.last_mark)
                .map_or(0, |mark| mark + 1);
            behind += report.frames_sent.saturating_sub(u64::from(last));
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

fn widest(streams: &[ConnectionReport]) -> Option<Spread> {
    let max = |stream: &ConnectionReport| Some(stream.keyframe_interval_ms?.max);
    Spread::of(streams.iter().filter_map(max).collect())
}

/// How long until a destination can show something.
#[derive(Clone, Debug, Serialize)]
pub struct FirstFrameReport {
    /// From the first media packet sent to a decodable picture and a sound received, in each run.
    pub runs_ms: Vec<f64>,
    pub first_frame_ms: Option<Percentiles>,
    /// From `publish` to the first media packet.
    pub connect_ms: Option<Percentiles>,
}

/// Goes live `runs` times, one after the other, each with a destination that waits already.
///
/// # Errors
/// When a run does not start.
pub async fn first_frame(
    harness: &Harness,
    clip: &Arc<Clip>,
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
        publisher.published(START_PATIENCE).await?;
        let shown = |stream: &ConnectionReport| {
            stream.first_video_us.is_some() && stream.first_audio_us.is_some()
        };
        let stream = sink
            .wait(&key, "picture and sound", START_PATIENCE, shown)
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
