//! `soak`: the processes of Shardcast over hours.

use std::time::Duration;

use clap::Args;
use shardcast_bench::{
    BenchError,
    soak::{SoakOptions, page, soak as measure},
};

use super::output::progress;
use super::{KindArgs, Output, ServerArgs};

/// The first round is as long as the warm-up, and no longer than this.
const FIRST_ROUND_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(crate) struct Soak {
    /// Length of the measurement in minutes; fractions are allowed
    #[arg(long, default_value_t = 30.0, conflicts_with = "hours")]
    minutes: f64,
    /// Length of the measurement in hours
    #[arg(long)]
    hours: Option<f64>,
    /// Broadcasts that last the whole time; half of what `capacity` finds is a good number
    #[arg(long, default_value_t = 10)]
    broadcasts: u32,
    /// Publishers that come and go, at the same time
    #[arg(long, alias = "at-once", default_value_t = 4)]
    publishers: u32,
    /// Length of a show that comes and goes, in seconds
    #[arg(long, default_value_t = 10)]
    show_seconds: u64,
    /// Destinations that come and go at the lasting broadcasts, at the same time; every second one
    /// fails
    #[arg(long, default_value_t = 4)]
    changing_destinations: u32,
    /// How long such a destination stays, in seconds
    #[arg(long, default_value_t = 8)]
    stay_seconds: u64,
    /// Time of the whole load before the measurement, in seconds
    #[arg(long, default_value_t = 120)]
    warm_up_seconds: u64,
    /// How long engine and control are stopped in the first round, in seconds: the buffers that a stall of the
    /// machine touches for the first time are in the base then; 0 for no stall
    #[arg(long, default_value_t = 2.5)]
    stall_seconds: f64,
    /// Time without load before memory and descriptors are read, in seconds
    #[arg(long, default_value_t = 60)]
    rest_seconds: u64,
    /// Distance of the samples in seconds
    #[arg(long, default_value_t = 5)]
    sample_seconds: u64,
    /// Largest growth of the memory of a process, in MB an hour
    #[arg(long, default_value_t = 6.0)]
    mb_per_hour: f64,
    /// Most MB that a process may keep after the end
    #[arg(long, default_value_t = 10.0)]
    mb_left: f64,
    #[command(flatten)]
    kind: KindArgs,
    #[command(flatten)]
    pub(super) server: ServerArgs,
}

fn time(what: &str, seconds: f64) -> Result<Duration, BenchError> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|error| BenchError::Argument(format!("{what}: {error}")))
}

pub(super) async fn run(options: &Soak, output: &mut Output) -> Result<bool, BenchError> {
    output.shardcast(options.server.server_bin.as_deref());
    let (harness, _pinned) = options.server.setup().start().await?;
    let seconds = options
        .hours
        .map_or(options.minutes * 60.0, |hours| hours * 3_600.0);
    let duration = time("the length of the soak", seconds)?;
    let warm_up = Duration::from_secs(options.warm_up_seconds);
    let options = SoakOptions {
        broadcasts: options.broadcasts,
        mix: options.kind.mix()?,
        publishers: options.publishers,
        show: Duration::from_secs(options.show_seconds),
        destinations: options.changing_destinations,
        stay: Duration::from_secs(options.stay_seconds),
        first_round: warm_up.min(FIRST_ROUND_MAX),
        stall: time("the stall", options.stall_seconds)?,
        warm_up,
        duration,
        rest: Duration::from_secs(options.rest_seconds),
        sample_interval: Duration::from_secs(options.sample_seconds.max(1)),
        mb_per_hour: options.mb_per_hour,
        mb_left: options.mb_left,
    };
    let report = measure(&harness, &options, progress).await?;
    output.page(&page(&report, &options), &report)?;
    Ok(report.shortfalls.is_empty())
}
