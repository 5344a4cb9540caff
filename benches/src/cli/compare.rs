//! `compare`: Shardcast and another server in turn.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use shardcast_bench::{
    BenchError,
    compare::{CompareOptions, Profile, compare as measure, page},
    load::{Ingest, Mix, ShowKind},
};

use super::output::{progress, version};
use super::{Output, ServerArgs, VideoArgs};

#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// The other server: nginx-rtmp, srs, mediamtx or ant-media
    #[arg(long, default_value = "nginx-rtmp", value_parser = profile)]
    with: Profile,
    /// Its command; {config} is the configuration file that this tool writes, {dir} its folder
    /// [default for nginx-rtmp: Debian's nginx]
    #[arg(long, value_name = "COMMAND")]
    server_cmd: Option<String>,
    /// How the other server is published to: rtmp or whip [default: whip for srs and mediamtx, rtmp for the others]
    #[arg(long = "in", value_name = "PROTOCOL")]
    ingest: Option<Ingest>,
    /// How Shardcast is published to: rtmp or webrtc [default: as the other server]
    #[arg(long, value_name = "PROTOCOL")]
    publisher: Option<Ingest>,
    /// Numbers of broadcasts at the same time
    #[arg(long, value_delimiter = ',', default_value = "10")]
    broadcasts: Vec<u32>,
    /// Numbers of RTMP destinations of a broadcast, such as 1,20; each is measured
    #[arg(long, value_delimiter = ',', default_value = "1")]
    destinations: Vec<u32>,
    /// TOML file with kinds of broadcasts and their shares, in place of one kind; both servers are published to
    /// as these options say
    #[arg(long, value_name = "FILE", conflicts_with = "destinations")]
    mix: Option<PathBuf>,
    /// Destinations say in their answer to `connect` that they take Opus
    #[arg(long)]
    opus: bool,
    /// Runs of each server with each size of the load, in turn
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Time of the load before each measurement, in seconds
    #[arg(long, default_value_t = 3)]
    warm_up_seconds: u64,
    /// Length of each measurement in seconds
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    #[command(flatten)]
    video: VideoArgs,
    #[command(flatten)]
    pub(super) server: ServerArgs,
}

pub(super) async fn run(options: &Compare, output: &mut Output) -> Result<bool, BenchError> {
    output.shardcast(options.server.server_bin.as_deref());
    // Of a command that is given, nobody can know how it is asked for its version.
    let other = match &options.server_cmd {
        Some(command) => format!("started by: {command}"),
        None => version(Path::new("nginx"), "-v"),
    };
    output.server(options.with.name(), other);
    let ingest = options
        .ingest
        .unwrap_or_else(|| options.with.usual_ingest());
    let options = CompareOptions {
        profile: options.with,
        ingest,
        ours: options.publisher.unwrap_or(ingest),
        command: options.server_cmd.clone(),
        broadcasts: options.broadcasts.clone(),
        mixes: mixes(options)?,
        runs: options.runs,
        setup: options.server.setup(),
        warm_up: Duration::from_secs(options.warm_up_seconds),
        duration: Duration::from_secs(options.seconds.max(1)),
    };
    let report = measure(&options, progress).await?;
    output.page(&page(&report, &options), &report)?;
    Ok(report.runs.iter().all(|run| run.error.is_none()))
}

fn mixes(options: &Compare) -> Result<Vec<Mix>, BenchError> {
    let kind = |destinations| ShowKind {
        opus: options.opus,
        ..options.video.kind(destinations)
    };
    if let Some(path) = &options.mix {
        return Ok(vec![Mix::read(path, &kind(1))?]);
    }
    let numbers = options.destinations.iter();
    Ok(numbers.map(|number| Mix::of(kind(*number))).collect())
}

fn profile(text: &str) -> Result<Profile, String> {
    let mut all = Profile::ALL.into_iter();
    let found = all.find(|profile| profile.name() == text);
    found.ok_or_else(|| {
        let names = Profile::ALL.map(Profile::name).join(", ");
        format!("'{text}' is not one of {names}")
    })
}
