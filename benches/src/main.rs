//! The binary `shardcast-bench`: the measurements of the library on the command line.
#![forbid(unsafe_code)]

mod cli;
mod print;

use std::process::ExitCode;

use clap::Parser;

use cli::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Publishers and sinks leave the rest of the machine to the server.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cli.command.generator_threads())
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(cli.run()),
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        // The measurement was made, and frames were lost or a stream had defects.
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            eprintln!("shardcast-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
