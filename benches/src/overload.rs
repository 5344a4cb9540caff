//! More renditions than the machine holds: what is let in, what is refused in which words, and what
//! becomes of those that run and of broadcasts that are passed on.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use shardcast_link::{CodecStatus, RenditionSpec, RenditionStatus};
use tokio::time::sleep;

use crate::BenchError;
use crate::clip::Clip;
use crate::harness::Harness;
use crate::publisher::{Publisher, PublisherOptions};
use crate::reencode::is_throttled;
use crate::sink::Sink;
use crate::witness::{Witness, WitnessReport};

const START_PATIENCE: Duration = Duration::from_secs(60);
/// Rate control and governor come into their stride.
const SETTLE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_secs(1);
const STREAM_ID: &str = "overload";
/// Words in the log lines with which the engine tells of the governor's steps.
const GOVERNOR_WORDS: [&str; 2] = ["codecs cannot keep up", "codecs keep up"];

/// How much too much.
#[derive(Clone, Debug)]
pub struct OverloadOptions {
    pub source: Arc<Clip>,
    pub passed: Arc<Clip>,
    /// Broadcasts that are passed on.
    pub witnesses: u32,
    /// What is asked for again and again, each time with a bit a second more.
    pub spec: RenditionSpec,
    /// How often.
    pub asked: u32,
    pub duration: Duration,
}

/// One rendition that was let in.
#[derive(Clone, Debug, Serialize)]
pub struct AdmittedReport {
    pub video_bps: u32,
    /// Pictures a second that its destination received over the measurement.
    pub received_fps: Option<f64>,
    pub wanted_fps: u32,
    /// In force when it ended.
    pub preset: shardcast_link::Preset,
    pub frames_per_second: u32,
    /// Left out because encoding was late.
    pub dropped: u64,
    /// Why it is not made although it was let in.
    pub problem: Option<String>,
}

/// What happened.
#[derive(Clone, Debug, Serialize)]
pub struct OverloadReport {
    pub asked: u32,
    pub admitted: Vec<AdmittedReport>,
    /// Different words with which the others were refused, and how often.
    pub refusals: Vec<(String, u32)>,
    pub codec: CodecStatus,
    /// Looks, once a second, at which a preset or frame rate was below what was asked for.
    pub throttled_looks: u32,
    pub looks: u32,
    /// Steps of the governor that the engine logged.
    pub governor_steps: Vec<String>,
    pub witnesses: Vec<WitnessReport>,
}

/// Asks for too much, and watches.
///
/// # Errors
/// When something does not start.
pub async fn overload(
    harness: &Harness,
    options: &OverloadOptions,
) -> Result<OverloadReport, BenchError> {
    let mut witnesses = Vec::new();
    for number in 0..options.witnesses {
        let stream_id = format!("passed{number}");
        witnesses.push(Witness::start(harness, &options.passed, &stream_id).await?);
    }
    let sink = Sink::start()?;
    let publisher = publish(harness, &options.source).await?;
    let (mut admitted, mut refusals) = (Vec::new(), Vec::new());
    for number in 0..options.asked {
        let spec = RenditionSpec {
            video_bps: options.spec.video_bps + number,
            ..options.spec
        };
        let key = key(number);
        match harness
            .add_rendition(STREAM_ID, &sink.url(&key), &spec)
            .await
        {
            Ok(_) => admitted.push((key, spec)),
            Err(BenchError::Refused { answer, .. }) => refusals.push(answer),
            Err(error) => return Err(error),
        }
    }
    sleep(SETTLE).await;
    for witness in &mut witnesses {
        witness.mark();
    }
    let settled: Vec<usize> = admitted
        .iter()
        .map(|(key, _)| sink.log(key).frames().len())
        .collect();
    let watched = watch(harness, options.duration).await?;
    let admitted = admitted.iter().zip(settled).map(|((key, spec), before)| {
        let received = sink.log(key).frames().len().saturating_sub(before);
        let status = watched.last.iter().find(|status| status.spec == *spec);
        admitted_report(spec, received as f64 / watched.seconds, status)
    });
    let admitted = admitted.collect();
    let mut reports = Vec::new();
    for witness in witnesses {
        reports.push(witness.stop().await);
    }
    publisher.stop().await;
    Ok(OverloadReport {
        asked: options.asked,
        admitted,
        refusals: counted(refusals),
        codec: watched.codec,
        throttled_looks: watched.throttled,
        looks: watched.looks,
        governor_steps: governor_steps(&harness.log()),
        witnesses: reports,
    })
}

fn key(number: u32) -> String {
    format!("too-much{number}")
}

async fn publish(harness: &Harness, clip: &Arc<Clip>) -> Result<Publisher, BenchError> {
    harness.create(STREAM_ID).await?;
    let options = PublisherOptions::new(harness.signalling(), STREAM_ID);
    let publisher = Publisher::start(Arc::clone(clip), options);
    publisher.published(START_PATIENCE).await?;
    // Admission goes by what the shard has said of the publisher and of its budget.
    harness
        .wait_status("publisher and budget", START_PATIENCE, |status| {
            let broadcast = status.broadcast(STREAM_ID);
            let publisher = broadcast.and_then(|broadcast| broadcast.publisher.as_ref());
            let video = publisher.and_then(|publisher| publisher.video.as_ref());
            video.is_some_and(|video| video.width > 0) && status.codec().decode_720p_us > 0
        })
        .await?;
    Ok(publisher)
}

struct Watched {
    seconds: f64,
    looks: u32,
    throttled: u32,
    codec: CodecStatus,
    last: Vec<RenditionStatus>,
}

async fn watch(harness: &Harness, duration: Duration) -> Result<Watched, BenchError> {
    let start = Instant::now();
    let (mut looks, mut throttled) = (0, 0);
    loop {
        sleep(LOOK.min(duration)).await;
        let status = harness.status().await?;
        let renditions = status.renditions(STREAM_ID);
        looks += 1;
        throttled += u32::from(renditions.iter().any(is_throttled));
        if start.elapsed() >= duration {
            return Ok(Watched {
                seconds: start.elapsed().as_secs_f64(),
                looks,
                throttled,
                codec: status.codec(),
                last: renditions.to_vec(),
            });
        }
    }
}

fn admitted_report(
    spec: &RenditionSpec,
    received_fps: f64,
    status: Option<&RenditionStatus>,
) -> AdmittedReport {
    AdmittedReport {
        video_bps: spec.video_bps,
        received_fps: Some(received_fps).filter(|fps| *fps > 0.0),
        wanted_fps: spec.frames_per_second,
        preset: status.map_or(spec.preset, |status| status.preset),
        frames_per_second: status.map_or(0, |status| status.frames_per_second),
        dropped: status.map_or(0, |status| status.dropped),
        problem: match status {
            Some(status) => status.problem.clone(),
            None => Some("the shard knows nothing of it".to_owned()),
        },
    }
}

fn counted(words: Vec<String>) -> Vec<(String, u32)> {
    let mut counted: Vec<(String, u32)> = Vec::new();
    for words in words {
        match counted.iter_mut().find(|(known, _)| *known == words) {
            Some((_, count)) => *count += 1,
            None => counted.push((words, 1)),
        }
    }
    counted
}

/// The messages of those lines of a JSON log, without what is around them.
fn governor_steps(log: &str) -> Vec<String> {
    let message = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        let message = line.get("message")?.as_str()?;
        let is_step = GOVERNOR_WORDS.iter().any(|words| message.contains(words));
        is_step.then(|| message.to_owned())
    };
    log.lines().filter_map(message).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_the_governor_are_found_in_a_log() {
        let log = r#"{"level":"WARN","message":"codecs cannot keep up: presets are 1 …"}
no JSON
{"level":"INFO","message":"something else"}"#;
        assert_eq!(
            governor_steps(log),
            ["codecs cannot keep up: presets are 1 …"]
        );
    }
}
