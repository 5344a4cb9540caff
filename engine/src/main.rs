//! The engine's process; everything is in the library.

use std::process::ExitCode;

use shardcast_engine::cli::Cli;

fn main() -> ExitCode {
    shardcast_engine::prepare_memory();
    shardcast_engine::run(Cli::read())
}
