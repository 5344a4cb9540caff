//! `live`: many broadcasts at once.

use std::time::Duration;

use clap::Args;
use shardcast_bench::{
    BenchError,
    live::{LiveOptions, live as measure},
    load::{Clips, Mix, ShowKind},
};

use super::{BesideArgs, Output, ServerArgs, VideoArgs};
use crate::print;

#[derive(Debug, Args)]
pub(crate) struct Live {
    /// Broadcasts at the same time
    #[arg(long, default_value_t = 10)]
    pub(crate) broadcasts: u32,
    /// How many of them are published by RTMP with AAC, and not by WebRTC
    #[arg(long, default_value_t = 0)]
    pub(crate) rtmp_publishers: u32,
    /// RTMP destinations of each
    #[arg(long, default_value_t = 2)]
    pub(crate) destinations: u32,
    /// Length of the measurement in seconds
    #[arg(long, default_value_t = 60)]
    pub(crate) seconds: u64,
    /// Send no audio
    #[arg(long)]
    pub(crate) no_audio: bool,
    /// Destinations say in their answer to `connect` that they take Opus, so that audio is passed on
    #[arg(long, conflicts_with = "no_audio")]
    pub(crate) opus: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(flatten)]
    pub(crate) beside: BesideArgs,
    #[command(flatten)]
    pub(crate) video: VideoArgs,
}

pub(super) async fn run(options: &Live, output: &Output) -> Result<bool, BenchError> {
    let setup = options.server.setup();
    let kind = ShowKind {
        audio: !options.no_audio,
        opus: options.opus,
        hls_pollers: options.beside.hls_pollers,
        is_recorded: options.beside.record,
        ..options.video.kind(options.destinations)
    };
    let load = LiveOptions {
        broadcasts: options.broadcasts,
        mix: Mix::partly_by_rtmp(&kind, options.broadcasts, options.rtmp_publishers)?,
        duration: Duration::from_secs(options.seconds),
    };
    let (harness, _pinned) = setup.start().await?;
    let report = measure(&harness, &setup.cores, &Clips::default(), &load).await?;
    print::live(&report, output)?;
    Ok(report.frames_lost == 0 && report.faults.is_empty())
}
