//! The binary `shardcast-bench`: the measurements of the library on the command line.
#![forbid(unsafe_code)]

mod cli;
mod print;

use std::process::ExitCode;

use clap::Parser;
use shardcast_bench::BenchError;
use tokio::signal::unix::{SignalKind, signal};

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
        Ok(runtime) => runtime.block_on(async {
            let stopped = stopped(cli.command.ends_on_interrupt());
            tokio::select! {
                done = cli.run() => done,
                signal = stopped => Err(BenchError::Stopped { signal }),
            }
        }),
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

/// Waits for a signal that ends a command; its name. The servers that the command has started end with it,
/// because it is dropped and not killed.
async fn stopped(interrupt: bool) -> &'static str {
    let wait = |kind, name, wanted: bool| async move {
        match signal(kind) {
            Ok(mut signal) if wanted => {
                signal.recv().await;
                name
            }
            // A signal that cannot be caught ends the process, as without this function.
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        name = wait(SignalKind::terminate(), "SIGTERM", true) => name,
        name = wait(SignalKind::hangup(), "SIGHUP", true) => name,
        name = wait(SignalKind::interrupt(), "SIGINT", interrupt) => name,
    }
}
