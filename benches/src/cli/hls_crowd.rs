//! `hls-crowd`: shows without and with a crowd of HLS pollers.

use std::time::Duration;

use clap::Args;
use shardcast_bench::{
    BenchError,
    hls_crowd::{HlsCrowdOptions, hls_crowd as measure},
    load::{Ingest, Mix},
};

use super::output::progress;
use super::{Output, ServerArgs, VideoArgs};
use crate::print;

#[derive(Debug, Args)]
pub(crate) struct HlsCrowd {
    /// Players that poll HLS, spread evenly over the shows
    #[arg(long, default_value_t = 1_000)]
    pollers: u32,
    /// Shows at the same time
    #[arg(long, default_value_t = 10)]
    broadcasts: u32,
    /// RTMP destinations of each show
    #[arg(long, default_value_t = 1)]
    destinations: u32,
    /// How the shows are published: webrtc, or rtmp with AAC
    #[arg(long, default_value = "webrtc", value_name = "PROTOCOL")]
    publisher: Ingest,
    /// Record each show to MP4, in a temporary folder; TMPDIR says on which disk
    #[arg(long)]
    record: bool,
    /// How many times the 99th percentile of the shows' delay beside the pollers may be that without
    #[arg(long, default_value_t = 2.0)]
    ratio_max: f64,
    /// Runs, each with a Shardcast of its own
    #[arg(long, default_value_t = 1)]
    runs: u32,
    /// Time before each measurement, in seconds
    #[arg(long, default_value_t = 5)]
    warm_up_seconds: u64,
    /// Length of each measurement in seconds
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    #[command(flatten)]
    pub(super) server: ServerArgs,
    #[command(flatten)]
    video: VideoArgs,
}

pub(super) async fn run(options: &HlsCrowd, output: &mut Output) -> Result<bool, BenchError> {
    output.shardcast(options.server.server_bin.as_deref());
    let mut kind = options.video.kind(options.destinations);
    kind.publisher = options.publisher;
    kind.is_recorded = options.record;
    let report = measure(
        &HlsCrowdOptions {
            broadcasts: options.broadcasts,
            mix: Mix::of(kind),
            pollers: options.pollers,
            runs: options.runs,
            setup: options.server.setup(),
            warm_up: Duration::from_secs(options.warm_up_seconds),
            duration: Duration::from_secs(options.seconds.max(1)),
        },
        progress,
    )
    .await?;
    print::hls_crowd(&report, options.ratio_max, output)?;
    Ok(report.holds(options.ratio_max))
}
