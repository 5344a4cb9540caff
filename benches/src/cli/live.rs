//! `live`: many broadcasts at once.

use std::time::Duration;

use clap::Args;
use shardcast_bench::{
    BenchError,
    live::{LiveOptions, live as measure},
    test_clip::TestClip,
};

use super::{Output, ServerArgs, VideoArgs};
use crate::print;

#[derive(Debug, Args)]
pub(crate) struct Live {
    /// Broadcasts at the same time
    #[arg(long, default_value_t = 10)]
    pub(crate) broadcasts: u32,
    /// RTMP destinations of each
    #[arg(long, default_value_t = 2)]
    pub(crate) destinations: u32,
    /// Length of the measurement in seconds
    #[arg(long, default_value_t = 60)]
    pub(crate) seconds: u64,
    /// Send no audio
    #[arg(long)]
    pub(crate) no_audio: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(flatten)]
    pub(crate) video: VideoArgs,
}

/// A load with audio; the number of broadcasts comes later.
pub(super) fn load(destinations: u32, seconds: u64, video: &VideoArgs) -> LiveOptions {
    LiveOptions {
        broadcasts: 1,
        destinations,
        duration: Duration::from_secs(seconds),
        audio: true,
        pace: video.pace(),
    }
}

pub(super) async fn run(options: &Live, output: &Output) -> Result<bool, BenchError> {
    let clip = TestClip::load(options.video.format())?;
    let (harness, _pinned) = options.server.setup().start().await?;
    let load = LiveOptions {
        broadcasts: options.broadcasts,
        audio: !options.no_audio,
        ..load(options.destinations, options.seconds, &options.video)
    };
    let report = measure(&harness, &clip, &load).await?;
    print::live(&report, output)?;
    Ok(report.frames_lost == 0 && report.faults.is_empty())
}
