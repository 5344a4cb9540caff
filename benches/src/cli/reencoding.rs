//! The commands that measure re-encoding.

use std::{sync::Arc, time::Duration};

use clap::Args;
use shardcast_bench::{
    BenchError,
    bitrate::{BitrateOptions, bitrate as measure_bitrate, usual_sources},
    harness::{Harness, HarnessOptions},
    hostile::{HostileOptions, hostile as measure_hostile},
    interference::{InterferenceOptions, interference as measure_interference},
    overload::{OverloadOptions, overload as measure_overload},
    reencode::{ReencodeOptions, reencode as measure_reencode},
    test_clip::{TestClip, TestClipFormat},
};
use shardcast_link::{RenditionSpec, VideoCodec};

use super::Output;
use super::args::codec;
use crate::print;

#[derive(Debug, Args)]
pub(crate) struct Reencode {
    /// Codec of the source: h264, vp8, vp9 or av1; its size is 1920x1080 at 30 frames a second
    #[arg(long, default_value = "h264", value_parser = codec)]
    pub(crate) codec: VideoCodec,
    /// Bit rate of the source in kbit/s
    #[arg(long, default_value_t = 4_500)]
    pub(crate) bitrate_kbps: u32,
    /// Make 720p, 480p and 360p at once instead of 720p alone
    #[arg(long)]
    pub(crate) ladder: bool,
    /// Length of each measurement in seconds
    #[arg(long, default_value_t = 20)]
    pub(crate) seconds: u64,
    /// Number of runs, one after the other
    #[arg(long, default_value_t = 3)]
    pub(crate) runs: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Interference {
    /// Length of each stage in seconds
    #[arg(long, default_value_t = 60)]
    pub(crate) seconds: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Overload {
    /// Renditions to request, of 1280x720 at 30 frames a second
    #[arg(long, default_value_t = 12)]
    pub(crate) renditions: u32,
    /// Bit rate of each in kbit/s; far above 3000, they cost more CPU time than admission expects
    #[arg(long, default_value_t = 3_000)]
    pub(crate) rendition_kbps: u32,
    /// Passthrough broadcasts at the same time
    #[arg(long, default_value_t = 2)]
    pub(crate) witnesses: u32,
    /// Length of the measurement in seconds
    #[arg(long, default_value_t = 60)]
    pub(crate) seconds: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Bitrate {
    /// Length of the measurement of each source in seconds; at least 11
    #[arg(long, default_value_t = 30)]
    pub(crate) seconds: u64,
    /// Bit rate of the rendition in kbit/s
    #[arg(long, default_value_t = 3_000)]
    pub(crate) rendition_kbps: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Hostile {
    /// Length of the measurement in seconds
    #[arg(long, default_value_t = 60)]
    pub(crate) seconds: u64,
    /// Seed of the corruptions
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

/// The format that Chromium sends of a good camera.
fn full_hd() -> TestClipFormat {
    TestClipFormat {
        width: 1_920,
        height: 1_080,
        video_kbps: 4_500,
        ..TestClipFormat::default()
    }
}

fn hd(kbps: u32) -> RenditionSpec {
    RenditionSpec {
        width: Some(1_280),
        video_bps: kbps.saturating_mul(1_000),
        ..RenditionSpec::of_height(720)
    }
}

pub(super) async fn reencode(options: &Reencode, output: &Output) -> Result<bool, BenchError> {
    let clip = TestClip::load(TestClipFormat {
        codec: options.codec,
        video_kbps: options.bitrate_kbps,
        ..full_hd()
    })?;
    let harness = Harness::start(HarnessOptions::default()).await?;
    let options = ReencodeOptions {
        renditions: ReencodeOptions::renditions(options.ladder),
        duration: Duration::from_secs(options.seconds),
        runs: options.runs,
    };
    let report = measure_reencode(&harness, &clip, &options).await?;
    print::reencode(&report, output)?;
    Ok(true)
}

pub(super) async fn interference(
    options: &Interference,
    output: &Output,
) -> Result<bool, BenchError> {
    let report = measure_interference(&InterferenceOptions {
        passed: TestClip::load(TestClipFormat::default())?,
        load: TestClip::load(full_hd())?,
        duration: Duration::from_secs(options.seconds),
    })
    .await?;
    print::interference(&report, output)?;
    let mut stages = report.stages.iter();
    Ok(stages.all(|stage| stage.passthrough.is_unharmed()))
}

pub(super) async fn overload(options: &Overload, output: &Output) -> Result<bool, BenchError> {
    let clip = TestClip::load(TestClipFormat::default())?;
    let harness = Harness::start(HarnessOptions::default()).await?;
    let options = OverloadOptions {
        source: Arc::clone(&clip),
        passed: clip,
        probes: options.witnesses,
        spec: hd(options.rendition_kbps),
        asked: options.renditions,
        duration: Duration::from_secs(options.seconds),
    };
    let report = measure_overload(&harness, &options).await?;
    print::overload(&report, output)?;
    let unharmed = report
        .passthrough
        .iter()
        .all(|passthrough| passthrough.is_unharmed());
    Ok(unharmed && !report.refusals.is_empty())
}

pub(super) async fn bitrate(options: &Bitrate, output: &Output) -> Result<bool, BenchError> {
    let harness = Harness::start(HarnessOptions::default()).await?;
    let options = BitrateOptions {
        sources: usual_sources(TestClipFormat::default()),
        spec: hd(options.rendition_kbps),
        duration: Duration::from_secs(options.seconds),
    };
    let report = measure_bitrate(&harness, &options).await?;
    print::bitrate(&report, output)?;
    Ok(report.sources.iter().all(|source| source.faults.is_empty()))
}

pub(super) async fn hostile(options: &Hostile, output: &Output) -> Result<bool, BenchError> {
    let harness = Harness::start(HarnessOptions::default()).await?;
    let options = HostileOptions {
        duration: Duration::from_secs(options.seconds),
        seed: options.seed,
    };
    let report = measure_hostile(&harness, &options).await?;
    print::hostile(&report, output)?;
    Ok(report.is_unharmed())
}
