//! Commands and flags of `shardcast`.

use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use shardcast_link::settings::{
    EngineFlags, UnknownVariables, check_variables, named_variables, with_variables,
};

use crate::settings::Overrides;

/// What stands before the variables of settings.
const VARIABLE_PREFIX: &str = "SHARDCAST_";

/// Flags that are no settings.
const WITHOUT_VARIABLES: [&str; 5] = ["print_config", "json", "offline", "strict", "root"];

/// Live streaming: publish once from the browser, send on to many RTMP destinations.
#[derive(Debug, Parser)]
#[command(name = "shardcast", version)]
pub struct Cli {
    /// What to run.
    #[command(subcommand)]
    pub command: Command,
}

/// What to run.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the whole product: the control process and a supervised engine on this machine
    Run(Options),
    /// Run the control process alone; it finds running engines by their sockets
    Control(Options),
    /// Look at this machine and say what is right, what costs something, and the command that mends it.
    /// Exit code: 0 no fault, 1 a fault, 2 wrong usage, 3 a warning with --strict
    Doctor(DoctorOptions),
}

/// Flags of `shardcast doctor`: the settings, as the server is started with, and what is printed.
#[derive(Debug, Args)]
pub struct DoctorOptions {
    /// The settings.
    #[command(flatten)]
    pub overrides: Overrides,

    /// Print JSON
    #[arg(long)]
    pub json: bool,

    /// Call neither the platforms nor a STUN server
    #[arg(long)]
    pub offline: bool,

    /// End with code 3 when there are warnings and no fault
    #[arg(long)]
    pub strict: bool,

    /// Read the machine below this directory instead of this one: /proc, /sys, programs and files of
    /// settings. Nothing is tried; probe.json there is what an engine would have found
    #[arg(long, value_name = "DIR", hide = true)]
    pub root: Option<PathBuf>,
}

/// Flags of both commands. Each setting is a TOML key (with `_`), a variable and a flag; a flag
/// wins over the variable, the variable over the file, the file over the default. Settings of
/// single applications are in `[application.NAME]` tables of the file and win over all for that
/// application.
#[derive(Debug, Args)]
pub struct Options {
    /// The settings.
    #[command(flatten)]
    pub overrides: Overrides,

    /// Print the settings in force as TOML and exit
    #[arg(long)]
    pub print_config: bool,
}

impl Cli {
    /// The command line of `shardcast`, with a variable for each setting.
    fn command_with_variables() -> clap::Command {
        with_variables(Self::command(), VARIABLE_PREFIX, &WITHOUT_VARIABLES)
    }

    /// Reads the command line and the environment. Ends the process when they are wrong, or ask for
    /// help or the version.
    pub fn read() -> Self {
        let mut command = Self::command_with_variables();
        let matches = command.get_matches_mut();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit())
    }

    /// [`Self::check_environment`] for the environment of this process.
    ///
    /// # Errors
    /// Names those that are none.
    pub fn check_own_environment() -> Result<(), UnknownVariables> {
        // Those whose names are no text are none of ours.
        Self::check_environment(std::env::vars_os().filter_map(|(name, value)| {
            let value = value.to_string_lossy().into_owned();
            Some((name.into_string().ok()?, value))
        }))
    }

    /// Whether all variables of `environment` that begin like ours are settings, of this process or of
    /// the engine that it starts. Each variable is a name and its value.
    ///
    /// # Errors
    /// Names those that are none.
    pub fn check_environment(
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), UnknownVariables> {
        let mut known = named_variables(&Self::command_with_variables());
        known.extend(named_variables(&EngineFlags::command_with_variables()));
        check_variables(environment, VARIABLE_PREFIX, &known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str) -> Result<(), UnknownVariables> {
        Cli::check_environment([(name.to_owned(), String::new())])
    }

    #[test]
    fn the_flags_are_consistent() {
        Cli::command_with_variables().debug_assert();
    }

    #[test]
    fn variables_of_both_programs_are_settings() {
        for name in [
            "SHARDCAST_CONFIG",
            "SHARDCAST_HTTP_PORT",
            "SHARDCAST_UDP_PORT_BASE",
            "SHARDCAST_RTMPS_CA_FILE",
            "SHARDCAST_WEBRTC_CLIENT_START_TIMEOUT_MS",
            "SHARDCAST_ENGINE_PATH",
            "SHARDCAST_ENGINE_CODECS_INLINE",
            "SHARDCAST_ENGINE_CA_FILE",
        ] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        assert!(check("SHARDCAST_PRINT_CONFIG").is_err());
    }

    #[test]
    fn a_misspelt_restriction_is_told_with_the_one_that_was_meant() {
        for (name, meant) in [
            (
                "SHARDCAST_REMOTE_ALLOWED_CIDRS",
                "SHARDCAST_REMOTE_ALLOWED_CIDR",
            ),
            (
                "SHARDCAST_PUBLISH_TOKEN_CONTROL",
                "SHARDCAST_PUBLISH_TOKEN_CONTROL_ENABLED",
            ),
            ("SHARDCAST_DESTINATION_DNEY", "SHARDCAST_DESTINATION_DENY"),
        ] {
            let text = check(name).unwrap_err().to_string();
            let wanted = format!("{name}: did you mean {meant}?");
            assert!(text.contains(&wanted), "{text}");
        }
    }
}
