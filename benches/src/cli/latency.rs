//! `latency`: the delay of frames in three states.

use std::time::Duration;

use clap::Args;
use shardcast_bench::{
    BenchError,
    latency::{LatencyOptions, latency as measure, page},
    load::{Ingest, ShowKind, rendition},
};
use shardcast_link::RenditionSpec;

use super::output::progress;
use super::{Output, ServerArgs, VideoArgs};

#[derive(Debug, Args)]
pub(crate) struct Latency {
    /// Broadcasts of half load: half of what `capacity` finds
    #[arg(long, default_value_t = 10)]
    half_load: u32,
    /// Rendition that is encoded beside a broadcast: height, or height and kbit/s as 720p:2500
    #[arg(long, default_value = "720p", value_parser = rendition)]
    rendition: RenditionSpec,
    /// How the broadcasts are published: webrtc, or rtmp with AAC
    #[arg(long, default_value = "webrtc", value_name = "PROTOCOL")]
    publisher: Ingest,
    /// RTMP destinations of each broadcast
    #[arg(long, default_value_t = 1)]
    destinations: u32,
    /// Runs of all states, in turn
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Time of the load before each measurement, in seconds
    #[arg(long, default_value_t = 3)]
    warm_up_seconds: u64,
    /// Length of each measurement in seconds
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    #[command(flatten)]
    pub(super) server: ServerArgs,
    #[command(flatten)]
    video: VideoArgs,
}

pub(super) async fn run(options: &Latency, output: &mut Output) -> Result<bool, BenchError> {
    output.shardcast(options.server.server_bin.as_deref());
    let options = LatencyOptions {
        half_load: options.half_load,
        rendition: options.rendition,
        runs: options.runs,
        setup: options.server.setup(),
        kind: ShowKind {
            publisher: options.publisher,
            ..options.video.kind(options.destinations)
        },
        warm_up: Duration::from_secs(options.warm_up_seconds),
        duration: Duration::from_secs(options.seconds.max(1)),
    };
    let report = measure(&options, progress).await?;
    output.page(&page(&report, &options), &report)?;
    let mut states = report.states.iter();
    Ok(states.all(|one| one.frames_lost == 0 && one.faults.is_empty()))
}
