//! The engine's process; everything is in the library.

use std::process::ExitCode;

use clap::Parser;
use shardcast_engine::{cli::Cli, log};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let log = match log::start(&cli.log, cli.log_format) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("shardcast-engine: {error}");
            return error.exit_code();
        }
    };
    let code = match shardcast_engine::run(&cli.settings()) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error}");
            error.exit_code()
        }
    };
    log.finish();
    code
}
