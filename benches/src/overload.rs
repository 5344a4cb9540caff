//! Requests more renditions than the machine can make: which ones are admitted, the reasons of the
//! refusals, and the effect on admitted renditions and on passthrough broadcasts.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use shardcast_link::{CodecStatus, RenditionSpec, RenditionStatus};
use tokio::time::sleep;

use crate::BenchError;
use crate::harness::Harness;
use crate::passthrough_probe::{PassthroughProbe, PassthroughReport};
use crate::publisher::{Publisher, PublisherOptions};
use crate::reencode::is_throttled;
use crate::sink::Sink;
use crate::test_clip::TestClip;

const START_TIME_LIMIT: Duration = Duration::from_secs(60);
/// Time until rate control and governor are in their steady state.
const SETTLE: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_secs(1);
const STREAM_ID: &str = "overload";
/// Texts of the engine's log messages about steps of the governor.
const GOVERNOR_MESSAGES: [&str; 2] = ["codecs cannot keep up", "codecs keep up"];

/// Size of the overload.
#[derive(Clone, Debug)]
pub struct OverloadOptions {
    /// Test clip of the broadcast that is re-encoded.
    pub source: Arc<TestClip>,
    /// Test clip of the passthrough broadcasts.
    pub passed: Arc<TestClip>,
    /// Number of passthrough broadcasts.
    pub probes: u32,
    /// The rendition to request, each time with one more bit a second.
    pub spec: RenditionSpec,
    /// Number of requests.
    pub asked: u32,
    /// Length of the measurement.
    pub duration: Duration,
}

/// A rendition that was admitted.
#[derive(Clone, Debug, Serialize)]
pub struct AdmittedReport {
    /// Bit rate that was requested, in bits a second.
    pub video_bps: u32,
    /// Frame rate at its destination over the measurement; `None` when no frame was received.
    pub received_fps: Option<f64>,
    /// Frame rate that was requested.
    pub wanted_fps: u32,
    /// Preset in force at the end.
    pub preset: shardcast_link::Preset,
    /// Frame rate in force at the end; 0 when the shard reports no such rendition.
    pub frames_per_second: u32,
    /// Frames that were dropped because encoding was late.
    pub dropped: u64,
    /// Why it is not made although it was admitted.
    pub problem: Option<String>,
}

/// Results of the overload.
#[derive(Clone, Debug, Serialize)]
pub struct OverloadReport {
    /// Renditions that were requested.
    pub asked: u32,
    /// The renditions that were admitted, in the order of the requests.
    pub admitted: Vec<AdmittedReport>,
    /// The different reasons of the refusals, and how often each was given.
    pub refusals: Vec<(String, u32)>,
    /// Transcode capacity of the shard and its use, at the end.
    pub codec: CodecStatus,
    /// Samples in which a preset or frame rate was below the requested one.
    #[serde(rename = "throttled_looks")]
    pub throttled_samples: u32,
    /// Status reports that were read, one a second.
    #[serde(rename = "looks")]
    pub samples: u32,
    /// Log messages of the governor's steps.
    pub governor_steps: Vec<String>,
    /// One entry for each passthrough broadcast.
    #[serde(rename = "witnesses")]
    pub passthrough: Vec<PassthroughReport>,
}

/// Requests too many renditions and measures the result.
///
/// # Errors
/// When something does not start.
pub async fn overload(
    harness: &Harness,
    options: &OverloadOptions,
) -> Result<OverloadReport, BenchError> {
    let mut probes = Vec::new();
    for number in 0..options.probes {
        let stream_id = format!("passed{number}");
        probes.push(PassthroughProbe::start(harness, &options.passed, &stream_id).await?);
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
    for probe in &mut probes {
        probe.reset_delays();
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
    for probe in probes {
        reports.push(probe.stop().await);
    }
    publisher.stop().await;
    Ok(OverloadReport {
        asked: options.asked,
        admitted,
        refusals: counted(refusals),
        codec: watched.codec,
        throttled_samples: watched.throttled,
        samples: watched.samples,
        governor_steps: governor_steps(&harness.log()),
        passthrough: reports,
    })
}

fn key(number: u32) -> String {
    format!("too-much{number}")
}

async fn publish(harness: &Harness, clip: &Arc<TestClip>) -> Result<Publisher, BenchError> {
    harness.create(STREAM_ID).await?;
    let options = PublisherOptions::new(harness.signalling(), STREAM_ID);
    let publisher = Publisher::start(Arc::clone(clip), options);
    publisher.published(START_TIME_LIMIT).await?;
    // Admission needs the size of the publisher's video and the capacity from the shard's status.
    harness
        .wait_status("publisher and budget", START_TIME_LIMIT, |status| {
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
    samples: u32,
    throttled: u32,
    codec: CodecStatus,
    last: Vec<RenditionStatus>,
}

async fn watch(harness: &Harness, duration: Duration) -> Result<Watched, BenchError> {
    let start = Instant::now();
    let (mut samples, mut throttled) = (0, 0);
    loop {
        sleep(POLL_INTERVAL.min(duration)).await;
        let status = harness.status().await?;
        let renditions = status.renditions(STREAM_ID);
        samples += 1;
        throttled += u32::from(renditions.iter().any(is_throttled));
        if start.elapsed() >= duration {
            return Ok(Watched {
                seconds: start.elapsed().as_secs_f64(),
                samples,
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
            None => Some("the status of the shard does not list it".to_owned()),
        },
    }
}

fn counted(reasons: Vec<String>) -> Vec<(String, u32)> {
    let mut counted: Vec<(String, u32)> = Vec::new();
    for reason in reasons {
        match counted.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => counted.push((reason, 1)),
        }
    }
    counted
}

/// The messages about the governor in a JSON log.
fn governor_steps(log: &str) -> Vec<String> {
    let message = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        let message = line.get("message")?.as_str()?;
        let is_step = GOVERNOR_MESSAGES.iter().any(|text| message.contains(text));
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
