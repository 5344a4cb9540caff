//! The command line of `shardcast-engine`. Control writes one and the engine reads it.

use std::{ffi::OsString, net::IpAddr, path::PathBuf};

use clap::{CommandFactory, FromArgMatches, Parser, ValueEnum};
use serde::{Deserialize, Serialize};

use super::{engine::EngineSettings, variables::with_variables};

/// What stands before the variables of an engine.
const VARIABLE_PREFIX: &str = "SHARDCAST_ENGINE_";

/// The media engine of Shardcast: one shard per core, commanded over Unix sockets.
#[derive(Clone, Debug, Parser)]
#[command(name = "shardcast-engine", version)]
pub struct EngineFlags {
    /// Directory of the link sockets (`shard-<n>.sock`); made when missing, owned by one engine
    #[arg(long, value_name = "DIR")]
    pub link_dir: PathBuf,

    /// Address to receive media on; `::` takes IPv4 and IPv6 [default: ::, or 0.0.0.0 without IPv6]
    #[arg(long, value_name = "ADDRESS")]
    pub bind: Option<IpAddr>,

    /// What control can set too.
    #[command(flatten)]
    pub engine: EngineSettings,

    /// Decode and encode on the threads that move packets, which are late then: for measurements
    #[arg(long, conflicts_with = "codec_cores")]
    pub codecs_inline: bool,

    /// What to log, such as `info` or `shardcast_core=debug,info`
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub log: String,

    /// How to log; default: human on a terminal, JSON otherwise
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// Try what this machine allows, print it as JSON and exit: for `shardcast doctor`
    #[arg(long, value_name = "HOW", hide = true)]
    pub probe: Option<ProbeKind>,
}

/// How far a probe goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProbeKind {
    /// Nothing leaves this machine
    Offline,
    /// The known platforms are called too
    Online,
}

impl ProbeKind {
    /// The word that the flag has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Online => "online",
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One readable line for each event
    Human,
    /// One JSON object for each event
    Json,
}

impl LogFormat {
    /// The word that flags and settings files have for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Json => "json",
        }
    }
}

impl EngineFlags {
    /// The command line of the engine, with a variable for each flag.
    pub fn command_with_variables() -> clap::Command {
        let command = Self::command()
            .mut_arg("shards", |argument| {
                argument.value_parser(clap::value_parser!(u16).range(1..))
            })
            .mut_arg("rtmps_ca_file", |argument| {
                argument.long("ca-file").env("SHARDCAST_ENGINE_CA_FILE")
            });
        with_variables(command, VARIABLE_PREFIX, &["probe"])
    }

    /// Reads `arguments`, the program's name first, and the variables.
    ///
    /// # Errors
    /// When they are wrong, or ask for help or the version.
    pub fn parse_from_arguments(
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, clap::Error> {
        let mut command = Self::command_with_variables();
        let matches = command.try_get_matches_from_mut(arguments)?;
        Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &[&str]) -> Result<EngineFlags, clap::Error> {
        let start = ["shardcast-engine", "--link-dir=x"];
        let arguments = start.iter().chain(flags).map(OsString::from);
        EngineFlags::parse_from_arguments(arguments)
    }

    #[test]
    fn the_flags_are_consistent() {
        EngineFlags::command_with_variables().debug_assert();
    }

    #[test]
    fn lists_are_separated_by_commas() {
        let flags = [
            "--cores=0,1",
            "--codec-cores=2,5",
            "--advertise=192.0.2.1,2001:db8::1",
        ];
        let engine = parse(&flags).unwrap().engine;
        assert_eq!(engine.advertise().len(), 2);
        assert_eq!((engine.cores, engine.codec_cores), (vec![0, 1], vec![2, 5]));
    }

    #[test]
    fn video_is_re_encoded_unless_that_is_switched_off() {
        let enabled = |flags: &[&str]| parse(flags).unwrap().engine.reencode_enabled();
        assert!(enabled(&[]) && enabled(&["--reencode-enabled"]));
        assert!(!enabled(&["--reencode-enabled=false"]));
    }

    #[test]
    fn no_shards_is_refused() {
        assert!(parse(&["--shards=0"]).is_err());
    }
}
