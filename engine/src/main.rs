//! The engine's process; everything is in the library.

use std::process::ExitCode;

use shardcast_engine::cli::Cli;

fn main() -> ExitCode {
    shardcast_engine::give_memory_back();
    shardcast_engine::run(Cli::read())
}
