//! `fan-out`: one broadcast to many destinations.

use std::time::Duration;

use clap::Args;
use shardcast_bench::{
    BenchError,
    fan_out::{FanOutOptions, fan_out as measure},
    test_clip::TestClip,
};

use super::{Output, ServerArgs, VideoArgs};
use crate::print;

#[derive(Debug, Args)]
pub(crate) struct FanOut {
    /// Numbers of RTMP destinations, the faulty ones included, such as 50,200; one destination is
    /// measured first
    #[arg(long, value_delimiter = ',', default_value = "50")]
    pub(crate) destinations: Vec<u32>,
    /// Number of faulty destinations; each has another fault
    #[arg(long, default_value_t = 5)]
    pub(crate) faulty: u32,
    /// Length of each measurement in seconds
    #[arg(long, default_value_t = 30)]
    pub(crate) seconds: u64,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(flatten)]
    pub(crate) video: VideoArgs,
}

pub(super) async fn run(options: &FanOut, output: &Output) -> Result<bool, BenchError> {
    let clip = TestClip::load(options.video.format())?;
    let (harness, _pinned) = options.server.setup().start().await?;
    let options = FanOutOptions {
        sizes: options.destinations.clone(),
        faulty: options.faulty,
        duration: Duration::from_secs(options.seconds),
    };
    let report = measure(&harness, &clip, &options).await?;
    print::fan_out(&report, output)?;
    Ok(report.frames_lost == 0 && report.faults.is_empty())
}
