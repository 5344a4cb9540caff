//! What a broadcast that is passed on feels of a saturating re-encode on the same core.
//!
//! The same broadcast is measured alone, beside codecs on a thread of their own as the product has
//! them, and, where the engine can do that, beside codecs on its executor. Each stage has a Shardcast
//! of its own with one shard on core 0; the generator stays off that core where there is another.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use shardcast_link::{Preset, RenditionSpec};
use tokio::time::sleep;

use crate::BenchError;
use crate::clip::Clip;
use crate::harness::{Harness, HarnessOptions, engine_knows, keep_off, threads_cpu};
use crate::publisher::{Publisher, PublisherOptions};
use crate::reencode::{CODEC_THREADS, is_throttled};
use crate::sink::Sink;
use crate::witness::{Witness, WitnessReport};

const START_PATIENCE: Duration = Duration::from_secs(60);
const SETTLE: Duration = Duration::from_secs(4);
const CORE: u16 = 0;
const LOAD_ID: &str = "load";
/// Lines of the renditions that are asked for: where one is refused, smaller ones may still fit.
const HEIGHTS: [u32; 6] = [1_080, 720, 480, 360, 240, 180];
/// Of each size.
const RENDITIONS_MAX: u32 = 4;
/// Far more bits than a picture needs cost far more time than the budget thinks, which knows only
/// sizes and presets: so what is let in saturates the lane.
const LOAD_BPS: u32 = 40_000_000;
/// The flag of the engine that puts codecs on the executor, for this measurement alone.
const INLINE_FLAG: &str = "--codecs-inline";
const INLINE_VARIABLE: (&str, &str) = ("SHARDCAST_ENGINE_CODECS_INLINE", "true");

/// Which clips, and how long each stage is.
#[derive(Clone, Debug)]
pub struct BesideOptions {
    /// Passed on.
    pub passed: Arc<Clip>,
    /// Re-encoded.
    pub load: Arc<Clip>,
    pub duration: Duration,
}

/// One stage.
#[derive(Clone, Debug, Serialize)]
pub struct BesideStage {
    pub name: &'static str,
    pub witness: WitnessReport,
    /// Renditions that were made beside it.
    pub renditions: usize,
    /// Why no more were made, in the server's words.
    pub refusal: Option<String>,
    /// Of a core: the threads that decode and encode.
    pub codec_cpu_percent: f64,
    /// Of a core, as the shard reports it: its own thread.
    pub shard_cpu_percent: f64,
    pub frames_encoded: u64,
    /// Pictures that came too late to be encoded, and those left out to keep up.
    pub frames_late: u64,
    /// The governor had lowered a preset or a frame rate.
    pub throttled: bool,
}

/// All stages.
#[derive(Clone, Debug, Serialize)]
pub struct BesideReport {
    pub stages: Vec<BesideStage>,
    /// 99th percentile of the delay beside codecs on their own thread, less that alone.
    pub added_p99_ms: Option<f64>,
    /// Why there is no stage with codecs on the executor.
    pub not_inline: Option<String>,
    /// Cores that the generator was kept on; `None` when it shared the engine's.
    pub generator_cores: Option<String>,
}

/// Runs all stages.
///
/// # Errors
/// When something does not start.
pub async fn beside(options: &BesideOptions) -> Result<BesideReport, BenchError> {
    let plain = HarnessOptions {
        cores: vec![CORE],
        ..HarnessOptions::default()
    };
    let mut stages = Vec::new();
    let mut stage = Stage {
        name: "alone",
        options,
        loaded: false,
    };
    let (alone, generator_cores) = stage.run(plain.clone()).await?;
    stages.push(alone);
    stage.loaded = true;
    stage.name = "beside codecs on their thread";
    stages.push(stage.run(plain.clone()).await?.0);
    let can_inline = engine_knows(INLINE_FLAG)?;
    if can_inline {
        let (name, value) = INLINE_VARIABLE;
        let inline = HarnessOptions {
            environment: vec![(name.to_owned(), value.to_owned())],
            ..plain
        };
        stage.name = "beside codecs on the executor";
        stages.push(stage.run(inline).await?.0);
    }
    let p99 = |n: usize| Some(stages.get(n)?.witness.delay_ms?.p99);
    Ok(BesideReport {
        added_p99_ms: p99(1).zip(p99(0)).map(|(beside, alone)| beside - alone),
        not_inline: (!can_inline).then(|| format!("this engine has no {INLINE_FLAG}")),
        generator_cores,
        stages,
    })
}

struct Stage<'a> {
    name: &'static str,
    options: &'a BesideOptions,
    loaded: bool,
}

impl Stage<'_> {
    async fn run(
        &self,
        harness: HarnessOptions,
    ) -> Result<(BesideStage, Option<String>), BenchError> {
        let harness = Harness::start(harness).await?;
        // Only now: what Shardcast starts would inherit it.
        let generator_cores = keep_off(&[CORE]);
        let measured = self.measure(&harness).await;
        let _ = keep_off(&[]);
        Ok((measured?, generator_cores))
    }

    async fn measure(&self, harness: &Harness) -> Result<BesideStage, BenchError> {
        let mut witness = Witness::start(harness, &self.options.passed, "passed").await?;
        let load = match self.loaded {
            true => Some(Load::start(harness, &self.options.load).await?),
            false => None,
        };
        sleep(SETTLE).await;
        witness.mark();
        let codecs = || threads_cpu(harness.engine_pid(), CODEC_THREADS);
        let (before, start) = (codecs()?, Instant::now());
        sleep(self.options.duration).await;
        let codec_cpu = codecs()?.saturating_sub(before).as_secs_f64();
        let codec_cpu_percent = codec_cpu / start.elapsed().as_secs_f64() * 100.0;
        let status = harness.status().await?;
        let witness = witness.stop().await;
        let shard = status.shards.first().copied().unwrap_or_default();
        let made = status.renditions(LOAD_ID);
        let late = status.broadcast(LOAD_ID).and_then(|load| load.decoder);
        let dropped: u64 = made.iter().map(|rendition| rendition.dropped).sum();
        Ok(BesideStage {
            name: self.name,
            witness,
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

/// Another broadcast, of which renditions are made until no more are let in.
struct Load {
    refusal: Option<String>,
    _sink: Sink,
    _publisher: Publisher,
}

impl Load {
    async fn start(harness: &Harness, clip: &Arc<Clip>) -> Result<Self, BenchError> {
        let sink = Sink::start()?;
        harness.create(LOAD_ID).await?;
        let options = PublisherOptions::new(harness.signalling(), LOAD_ID);
        let publisher = Publisher::start(Arc::clone(clip), options);
        publisher.published(START_PATIENCE).await?;
        let knows_size = |publisher: &shardcast_link::PublisherStatus| {
            publisher
                .video
                .as_ref()
                .is_some_and(|video| video.width > 0)
        };
        harness
            .wait_status("the publisher's picture", START_PATIENCE, |status| {
                let load = status.broadcast(LOAD_ID);
                load.and_then(|load| load.publisher.as_ref())
                    .is_some_and(knows_size)
            })
            .await?;
        let refusal = fill(harness, &sink).await?;
        sink.frames("load0", 1, START_PATIENCE).await?;
        Ok(Self {
            refusal,
            _sink: sink,
            _publisher: publisher,
        })
    }
}

/// Asks for renditions until none of any size is let in; gives the words of the last refusal.
async fn fill(harness: &Harness, sink: &Sink) -> Result<Option<String>, BenchError> {
    let mut refusal = None;
    let mut number = 0;
    for height in HEIGHTS {
        for _ in 0..RENDITIONS_MAX {
            let spec = RenditionSpec {
                width: Some(height * 16 / 9 / 2 * 2),
                // All are different, or they would be made once.
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
