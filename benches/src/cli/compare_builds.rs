//! `compare-builds`: two builds of Shardcast in turn.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use shardcast_bench::{
    BenchError,
    compare_builds::{CompareBuildsOptions, compare_builds as measure},
    live::LiveOptions,
    load::{Clips, Ingest, Mix},
};

use super::output::progress;
use super::{CoreArgs, Output, VideoArgs};
use crate::print;

#[derive(Debug, Args)]
pub(crate) struct CompareBuilds {
    /// Executable `shardcast`, or its directory, of the older build
    #[arg(long, value_name = "PATH")]
    pub(crate) before: PathBuf,
    /// The same of the newer build; without it, the one next to this executable
    #[arg(long, value_name = "PATH")]
    pub(crate) after: Option<PathBuf>,
    /// Numbers of broadcasts at the same time
    #[arg(long, value_delimiter = ',', default_value = "1,10,30")]
    pub(crate) broadcasts: Vec<u32>,
    /// Runs of each build with each number
    #[arg(long, default_value_t = 3)]
    pub(crate) runs: u32,
    /// RTMP destinations of each broadcast
    #[arg(long, default_value_t = 1)]
    pub(crate) destinations: u32,
    /// How the broadcasts are published: webrtc or rtmp
    #[arg(long, default_value = "webrtc", value_name = "PROTOCOL")]
    pub(crate) publisher: Ingest,
    /// Length of each measurement in seconds
    #[arg(long, default_value_t = 20)]
    pub(crate) seconds: u64,
    #[command(flatten)]
    pub(crate) cores: CoreArgs,
    #[command(flatten)]
    pub(crate) video: VideoArgs,
}

pub(super) async fn run(options: &CompareBuilds, output: &Output) -> Result<bool, BenchError> {
    let after = match &options.after {
        Some(path) => path.clone(),
        None => beside_this()?,
    };
    let options = CompareBuildsOptions {
        before: options.before.clone(),
        after,
        broadcasts: options.broadcasts.clone(),
        runs: options.runs,
        setup: options.cores.setup(None),
        load: LiveOptions {
            broadcasts: 1,
            mix: Mix::of(options.video.kind(options.destinations)).published_by(options.publisher),
            duration: Duration::from_secs(options.seconds),
        },
    };
    let loads = measure(&Clips::default(), &options, progress).await;
    print::compared(&loads, output)?;
    Ok(loads
        .iter()
        .flat_map(|load| [&load.before, &load.after])
        .all(|build| build.frames_lost == 0 && build.faults.is_empty()))
}

/// The directory of this executable.
fn beside_this() -> Result<PathBuf, BenchError> {
    let own = std::env::current_exe()?;
    Ok(own.parent().map(PathBuf::from).unwrap_or_default())
}
