//! The engine's process; everything is in the library.

use std::process::ExitCode;

use clap::Parser;
use shardcast_engine::cli::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    shardcast_engine::run(Cli::parse())
}
