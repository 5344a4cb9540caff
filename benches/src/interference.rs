//! Measures what a saturating re-encode does to the delay of a passthrough broadcast on the same core.
//!
//! The broadcast is measured in up to three stages: without other load (the baseline), with codecs
//! on their own thread, as the product runs them, and with codecs on the executor, where the engine
//! has a flag for that. Each stage starts its own Shardcast with one shard on core 0. The generator
//! stays off that core if there is another one.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use shardcast_link::{Preset, RenditionSpec};
use tokio::time::sleep;

use crate::BenchError;
use crate::harness::{Harness, HarnessOptions, Pinned, engine_knows, threads_cpu};
use crate::passthrough_probe::{PassthroughProbe, PassthroughReport};
use crate::publisher::{Publisher, PublisherOptions};
use crate::reencode::{CODEC_THREADS, is_throttled};
use crate::sink::Sink;
use crate::test_clip::TestClip;

const START_TIME_LIMIT: Duration = Duration::from_secs(60);
const SETTLE: Duration = Duration::from_secs(4);
const CORE: u16 = 0;
const LOAD_ID: &str = "load";
/// Heights of the requested renditions: when one is refused, smaller ones may still be admitted.
const HEIGHTS: [u32; 6] = [1_080, 720, 480, 360, 240, 180];
/// Largest number of renditions of each height.
const RENDITIONS_MAX: u32 = 4;
/// Bit rate of the renditions. Admission knows sizes and presets only, and this many bits cost far
/// more CPU time than it expects, so the admitted renditions saturate the codec worker.
const LOAD_BPS: u32 = 40_000_000;
/// The engine's flag that puts codecs on the executor. It exists for this measurement.
const INLINE_FLAG: &str = "--codecs-inline";
const INLINE_VARIABLE: (&str, &str) = ("SHARDCAST_ENGINE_CODECS_INLINE", "true");

/// Test clips and length of the stages.
#[derive(Clone, Debug)]
pub struct InterferenceOptions {
    /// Test clip of the passthrough broadcast.
    pub passed: Arc<TestClip>,
    /// Test clip of the broadcast that is re-encoded.
    pub load: Arc<TestClip>,
    /// Length of the measurement of each stage.
    pub duration: Duration,
}

/// Results of one stage.
#[derive(Clone, Debug, Serialize)]
pub struct InterferenceStage {
    /// What runs next to the broadcast in this stage.
    pub name: &'static str,
    /// Delay and loss of the broadcast.
    #[serde(rename = "witness")]
    pub passthrough: PassthroughReport,
    /// Renditions that were made at the same time.
    pub renditions: usize,
    /// The server's reason for refusing more renditions.
    pub refusal: Option<String>,
    /// CPU time of the codec threads, in percent of a core.
    pub codec_cpu_percent: f64,
    /// CPU time of the shard's thread as the shard reports it, in percent of a core.
    pub shard_cpu_percent: f64,
    /// Frames of all renditions that were encoded.
    pub frames_encoded: u64,
    /// Frames that were decoded too late to be encoded, and frames that were dropped to keep up.
    pub frames_late: u64,
    /// The governor had lowered a preset or a frame rate.
    pub throttled: bool,
}

/// Results of all stages.
#[derive(Clone, Debug, Serialize)]
pub struct InterferenceReport {
    /// The stages in the order in which they ran; the first one is the baseline.
    pub stages: Vec<InterferenceStage>,
    /// 99th percentile of the delay with codecs on their own thread, minus that of the baseline.
    pub added_p99_ms: Option<f64>,
    /// Why there is no stage with codecs on the executor.
    pub not_inline: Option<String>,
    /// Cores of the generator; `None` when it shared the core of the engine.
    pub generator_cores: Option<String>,
}

/// Runs all stages.
///
/// # Errors
/// When something does not start.
pub async fn interference(options: &InterferenceOptions) -> Result<InterferenceReport, BenchError> {
    let plain = HarnessOptions {
        cores: vec![CORE],
        ..HarnessOptions::default()
    };
    let mut stages = Vec::new();
    let mut stage = Stage {
        name: "baseline",
        options,
        loaded: false,
    };
    let (baseline, generator_cores) = stage.run(plain.clone()).await?;
    stages.push(baseline);
    stage.loaded = true;
    stage.name = "codecs on their own thread";
    stages.push(stage.run(plain.clone()).await?.0);
    let can_inline = engine_knows(INLINE_FLAG)?;
    if can_inline {
        let (name, value) = INLINE_VARIABLE;
        let inline = HarnessOptions {
            environment: vec![(name.to_owned(), value.to_owned())],
            ..plain
        };
        stage.name = "codecs on the executor";
        stages.push(stage.run(inline).await?.0);
    }
    let p99 = |n: usize| Some(stages.get(n)?.passthrough.delay_ms?.p99);
    Ok(InterferenceReport {
        added_p99_ms: p99(1)
            .zip(p99(0))
            .map(|(loaded, baseline)| loaded - baseline),
        not_inline: (!can_inline).then(|| format!("this engine has no {INLINE_FLAG}")),
        generator_cores,
        stages,
    })
}

struct Stage<'a> {
    name: &'static str,
    options: &'a InterferenceOptions,
    loaded: bool,
}

impl Stage<'_> {
    async fn run(
        &self,
        harness: HarnessOptions,
    ) -> Result<(InterferenceStage, Option<String>), BenchError> {
        let harness = Harness::start(harness).await?;
        // Set after the start: Shardcast would inherit the affinity.
        let (_pinned, generator_cores) = Pinned::off(&[CORE]);
        let measured = self.measure(&harness).await?;
        Ok((measured, generator_cores.map(|cores| cores.to_string())))
    }

    async fn measure(&self, harness: &Harness) -> Result<InterferenceStage, BenchError> {
        let mut probe = PassthroughProbe::start(harness, &self.options.passed, "passed").await?;
        let load = match self.loaded {
            true => Some(Load::start(harness, &self.options.load).await?),
            false => None,
        };
        sleep(SETTLE).await;
        probe.reset_delays();
        let codecs = || threads_cpu(harness.engine_pid(), CODEC_THREADS);
        let (before, start) = (codecs()?, Instant::now());
        sleep(self.options.duration).await;
        let codec_cpu = codecs()?.saturating_sub(before).as_secs_f64();
        let codec_cpu_percent = codec_cpu / start.elapsed().as_secs_f64() * 100.0;
        let status = harness.status().await?;
        let passthrough = probe.stop().await;
        let shard = status.shards.first().copied().unwrap_or_default();
        let made = status.renditions(LOAD_ID);
        let late = status.broadcast(LOAD_ID).and_then(|load| load.decoder);
        let dropped: u64 = made.iter().map(|rendition| rendition.dropped).sum();
        Ok(InterferenceStage {
            name: self.name,
            passthrough,
            renditions: made.iter().filter(|one| one.problem.is_none()).count(),
            refusal: load.and_then(|load| load.refusal),
            codec_cpu_percent,
            shard_cpu_percent: f64::from(shard.cpu_permille) / 10.0,
            frames_encoded: made.iter().map(|rendition| rendition.frames).sum(),
            frames_late: late.map_or(0, |decoder| decoder.late) + dropped,
            throttled: made.iter().any(is_throttled),
        })
    }
}

/// The second broadcast, with as many renditions as are admitted.
struct Load {
    refusal: Option<String>,
    _sink: Sink,
    _publisher: Publisher,
}

impl Load {
    async fn start(harness: &Harness, clip: &Arc<TestClip>) -> Result<Self, BenchError> {
        let sink = Sink::start()?;
        harness.create(LOAD_ID).await?;
        let options = PublisherOptions::new(harness.signalling(), LOAD_ID);
        let publisher = Publisher::start(Arc::clone(clip), options);
        publisher.published(START_TIME_LIMIT).await?;
        let knows_size = |publisher: &shardcast_link::PublisherStatus| {
            publisher
                .video
                .as_ref()
                .is_some_and(|video| video.width > 0)
        };
        harness
            .wait_status(
                "the size of the publisher's video",
                START_TIME_LIMIT,
                |status| {
                    let load = status.broadcast(LOAD_ID);
                    load.and_then(|load| load.publisher.as_ref())
                        .is_some_and(knows_size)
                },
            )
            .await?;
        let refusal = fill(harness, &sink).await?;
        sink.frames("load0", 1, START_TIME_LIMIT).await?;
        Ok(Self {
            refusal,
            _sink: sink,
            _publisher: publisher,
        })
    }
}

/// Requests renditions until none of any height is admitted; returns the last refusal.
async fn fill(harness: &Harness, sink: &Sink) -> Result<Option<String>, BenchError> {
    let mut refusal = None;
    let mut number = 0;
    for height in HEIGHTS {
        for _ in 0..RENDITIONS_MAX {
            let spec = RenditionSpec {
                width: Some(height * 16 / 9 / 2 * 2),
                // Equal renditions are encoded once, so each one gets another bit rate.
                video_bps: LOAD_BPS + number,
                preset: Preset::Superfast,
                ..RenditionSpec::of_height(height)
            };
            let url = sink.url(&format!("load{number}"));
            match harness.add_rendition(LOAD_ID, &url, &spec).await {
                Ok(_) => number += 1,
                Err(BenchError::Refused { answer, .. }) => {
                    refusal = Some(answer);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(refusal)
}
