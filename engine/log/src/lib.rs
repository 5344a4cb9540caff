//! The log of both processes: lines on standard error, written by a thread of their own.
//!
//! A thread that logs never waits and never fails. The reader of standard error may stop reading, be
//! killed, or write to a disk that is full; lines are dropped then, and their number is logged as
//! soon as it can be. Media and control go on.
#![forbid(unsafe_code)]

mod limiter;
mod limits;
mod outsider;
mod writer;

use std::{
    fs::File,
    io::{self, IsTerminal},
    os::fd::AsFd,
    panic,
};

pub use limiter::Limiter;
pub use outsider::outsider;
use tracing_subscriber::{EnvFilter, util::SubscriberInitExt};
pub use writer::Log;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One readable line for each event.
    Human,
    /// One JSON object for each event.
    Json,
}

/// Why a process cannot log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The operator's fault.
    #[error("the log filter is not one such as `info` or `warn,shardcast_core=debug`: {0}")]
    Filter(String),
    /// The machine's.
    #[error("cannot start the thread of the log: {0}")]
    Thread(io::Error),
    /// A defect: something in this process logs already.
    #[error("cannot start the log: {0}")]
    Twice(String),
}

/// Starts logging for the whole process, panics included. `None` is human on a terminal and JSON
/// otherwise.
///
/// # Errors
/// When `filter` is not a filter, or the thread cannot be started.
pub fn start(filter: &str, format: Option<Format>) -> Result<Log, LogError> {
    let filter = EnvFilter::try_new(filter).map_err(|error| LogError::Filter(error.to_string()))?;
    let terminal = io::stderr().is_terminal();
    let format = format.unwrap_or(match terminal {
        true => Format::Human,
        false => Format::Json,
    });
    // A descriptor of its own: `io::Stderr` has a lock, and other threads that print would wait for it
    // while a reader is stalled.
    let out = io::stderr()
        .as_fd()
        .try_clone_to_owned()
        .map_err(LogError::Thread)?;
    let (log, lines) = writer::start(File::from(out), format).map_err(LogError::Thread)?;
    // Without `log_internal_errors(false)` a failed write ends in `eprintln!`, which panics.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(lines)
        .log_internal_errors(false);
    let started = match format {
        Format::Human => builder.with_ansi(terminal).finish().try_init(),
        Format::Json => builder.json().flatten_event(true).finish().try_init(),
    };
    started.map_err(|error| LogError::Twice(error.to_string()))?;
    panic::set_hook(Box::new(|info| {
        let at = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(at, "panic: {}", panic_text(info.payload()));
    }));
    Ok(log)
}

/// The text of a panic, as far as it has one.
pub fn panic_text(payload: &(dyn std::any::Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "no message"
    }
}
