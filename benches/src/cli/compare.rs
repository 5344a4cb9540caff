//! `compare`: Shardcast and another server in turn.

use std::{path::Path, time::Duration};

use clap::Args;
use shardcast_bench::{
    BenchError,
    compare::{CompareOptions, Ingest, Profile, compare as measure, page},
};

use super::output::{progress, version};
use super::{KindArgs, Output, ServerArgs};

#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// The other server: nginx-rtmp, srs, mediamtx or ant-media
    #[arg(long, default_value = "nginx-rtmp", value_parser = profile)]
    with: Profile,
    /// Its command; {config} is the configuration file that this tool writes, {dir} its folder
    /// [default for nginx-rtmp: Debian's nginx]
    #[arg(long, value_name = "COMMAND")]
    server_cmd: Option<String>,
    /// How it is published to: rtmp or whip [default: whip for srs and mediamtx, rtmp for the others]
    #[arg(long = "in", value_name = "PROTOCOL", value_parser = ingest)]
    ingest: Option<Ingest>,
    /// Numbers of broadcasts at the same time
    #[arg(long, value_delimiter = ',', default_value = "10")]
    broadcasts: Vec<u32>,
    /// Runs of each server with each number, in turn
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Time of the load before each measurement, in seconds
    #[arg(long, default_value_t = 3)]
    warm_up_seconds: u64,
    /// Length of each measurement in seconds
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    #[command(flatten)]
    kind: KindArgs,
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
    let options = CompareOptions {
        profile: options.with,
        ingest: options
            .ingest
            .unwrap_or_else(|| options.with.usual_ingest()),
        command: options.server_cmd.clone(),
        broadcasts: options.broadcasts.clone(),
        mix: options.kind.mix()?,
        runs: options.runs,
        setup: options.server.setup(),
        warm_up: Duration::from_secs(options.warm_up_seconds),
        duration: Duration::from_secs(options.seconds.max(1)),
    };
    let report = measure(&options, progress).await?;
    output.page(&page(&report, &options), &report)?;
    Ok(report.runs.iter().all(|run| run.error.is_none()))
}

fn profile(text: &str) -> Result<Profile, String> {
    let mut all = Profile::ALL.into_iter();
    let found = all.find(|profile| profile.name() == text);
    found.ok_or_else(|| {
        let names = Profile::ALL.map(Profile::name).join(", ");
        format!("'{text}' is not one of {names}")
    })
}

fn ingest(text: &str) -> Result<Ingest, String> {
    match text {
        "rtmp" => Ok(Ingest::Rtmp),
        "whip" => Ok(Ingest::Whip),
        _ => Err(format!("'{text}' is not one of rtmp, whip")),
    }
}
