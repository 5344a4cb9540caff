//! The commands that measure re-encoding.

use std::{sync::Arc, time::Duration};

use shardcast_bench::{
    BenchError,
    beside::{BesideOptions, beside as measure_beside},
    bitrate::{BitrateOptions, bitrate as measure_bitrate, usual_sources},
    clip::{Clip, ClipFormat},
    harness::{Harness, HarnessOptions},
    hostile::{HostileOptions, hostile as measure_hostile},
    overload::{OverloadOptions, overload as measure_overload},
    reencode::{ReencodeOptions, reencode as measure_reencode},
};
use shardcast_link::RenditionSpec;

use crate::cli::{Beside, Bitrate, Hostile, Overload, Reencode};
use crate::print;

/// What Chromium sends of a good camera.
fn full_hd() -> ClipFormat {
    ClipFormat {
        width: 1_920,
        height: 1_080,
        video_kbps: 4_500,
        ..ClipFormat::default()
    }
}

fn hd(kbps: u32) -> RenditionSpec {
    RenditionSpec {
        width: Some(1_280),
        video_bps: kbps.saturating_mul(1_000),
        ..RenditionSpec::of_height(720)
    }
}

pub(crate) async fn reencode(options: &Reencode, json: bool) -> Result<bool, BenchError> {
    let clip = Clip::load(ClipFormat {
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
    print::reencode(&report, json);
    Ok(true)
}

pub(crate) async fn beside(options: &Beside, json: bool) -> Result<bool, BenchError> {
    let report = measure_beside(&BesideOptions {
        passed: Clip::load(ClipFormat::default())?,
        load: Clip::load(full_hd())?,
        duration: Duration::from_secs(options.seconds),
    })
    .await?;
    print::beside(&report, json);
    let mut stages = report.stages.iter();
    Ok(stages.all(|stage| stage.witness.is_unharmed()))
}

pub(crate) async fn overload(options: &Overload, json: bool) -> Result<bool, BenchError> {
    let clip = Clip::load(ClipFormat::default())?;
    let harness = Harness::start(HarnessOptions::default()).await?;
    let options = OverloadOptions {
        source: Arc::clone(&clip),
        passed: clip,
        witnesses: options.witnesses,
        spec: hd(options.rendition_kbps),
        asked: options.renditions,
        duration: Duration::from_secs(options.seconds),
    };
    let report = measure_overload(&harness, &options).await?;
    print::overload(&report, json);
    let unharmed = report.witnesses.iter().all(|witness| witness.is_unharmed());
    Ok(unharmed && !report.refusals.is_empty())
}

pub(crate) async fn bitrate(options: &Bitrate, json: bool) -> Result<bool, BenchError> {
    let harness = Harness::start(HarnessOptions::default()).await?;
    let options = BitrateOptions {
        sources: usual_sources(ClipFormat::default()),
        spec: hd(options.rendition_kbps),
        duration: Duration::from_secs(options.seconds),
    };
    let report = measure_bitrate(&harness, &options).await?;
    print::bitrate(&report, json);
    Ok(report.sources.iter().all(|source| source.faults.is_empty()))
}

pub(crate) async fn hostile(options: &Hostile, json: bool) -> Result<bool, BenchError> {
    let harness = Harness::start(HarnessOptions::default()).await?;
    let options = HostileOptions {
        duration: Duration::from_secs(options.seconds),
        seed: options.seed,
    };
    let report = measure_hostile(&harness, &options).await?;
    print::hostile(&report, json);
    Ok(report.is_unharmed())
}
