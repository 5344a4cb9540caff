//! Measurement of one broadcast to many destinations, some of which are faulty: what the others
//! lost, and what each costs.
//!
//! The engine is measured twice in the same run: with one destination, and with all. What lies
//! between is what the added ones cost.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::time::sleep;

use crate::BenchError;
use crate::clip::Clip;
use crate::harness::{Harness, Usage, usage};
use crate::publisher::{Publisher, PublisherOptions};
use crate::sink::{ConnectionReport, Manner, Sink, SinkOptions};
use crate::stats::Percentiles;

/// Until everything flows, on a machine that is busy.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Between start and measurement: the first seconds of codecs and caches are not typical.
const SETTLE: Duration = Duration::from_secs(3);
const STREAM_ID: &str = "fan-out";

/// What faulty destinations do, the first one the first of it, as `--fault` takes it.
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

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub struct FanOutOptions {
    /// All destinations, the faulty ones among them.
    pub destinations: u32,
    pub faulty: u32,
    /// Each of the two measurements takes so long.
    pub duration: Duration,
}

/// What was lost, and what it cost.
#[derive(Clone, Debug, Serialize)]
pub struct FanOutReport {
    pub destinations: u32,
    pub faulty: Vec<FaultyReport>,
    pub frames_sent: u64,
    /// Frames that an honest destination did not get while it was on air and another one did, all
    /// honest destinations together.
    pub frames_lost: u64,
    /// Frames that none has got, lost on the way from the publisher.
    pub frames_missing_everywhere: u64,
    /// Everything else that was wrong at an honest destination, in words.
    pub faults: Vec<String>,
    /// The engine with one destination, in percent of a core.
    pub engine_cpu_percent_of_one: f64,
    /// The same with all.
    pub engine_cpu_percent_of_all: f64,
    pub engine_cpu_percent_per_added: f64,
    /// Resident memory of the engine for each destination that was added.
    pub engine_mb_per_added: f64,
    /// Of one core: publisher and sinks of this process, with all destinations.
    pub generator_cpu_percent: f64,
    /// Of each destination, picture alone.
    pub video_kbps: f64,
    /// From the publisher's send call to an honest destination's read call.
    pub delay_ms: Option<Percentiles>,
    /// Frames that left the generator more than 50 ms late: above 0, it was too slow for the
    /// delays to be believed.
    pub frames_sent_late: u64,
}

/// What became of a faulty destination.
#[derive(Clone, Debug, Serialize)]
pub struct FaultyReport {
    pub fault: String,
    pub connections: usize,
    /// Open at the same time.
    pub at_once_max: usize,
    /// What its status says.
    pub problem: String,
}

struct Faulty {
    fault: &'static str,
    sink: Sink,
    endpoint: String,
}

/// Publishes once to many, and measures.
///
/// # Errors
/// When something does not start, or no destination is to be honest.
pub async fn fan_out(
    harness: &Harness,
    clip: &Arc<Clip>,
    options: &FanOutOptions,
) -> Result<FanOutReport, BenchError> {
    let honest = options.destinations.saturating_sub(options.faulty);
    if honest == 0 {
        let words = "at least one destination has to be honest";
        return Err(BenchError::Argument(words.to_owned()));
    }
    let sink = Sink::start()?;
    harness.create(STREAM_ID).await?;
    harness.add(STREAM_ID, &sink.url(&key(0))).await?;
    let publisher = PublisherOptions::new(harness.signalling(), STREAM_ID);
    let publisher = Publisher::start(Arc::clone(clip), publisher);
    sink.frames(&key(0), 1, START_PATIENCE).await?;
    let one = Window::measure(harness, &publisher, options.duration).await?;

    for number in 1..honest {
        harness.add(STREAM_ID, &sink.url(&key(number))).await?;
    }
    let faulty = add_faulty(harness, options.faulty).await?;
    for number in 1..honest {
        sink.frames(&key(number), 1, START_PATIENCE).await?;
    }
    let all = Window::measure(harness, &publisher, options.duration).await?;

    let faulty = reports(harness, faulty).await?;
    let sent = publisher.stop().await;
    let streams = ends(&sink, honest).await;
    let (frames_lost, frames_missing_everywhere) = frames_lost(&streams);
    let added = f64::from(options.destinations.saturating_sub(1).max(1));
    Ok(FanOutReport {
        destinations: options.destinations,
        faulty,
        frames_sent: sent.frames_sent,
        frames_lost,
        frames_missing_everywhere,
        faults: faults(&sink, &streams),
        engine_cpu_percent_of_one: one.engine_cpu_percent,
        engine_cpu_percent_of_all: all.engine_cpu_percent,
        engine_cpu_percent_per_added: (all.engine_cpu_percent - one.engine_cpu_percent) / added,
        engine_mb_per_added: (all.engine_mb - one.engine_mb) / added,
        generator_cpu_percent: all.generator_cpu_percent,
        video_kbps: all.video_kbps,
        delay_ms: sink.delay_ms(),
        frames_sent_late: sent.frames_late,
    })
}

fn key(number: u32) -> String {
    format!("honest{number}")
}

/// Each with a server of its own, since faults are told by connection.
async fn add_faulty(harness: &Harness, count: u32) -> Result<Vec<Faulty>, BenchError> {
    let mut all = Vec::new();
    for (fault, _) in FAULTS.into_iter().cycle().zip(0..count) {
        let manner: Manner = fault.parse()?;
        let sink = Sink::with(SinkOptions::with(manner))?;
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
        // Some faults are only told after a while: a server that reads no more, after 10 s.
        let deadline = Instant::now() + START_PATIENCE;
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
struct Window {
    engine_cpu_percent: f64,
    generator_cpu_percent: f64,
    engine_mb: f64,
    video_kbps: f64,
}

impl Window {
    async fn measure(
        harness: &Harness,
        publisher: &Publisher,
        duration: Duration,
    ) -> Result<Self, BenchError> {
        sleep(SETTLE).await;
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
        })
    }
}

/// Waits for the ends of all honest streams, and gives the newest of each.
async fn ends(sink: &Sink, honest: u32) -> Vec<ConnectionReport> {
    let mut streams = Vec::new();
    for number in 0..honest {
        let key = key(number);
        let ended = |stream: &ConnectionReport| stream.ended.is_some();
        // One that does not end in time is reported as it is.
        let stream = sink.wait(&key, "end", START_PATIENCE, ended).await;
        streams.extend(stream.ok().or_else(|| sink.stream(&key)));
    }
    streams
}

/// Compares what the destinations have got with each other: what one lacks and another has, and
/// what all lack.
fn frames_lost(streams: &[ConnectionReport]) -> (u64, u64) {
    let newest = streams.iter().filter_map(|s| s.last_mark).max();
    let newest = newest.unwrap_or_default();
    let all: Vec<BTreeSet<u32>> = streams.iter().map(|s| lacking(s, newest)).collect();
    // Only the first gaps of a stream are known by their numbers; more are its own loss.
    let mut lost: u64 = streams.iter().map(unexplained).sum();
    let mut everywhere = BTreeSet::new();
    for frame in all.iter().flatten() {
        let has = |(stream, lacks): (&ConnectionReport, &BTreeSet<u32>)| {
            stream.first_mark.is_some_and(|first| first <= *frame) && !lacks.contains(frame)
        };
        if streams.iter().zip(&all).any(has) {
            lost += 1;
        } else {
            everywhere.insert(*frame);
        }
    }
    (lost, everywhere.len() as u64)
}

/// Numbers of the frames between a stream's first one and `newest` that it has not got.
fn lacking(stream: &ConnectionReport, newest: u32) -> BTreeSet<u32> {
    let inside = stream
        .gaps
        .iter()
        .flat_map(|(before, behind)| before + 1..*behind);
    let end = stream.last_mark.unwrap_or_default();
    inside.chain(end + 1..newest + 1).collect()
}

fn unexplained(stream: &ConnectionReport) -> u64 {
    let told: u64 = stream
        .gaps
        .iter()
        .map(|(before, behind)| u64::from(behind - before - 1))
        .sum();
    stream.frames_missing.saturating_sub(told)
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
            first_mark: Some(first),
            last_mark: Some(last),
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
    fn every_fault_can_be_read() {
        for fault in FAULTS {
            assert!(fault.parse::<Manner>().is_ok(), "{fault}");
        }
    }
}
