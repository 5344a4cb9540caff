//! The binary `shardcast`.
#![forbid(unsafe_code)]

use std::{
    io::{self, Write},
    process::ExitCode,
};

use shardcast_control::{
    EXIT_TASK_FAILED, Handle, Settings, Supervisor,
    cli::{Cli, Command, Options},
    doctor, huge_pages, logging, rlimit, serve,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // First, since a page that is huge stays so.
    huge_pages::do_without();
    let (options, with_engine) = match Cli::read().command {
        Command::Run(options) => (options, true),
        Command::Control(options) => (options, false),
        Command::Doctor(options) => return doctor::command::run(&options),
    };
    match start(&options, with_engine) {
        Ok(code) => code,
        Err(error) => {
            // Standard error may be closed.
            let _ = writeln!(io::stderr(), "shardcast: {error}");
            ExitCode::FAILURE
        }
    }
}

type AnyError = Box<dyn std::error::Error>;

fn start(options: &Options, with_engine: bool) -> Result<ExitCode, AnyError> {
    Cli::check_own_environment()?;
    let settings = Settings::load(&options.overrides)?;
    if options.print_config {
        // `| head` closes the pipe before the last line.
        let _ = io::stdout().write_all(settings.to_toml().as_bytes());
        return Ok(ExitCode::SUCCESS);
    }
    let log = logging::start(&settings)?;
    rlimit::raise_descriptors();
    for warning in &settings.warnings {
        tracing::warn!(setting = warning, "a setting has no effect");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(run(settings, with_engine));
    // What still runs has been waited for, or has failed and must not be.
    runtime.shutdown_background();
    log.finish();
    result
}

async fn run(settings: Settings, with_engine: bool) -> Result<ExitCode, AnyError> {
    // Before anything starts, so that an early signal is not lost.
    let mut signals = Signals::listen()?;
    let handle = serve(settings).await?;
    let supervisor = if with_engine {
        Some(handle.supervise()?)
    } else {
        None
    };
    loop {
        tokio::select! {
            request = signals.next() => match request {
                Request::Stop => break,
                Request::Drain => handle.drain(),
            },
            () = handle.drained() => break,
            failure = handle.failed() => {
                tracing::error!("{failure}");
                return Ok(ExitCode::from(EXIT_TASK_FAILED));
            }
        }
    }
    tracing::info!("stopping; a second signal stops at once");
    tokio::select! {
        () = stop(handle, supervisor) => Ok(ExitCode::SUCCESS),
        () = signals.stop() => {
            tracing::warn!("stopped at once");
            // Children that are still there are ended by their own signal handling.
            Ok(ExitCode::FAILURE)
        }
    }
}

/// With an engine of our own everything ends properly; without one, media goes on.
async fn stop(handle: Handle, supervisor: Option<Supervisor>) {
    match supervisor {
        Some(supervisor) => {
            handle.end_broadcasts();
            supervisor.stop().await;
        }
        None => tracing::info!("the engine goes on without this process"),
    }
    handle.stop().await;
    tracing::info!("stopped");
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    /// SIGTERM, SIGINT.
    Stop,
    /// SIGUSR1.
    Drain,
}

/// The signals that this process listens to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    user: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }

    async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.terminate.recv() => Request::Stop,
            _ = self.interrupt.recv() => Request::Stop,
            Some(()) = self.user.recv() => Request::Drain,
        }
    }

    async fn stop(&mut self) {
        while self.next().await != Request::Stop {}
    }
}
