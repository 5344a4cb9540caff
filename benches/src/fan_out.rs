//! Measures one broadcast to many destinations, some of them faulty: the loss of the healthy ones, and
//! the cost of each.
//!
//! The engine is measured several times in the same run: with one destination, and with each larger
//! number. The difference to one destination is the cost of the added destinations.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::time::sleep;

use crate::BenchError;
use crate::harness::{Harness, Usage, usage};
use crate::publisher::{Publisher, PublisherOptions};
use crate::sink::{ConnectionFaults, ConnectionReport, Sink, SinkOptions};
use crate::stats::Percentiles;
use crate::test_clip::TestClip;

/// Longest wait for the first frame of a destination, on a busy machine.
const START_TIME_LIMIT: Duration = Duration::from_secs(60);
/// Time between start and measurement: the first seconds of codecs and caches are not typical.
const SETTLE: Duration = Duration::from_secs(3);
const STREAM_ID: &str = "fan-out";

/// The faults of the faulty destinations in the order of their creation, as `--fault` takes them.
pub const FAULTS: [&str; 8] = [
    "reset-after=60f",
    "stop-reading-after=1s",
    "slow=4000",
    "reject",
    "garbage-after-handshake",
    "silent",
    "close-on-publish",
    "restart-after=2s/1s",
];

/// Numbers of destinations and length of the measurements.
#[derive(Clone, Debug)]
pub struct FanOutOptions {
    /// Numbers of destinations at which the engine is measured, ascending, the faulty ones included.
    pub sizes: Vec<u32>,
    /// How many of them are faulty; each one has the next fault of [`FAULTS`].
    pub faulty: u32,
    /// Length of each measurement.
    pub duration: Duration,
}

/// Cost of one number of destinations.
#[derive(Clone, Debug, Serialize)]
pub struct FanOutStage {
    /// All destinations, the faulty ones included.
    pub destinations: u32,
    /// CPU time of the engine, in percent of a core.
    pub engine_cpu_percent: f64,
    /// CPU time of the engine for each destination beyond the first, in percent of a core.
    pub engine_cpu_percent_per_added: f64,
    /// Resident memory of the engine for each destination beyond the first, in MB.
    pub engine_mb_per_added: f64,
    /// Milliseconds from the publisher's send call to a healthy destination's read call.
    pub delay_ms: Option<Percentiles>,
}

/// Loss and cost of the destinations.
#[derive(Clone, Debug, Serialize)]
pub struct FanOutReport {
    /// All destinations, the faulty ones included.
    pub destinations: u32,
    /// One entry for each faulty destination.
    pub faulty: Vec<FaultyReport>,
    /// Video frames that the publisher sent.
    pub frames_sent: u64,
    /// Frames that a healthy destination did not receive although another one did, from its first
    /// frame on; all healthy destinations together.
    pub frames_lost: u64,
    /// Frames that no destination received: they were lost on the way from the publisher.
    pub frames_missing_everywhere: u64,
    /// All other defects at the healthy destinations, as text.
    pub faults: Vec<String>,
    /// The measurements, in their order; the first one has one destination.
    pub stages: Vec<FanOutStage>,
    /// CPU time of the publisher and sinks of this process with all destinations, in percent of a
    /// core.
    pub generator_cpu_percent: f64,
    /// Bytes that the publisher sent, in kbit/s.
    pub video_kbps: f64,
    /// Frames that the generator sent more than 50 ms late: above 0, the generator itself delayed
    /// frames, and the delays are not valid.
    pub frames_sent_late: u64,
}

/// The state of a faulty destination at the end.
#[derive(Clone, Debug, Serialize)]
pub struct FaultyReport {
    /// The fault, as `--fault` takes it.
    pub fault: String,
    /// Connections that the engine made to it.
    pub connections: usize,
    /// Largest number of its connections that were open at the same time; 1 is expected.
    pub at_once_max: usize,
    /// The last problem in its status.
    pub problem: String,
}

struct Faulty {
    fault: &'static str,
    sink: Sink,
    endpoint: String,
}

/// Publishes one broadcast to all destinations and measures it.
///
/// # Errors
/// When something does not start, or no destination is healthy.
pub async fn fan_out(
    harness: &Harness,
    clip: &Arc<TestClip>,
    options: &FanOutOptions,
) -> Result<FanOutReport, BenchError> {
    let sizes = checked(options)?;
    let sink = Sink::start()?;
    harness.create(STREAM_ID).await?;
    harness.add(STREAM_ID, &sink.url(&key(0))).await?;
    let publisher = PublisherOptions::new(harness.signalling(), STREAM_ID);
    let publisher = Publisher::start(Arc::clone(clip), publisher);
    sink.frames(&key(0), 1, START_TIME_LIMIT).await?;
    let mut last = Window::measure(harness, &publisher, &sink, options.duration).await?;
    let mut stages = vec![last.stage(1, &last)];
    let one = last.clone();

    let (mut healthy, mut faulty) = (1, Vec::new());
    for size in sizes {
        if faulty.is_empty() {
            faulty = add_faulty(harness, options.faulty).await?;
        }
        let wanted = size.saturating_sub(options.faulty);
        for number in healthy..wanted {
            harness.add(STREAM_ID, &sink.url(&key(number))).await?;
        }
        for number in healthy..wanted {
            sink.frames(&key(number), 1, START_TIME_LIMIT).await?;
        }
        healthy = wanted;
        last = Window::measure(harness, &publisher, &sink, options.duration).await?;
        stages.push(last.stage(size, &one));
    }

    let faulty = reports(harness, faulty).await?;
    let sent = publisher.stop().await;
    let streams = ends(&sink, healthy).await;
    let (frames_lost, frames_missing_everywhere) = frames_lost(&streams);
    Ok(FanOutReport {
        destinations: stages.last().map_or(1, |stage| stage.destinations),
        faulty,
        frames_sent: sent.frames_sent,
        frames_lost,
        frames_missing_everywhere,
        faults: faults(&sink, &streams),
        stages,
        generator_cpu_percent: last.generator_cpu_percent,
        video_kbps: last.video_kbps,
        frames_sent_late: sent.frames_late,
    })
}

/// The numbers of destinations, which have to ascend, and each to leave a healthy one.
fn checked(options: &FanOutOptions) -> Result<Vec<u32>, BenchError> {
    let mut sizes = options.sizes.clone();
    sizes.sort_unstable();
    sizes.dedup();
    if sizes.first().is_none_or(|size| *size <= options.faulty) {
        let text = "at least one destination must not be faulty";
        return Err(BenchError::Argument(text.to_owned()));
    }
    sizes.retain(|size| *size > 1);
    Ok(sizes)
}

fn key(number: u32) -> String {
    format!("healthy{number}")
}

/// Adds the faulty destinations. Each has its own sink, because a fault script counts connections.
async fn add_faulty(harness: &Harness, count: u32) -> Result<Vec<Faulty>, BenchError> {
    let mut all = Vec::new();
    for (fault, _) in FAULTS.into_iter().cycle().zip(0..count) {
        let faults: ConnectionFaults = fault.parse()?;
        let sink = Sink::with(SinkOptions::with(faults))?;
        let endpoint = harness.add(STREAM_ID, &sink.url("faulty")).await?;
        all.push(Faulty {
            fault,
            sink,
            endpoint,
        });
    }
    Ok(all)
}

async fn reports(harness: &Harness, all: Vec<Faulty>) -> Result<Vec<FaultyReport>, BenchError> {
    let mut reports = Vec::new();
    for faulty in all {
        // Some faults are detected late: a server that stops reading, after 10 s.
        let deadline = Instant::now() + START_TIME_LIMIT;
        let problem = loop {
            let problem = harness.problem(STREAM_ID, &faulty.endpoint).await?;
            if !problem.is_empty() || Instant::now() >= deadline {
                break problem;
            }
            sleep(Duration::from_millis(200)).await;
        };
        reports.push(FaultyReport {
            fault: faulty.fault.to_owned(),
            connections: faulty.sink.connections().len(),
            at_once_max: faulty.sink.at_once_max(),
            problem,
        });
    }
    Ok(reports)
}

/// What was used during one measurement.
#[derive(Clone)]
struct Window {
    engine_cpu_percent: f64,
    generator_cpu_percent: f64,
    engine_mb: f64,
    video_kbps: f64,
    delay_ms: Option<Percentiles>,
}

impl Window {
    async fn measure(
        harness: &Harness,
        publisher: &Publisher,
        sink: &Sink,
        duration: Duration,
    ) -> Result<Self, BenchError> {
        sleep(SETTLE).await;
        sink.forget_delays();
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        let (start, start_bytes) = (Instant::now(), publisher.report().media_bytes_sent);
        let before = [usage(harness.engine_pid())?, usage(own)?];
        sleep(duration).await;
        let after = [usage(harness.engine_pid())?, usage(own)?];
        let seconds = start.elapsed().as_secs_f64();
        let percent = |from: Usage, to: Usage| {
            to.cpu.saturating_sub(from.cpu).as_secs_f64() / seconds * 100.0
        };
        let sent_bytes = publisher.report().media_bytes_sent - start_bytes;
        let [engine, generator] = after;
        let [engine_before, generator_before] = before;
        Ok(Self {
            engine_cpu_percent: percent(engine_before, engine),
            generator_cpu_percent: percent(generator_before, generator),
            engine_mb: engine.resident_bytes as f64 / (1_024.0 * 1_024.0),
            video_kbps: sent_bytes as f64 * 8.0 / 1_000.0 / seconds,
            delay_ms: sink.delay_ms(),
        })
    }

    /// The cost of `destinations`, compared with one.
    fn stage(&self, destinations: u32, one: &Self) -> FanOutStage {
        let added = f64::from(destinations.saturating_sub(1).max(1));
        FanOutStage {
            destinations,
            engine_cpu_percent: self.engine_cpu_percent,
            engine_cpu_percent_per_added: (self.engine_cpu_percent - one.engine_cpu_percent)
                / added,
            engine_mb_per_added: (self.engine_mb - one.engine_mb) / added,
            delay_ms: self.delay_ms,
        }
    }
}

/// Waits for the ends of all healthy streams, and returns the newest connection of each.
async fn ends(sink: &Sink, healthy: u32) -> Vec<ConnectionReport> {
    let mut streams = Vec::new();
    for number in 0..healthy {
        let key = key(number);
        let ended = |stream: &ConnectionReport| stream.ended.is_some();
        // A stream that does not end in time is reported as it is.
        let stream = sink.wait(&key, "end", START_TIME_LIMIT, ended).await;
        streams.extend(stream.ok().or_else(|| sink.stream(&key)));
    }
    streams
}

/// Compares the frames of the destinations: those that one lacks and another has, and those that all
/// lack.
fn frames_lost(streams: &[ConnectionReport]) -> (u64, u64) {
    let newest = streams.iter().filter_map(|s| s.last_stamp).max();
    let newest = newest.unwrap_or_default();
    let all: Vec<BTreeSet<u32>> = streams.iter().map(|s| lacking(s, newest)).collect();
    // Only the first gaps of a stream have frame numbers; the frames of further gaps count as lost.
    let mut lost: u64 = streams.iter().map(unexplained).sum();
    let mut everywhere = BTreeSet::new();
    for frame in all.iter().flatten() {
        let has = |(stream, lacks): (&ConnectionReport, &BTreeSet<u32>)| {
            stream.first_stamp.is_some_and(|first| first <= *frame) && !lacks.contains(frame)
        };
        if streams.iter().zip(&all).any(has) {
            lost += 1;
        } else {
            everywhere.insert(*frame);
        }
    }
    (lost, everywhere.len() as u64)
}

/// Numbers of the frames up to `newest` that the stream has not received.
fn lacking(stream: &ConnectionReport, newest: u32) -> BTreeSet<u32> {
    let inside = stream
        .gaps
        .iter()
        .flat_map(|(before, behind)| before + 1..*behind);
    let end = stream.last_stamp.unwrap_or_default();
    inside.chain(end + 1..newest + 1).collect()
}

/// Missing frames outside of the recorded gaps.
fn unexplained(stream: &ConnectionReport) -> u64 {
    let recorded: u64 = stream
        .gaps
        .iter()
        .map(|(before, behind)| u64::from(behind - before - 1))
        .sum();
    stream.frames_missing.saturating_sub(recorded)
}

fn faults(sink: &Sink, streams: &[ConnectionReport]) -> Vec<String> {
    let mut faults = Vec::new();
    for stream in streams {
        let key = &stream.stream_key;
        faults.extend(
            stream
                .faults()
                .iter()
                .map(|fault| format!("{key}: {fault}")),
        );
        if !stream.ended_cleanly() {
            faults.push(format!("{key}: ended by {:?}", stream.ended));
        }
        let connections = sink.streams(key).len();
        if connections != 1 {
            faults.push(format!("{key}: {connections} connections"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(first: u32, last: u32, gaps: &[(u32, u32)]) -> ConnectionReport {
        let missing = gaps.iter().map(|(a, b)| u64::from(b - a - 1)).sum();
        ConnectionReport {
            first_stamp: Some(first),
            last_stamp: Some(last),
            gaps: gaps.to_vec(),
            frames_missing: missing,
            ..ConnectionReport::default()
        }
    }

    #[test]
    fn a_frame_is_lost_when_another_destination_has_it() {
        let streams = [stream(0, 100, &[]), stream(30, 100, &[])];
        assert_eq!(frames_lost(&streams), (0, 0));
        let streams = [stream(0, 100, &[(50, 53)]), stream(30, 97, &[(50, 52)])];
        assert_eq!(
            frames_lost(&streams),
            (1 + 3, 1),
            "52 and 98 to 100; nobody has 51"
        );
        let streams = [stream(0, 100, &[(10, 12)]), stream(30, 100, &[])];
        assert_eq!(
            frames_lost(&streams),
            (0, 1),
            "the second was not there yet"
        );
    }

    #[test]
    fn every_fault_can_be_parsed() {
        for fault in FAULTS {
            assert!(fault.parse::<ConnectionFaults>().is_ok(), "{fault}");
        }
    }
}
