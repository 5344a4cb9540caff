//! Measures viewers over WebRTC: what each one sees, how late, and what it costs the engine.
//!
//! The engine is measured several times in the same run: without viewers, and with each larger number of
//! them. The difference to none is the cost of the viewers. Each broadcast has one RTMP destination, which
//! must not notice them.

mod options;
mod rate_fall;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::time::sleep;

pub use options::{WatchBy, WatchOptions};
pub use rate_fall::RateFallReport;

use crate::BenchError;
use crate::harness::{APPLICATION, Harness, Usage, usage};
use crate::publisher::{Publisher, PublisherOptions};
use crate::sink::{ConnectionReport, Sink};
use crate::stats::Percentiles;
use crate::test_clip::TestClip;
use crate::viewer::{ImpairmentOptions, Viewer, ViewerOptions, ViewerReport};

/// Longest wait for the first frame of a destination or viewer, on a busy machine.
const START_TIME_LIMIT: Duration = Duration::from_secs(60);
/// Time between start and measurement: the first seconds of codecs and caches are not typical.
const SETTLE: Duration = Duration::from_secs(3);
/// Distance of the starts of two viewers: an audience does not come at one instant.
const STAGGER: Duration = Duration::from_millis(10);

/// One number of viewers.
#[derive(Clone, Debug, Serialize)]
pub struct WatchStage {
    /// Viewers, all broadcasts together.
    pub viewers: u32,
    /// CPU time of the engine, in percent of a core.
    pub engine_cpu_percent: f64,
    /// CPU time of the engine for each viewer, in percent of a core.
    pub engine_cpu_percent_per_viewer: f64,
    /// CPU time of the engine for each packet to a viewer, in microseconds.
    pub engine_us_per_packet: f64,
    /// Resident memory of the engine for each viewer, in MB.
    pub engine_mb_per_viewer: f64,
    /// CPU time of publishers, viewers and sinks of this process, in percent of a core.
    pub generator_cpu_percent: f64,
    /// Video and audio packets that viewers received each second.
    pub packets_per_second: f64,
    /// Video packets that never came, during the measurement.
    pub packets_lost: u64,
    /// Frames that could be decoded, of those that the publishers sent, in percent, for the viewer who
    /// saw least.
    pub frames_seen_percent_min: f64,
    /// Freezes of all viewers.
    pub freezes: u64,
    /// The longest freeze in milliseconds.
    pub freeze_ms_max: f64,
    /// Longest pause between two audio packets in milliseconds.
    pub audio_gap_ms_max: f64,
    /// From the publisher's send call to the last packet of the frame at a viewer.
    pub delay_ms: Option<Percentiles>,
    /// The same to the RTMP destinations.
    pub destination_delay_ms: Option<Percentiles>,
    /// From a viewer's request to its first whole keyframe.
    pub first_frame_ms: Option<Percentiles>,
    /// What the fall of the rate led to.
    pub rate_fall: Option<RateFallReport>,
}

/// What all stages showed.
#[derive(Clone, Debug, Serialize)]
pub struct WatchReport {
    /// Broadcasts at the same time.
    pub broadcasts: u32,
    /// How viewers asked.
    pub by: WatchBy,
    /// The measurements, in their order.
    pub stages: Vec<WatchStage>,
    /// Frames that the destinations did not receive.
    pub destination_frames_missing: u64,
    /// Frames that the generator sent more than 5 ms late: the generator delayed them, not the server.
    pub frames_sent_late: u64,
    /// Frames that the publishers sent.
    pub frames_sent: u64,
    /// What was wrong with viewers and destinations, as text. What a viewer's network was to lose is not.
    pub faults: Vec<String>,
}

/// Publishes, lets viewers come, and measures each number of them.
///
/// # Errors
/// When something does not start, or `options` cannot be measured.
pub async fn watch(
    harness: &Harness,
    clip: &Arc<TestClip>,
    options: &WatchOptions,
) -> Result<WatchReport, BenchError> {
    options.check()?;
    let mut audience = Audience::start(harness, clip, options).await?;
    let none = audience.measure(options.duration, None).await?;
    let mut sizes = options.sizes.clone();
    sizes.sort_unstable();
    sizes.dedup();
    let mut stages = Vec::new();
    for size in sizes {
        audience.grow(size).await?;
        stages.push(audience.measure(options.duration, Some(&none)).await?.stage);
    }
    audience.end(options, stages).await
}

/// A broadcast's name.
fn stream_id(number: u32) -> String {
    format!("watch{number}")
}

struct Audience<'a> {
    harness: &'a Harness,
    options: &'a WatchOptions,
    sink: Sink,
    publishers: Vec<Publisher>,
    viewers: Vec<Viewer>,
}

/// Everything at one moment.
struct Sample {
    at: Instant,
    engine: Usage,
    generator: Usage,
    viewers: Vec<ViewerReport>,
    frames_sent: Vec<u64>,
}

/// A stage, and what the engine used in it.
struct Measured {
    stage: WatchStage,
    engine_mb: f64,
}

impl<'a> Audience<'a> {
    async fn start(
        harness: &'a Harness,
        clip: &Arc<TestClip>,
        options: &'a WatchOptions,
    ) -> Result<Self, BenchError> {
        let sink = Sink::start()?;
        let mut publishers = Vec::new();
        for number in 0..options.broadcasts {
            let id = stream_id(number);
            harness.create_with(&id, &options.ladder).await?;
            harness.add(&id, &sink.url(&id)).await?;
            let publisher = PublisherOptions {
                number,
                pace: options.pace,
                ..PublisherOptions::new(harness.signalling(), &id)
            };
            publishers.push(Publisher::start(Arc::clone(clip), publisher));
            sleep(Duration::from_millis(37)).await;
        }
        for number in 0..options.broadcasts {
            sink.frames(&stream_id(number), 1, START_TIME_LIMIT).await?;
        }
        Ok(Self {
            harness,
            options,
            sink,
            publishers,
            viewers: Vec::new(),
        })
    }

    /// Lets viewers come until there are `size`.
    async fn grow(&mut self, size: u32) -> Result<(), BenchError> {
        let there = u32::try_from(self.viewers.len()).unwrap_or(u32::MAX);
        for number in there..size {
            let id = stream_id(number % self.options.broadcasts);
            let url = match self.options.by {
                WatchBy::Whep => format!("http://{}/{APPLICATION}/whep/{id}", self.harness.http()),
                WatchBy::Sdk => self.harness.signalling(),
            };
            self.viewers.push(Viewer::start(ViewerOptions {
                impairment: ImpairmentOptions {
                    seed: u64::from(number),
                    ..self.options.impairment
                },
                one_by_one: self.options.one_by_one,
                ..ViewerOptions::new(url, id)
            }));
            sleep(STAGGER).await;
        }
        for viewer in &self.viewers {
            viewer.watching(START_TIME_LIMIT).await?;
        }
        Ok(())
    }

    fn sample(&self) -> Result<Sample, BenchError> {
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        let sent = self.publishers.iter().map(|p| p.report().frames_sent);
        Ok(Sample {
            at: Instant::now(),
            engine: usage(self.harness.engine_pid())?,
            generator: usage(own)?,
            viewers: self.viewers.iter().map(Viewer::report).collect(),
            frames_sent: sent.collect(),
        })
    }

    async fn measure(
        &self,
        duration: Duration,
        none: Option<&Measured>,
    ) -> Result<Measured, BenchError> {
        sleep(SETTLE).await;
        self.sink.forget_delays();
        for viewer in &self.viewers {
            viewer.take_delays_ms();
        }
        let before = self.sample()?;
        let rate_fall = self.wait(duration).await;
        let after = self.sample()?;
        let delays = self.viewers.iter().flat_map(Viewer::take_delays_ms);
        let delay_ms = Percentiles::of(delays.collect());
        Ok(Measured {
            engine_mb: mb(after.engine),
            stage: WatchStage {
                rate_fall,
                ..self.stage(&before, &after, none, delay_ms)
            },
        })
    }

    async fn wait(&self, duration: Duration) -> Option<RateFallReport> {
        match self.options.low_bps.filter(|_| !self.viewers.is_empty()) {
            Some(low_bps) => {
                let rates = (self.options.impairment.rate_bps, low_bps);
                Some(rate_fall::fall(&self.viewers, duration, rates).await)
            }
            None => {
                sleep(duration).await;
                None
            }
        }
    }

    fn stage(
        &self,
        before: &Sample,
        after: &Sample,
        none: Option<&Measured>,
        delay_ms: Option<Percentiles>,
    ) -> WatchStage {
        let seconds = after.at.duration_since(before.at).as_secs_f64();
        let percent =
            |a: Usage, b: Usage| b.cpu.saturating_sub(a.cpu).as_secs_f64() / seconds * 100.0;
        let pairs = || before.viewers.iter().zip(&after.viewers);
        let sum = |of: fn(&ViewerReport) -> u64| -> u64 {
            pairs().map(|(a, b)| of(b).saturating_sub(of(a))).sum()
        };
        let viewers = self.viewers.len() as f64;
        let engine_cpu_percent = percent(before.engine, after.engine);
        let idle = none.map_or(engine_cpu_percent, |none| none.stage.engine_cpu_percent);
        let added = (engine_cpu_percent - idle).max(0.0);
        let packets = sum(|v| v.packets) + sum(|v| v.audio_packets);
        let per = |value: f64, of: f64| if of > 0.0 { value / of } else { 0.0 };
        let packets_per_second = packets as f64 / seconds;
        let max = |of: fn(&ViewerReport) -> f64| after.viewers.iter().map(of).fold(0.0, f64::max);
        let first = after.viewers.iter().filter_map(|v| v.first_frame_ms);
        let mb_of_none = none.map_or(mb(after.engine), |none| none.engine_mb);
        WatchStage {
            viewers: u32::try_from(self.viewers.len()).unwrap_or(u32::MAX),
            engine_cpu_percent,
            engine_cpu_percent_per_viewer: per(added, viewers),
            engine_us_per_packet: per(added / 100.0 * 1e6, packets_per_second),
            engine_mb_per_viewer: per(mb(after.engine) - mb_of_none, viewers),
            generator_cpu_percent: percent(before.generator, after.generator),
            packets_per_second,
            packets_lost: sum(|v| v.packets_lost),
            frames_seen_percent_min: self.seen_percent_min(before, after),
            freezes: sum(|v| v.freezes),
            freeze_ms_max: max(|v| v.freeze_ms_max),
            audio_gap_ms_max: max(|v| v.audio_gap_ms_max),
            delay_ms,
            destination_delay_ms: self.sink.delay_ms(),
            first_frame_ms: Percentiles::of(first.collect()),
            rate_fall: None,
        }
    }

    /// The share of frames of the viewer who saw least; 100 without viewers.
    fn seen_percent_min(&self, before: &Sample, after: &Sample) -> f64 {
        let sent = before.frames_sent.iter().zip(&after.frames_sent);
        let sent: Vec<f64> = sent.map(|(a, b)| b.saturating_sub(*a) as f64).collect();
        let pairs = before.viewers.iter().zip(&after.viewers);
        // Viewer `n` watches broadcast `n` modulo the number of broadcasts.
        let shares = pairs
            .zip(sent.iter().cycle())
            .map(|((a, b), sent)| b.frames.saturating_sub(a.frames) as f64 / sent.max(1.0) * 100.0);
        shares.fold(100.0, f64::min)
    }

    async fn end(
        self,
        options: &WatchOptions,
        stages: Vec<WatchStage>,
    ) -> Result<WatchReport, BenchError> {
        let mut faults = Vec::new();
        let stopping: Vec<_> = self
            .viewers
            .into_iter()
            .map(|viewer| tokio::spawn(viewer.stop()))
            .collect();
        for (number, viewer) in stopping.into_iter().enumerate() {
            let Ok(report) = viewer.await else {
                faults.push(format!("viewer {number}: its task failed"));
                continue;
            };
            faults.extend(fault_of(number, &report));
        }
        let mut sent = Vec::new();
        for publisher in self.publishers {
            sent.push(publisher.stop().await);
        }
        let mut destination_frames_missing = 0;
        for number in 0..options.broadcasts {
            let ended = |stream: &ConnectionReport| stream.ended.is_some();
            let id = stream_id(number);
            let stream = self.sink.wait(&id, "end", START_TIME_LIMIT, ended).await?;
            destination_frames_missing += stream.frames_missing;
            faults.extend(stream.faults().iter().map(|fault| format!("{id}: {fault}")));
        }
        Ok(WatchReport {
            broadcasts: options.broadcasts,
            by: options.by,
            stages,
            destination_frames_missing,
            frames_sent_late: sent.iter().map(|report| report.frames_late_5_ms).sum(),
            frames_sent: sent.iter().map(|report| report.frames_sent).sum(),
            faults,
        })
    }
}

fn fault_of(number: usize, report: &ViewerReport) -> Option<String> {
    if report.begins_with_keyframe == Some(false) {
        return Some(format!("viewer {number}: its first frame was no keyframe"));
    }
    if let Some(error) = report.errors.first() {
        return Some(format!(
            "viewer {number}: {error} ({} attempts)",
            report.attempts
        ));
    }
    // Each packet that its network drops is one that may never come; all others are the server's.
    let (lost, dropped) = (report.packets_lost, report.packets_dropped_by_network);
    (lost > dropped).then(|| {
        format!("viewer {number}: {lost} packets never came, and its network dropped {dropped}")
    })
}

fn mb(usage: Usage) -> f64 {
    usage.resident_bytes as f64 / (1_024.0 * 1_024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_network_was_to_lose_is_no_fault_and_what_the_server_loses_is() {
        let lost = |packets_lost, packets_dropped_by_network| ViewerReport {
            packets_lost,
            packets_dropped_by_network,
            ..ViewerReport::default()
        };
        assert_eq!(fault_of(0, &lost(0, 0)), None);
        assert_eq!(fault_of(0, &lost(7, 40)), None);
        let fault = fault_of(3, &lost(8, 7)).unwrap();
        assert!(fault.contains("viewer 3: 8 packets"), "{fault}");
    }
}
