//! `first-frame`: the time until a destination can show a broadcast.

use clap::Args;
use shardcast_bench::{
    BenchError,
    harness::{Harness, HarnessOptions},
    live::first_frame,
    test_clip::TestClip,
};

use super::{Output, VideoArgs};
use crate::print;

#[derive(Debug, Args)]
pub(crate) struct FirstFrame {
    /// Number of runs
    #[arg(long, default_value_t = 10)]
    pub(crate) runs: u32,
    #[command(flatten)]
    pub(crate) video: VideoArgs,
}

pub(super) async fn run(options: &FirstFrame, output: &Output) -> Result<bool, BenchError> {
    let clip = TestClip::load(options.video.format())?;
    let harness = Harness::start(HarnessOptions::default()).await?;
    let report = first_frame(&harness, &clip, options.runs).await?;
    print::first_frame(&report, output)?;
    Ok(true)
}
