//! Commands and flags of `shardcast`.

use clap::{Args, Parser, Subcommand};

use crate::settings::Overrides;

/// Live streaming: publish once from the browser, send on to many RTMP destinations.
#[derive(Debug, Parser)]
#[command(name = "shardcast", version)]
pub struct Cli {
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
}

/// Flags of both commands. Each setting is a TOML key (with `_`), a variable and a flag; a flag
/// wins over the variable, the variable over the file, the file over the default. Settings of
/// single applications are in `[application.NAME]` tables of the file and win over all for that
/// application.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    pub overrides: Overrides,

    /// Print the settings in force as TOML and exit
    #[arg(long)]
    pub print_config: bool,
}
