//! `capacity`: the highest load that holds its service levels.

use std::time::Duration;

use clap::Args;
use shardcast_bench::{
    BenchError,
    capacity::{CapacityOptions, Levels, capacity as measure, page},
};

use super::output::progress;
use super::{KindArgs, Output, ServerArgs};

#[derive(Debug, Args)]
pub(crate) struct Capacity {
    /// First number of broadcasts to try
    #[arg(long, default_value_t = 8)]
    start: u32,
    /// Highest number to try
    #[arg(long, default_value_t = 1_000)]
    limit: u32,
    /// Searches, one after the other; each begins where the one before ended
    #[arg(long, default_value_t = 1)]
    runs: u32,
    /// How often a number that does not hold is tried again before it counts
    #[arg(long, default_value_t = 1)]
    retries: u32,
    /// Service level: frames lost, all destinations together
    #[arg(long, default_value_t = 0)]
    frames_lost: u64,
    /// Service level: largest 99th percentile of the delay in milliseconds
    #[arg(long, default_value_t = 5.0)]
    p99_ms: f64,
    /// Service level: how much later, by that percentile, a broadcast may be at its slowest destination
    /// than at its fastest, in milliseconds
    #[arg(long, default_value_t = 20.0)]
    added_ms: f64,
    /// Service level: largest 99th percentile of the delay to viewers in milliseconds
    #[arg(long, default_value_t = 50.0)]
    viewer_p99_ms: f64,
    /// Time of the load before each measurement, in seconds
    #[arg(long, default_value_t = 3)]
    warm_up_seconds: u64,
    /// Length of each measurement in seconds
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// No attempt begins later than this many seconds after the first
    #[arg(long)]
    at_most_seconds: Option<u64>,
    #[command(flatten)]
    kind: KindArgs,
    #[command(flatten)]
    pub(super) server: ServerArgs,
}

pub(super) async fn run(options: &Capacity, output: &mut Output) -> Result<bool, BenchError> {
    output.shardcast(options.server.server_bin.as_deref());
    let options = CapacityOptions {
        start: options.start,
        limit: options.limit,
        runs: options.runs,
        retries: options.retries,
        levels: Levels {
            frames_lost: options.frames_lost,
            p99_ms: options.p99_ms,
            added_ms: options.added_ms,
            viewer_p99_ms: options.viewer_p99_ms,
        },
        setup: options.server.setup(),
        mix: options.kind.mix()?,
        warm_up: Duration::from_secs(options.warm_up_seconds),
        duration: Duration::from_secs(options.seconds.max(1)),
        time_limit: options.at_most_seconds.map(Duration::from_secs),
    };
    let report = measure(&options, progress).await;
    output.page(&page(&report, &options), &report)?;
    Ok(report.highest.is_some_and(|highest| highest.min > 0.0))
}
