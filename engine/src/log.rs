//! Log lines to stderr, through a thread, so that a shard never waits for the reader of them.
//!
//! The reader may stop reading or be killed (the control process that started the engine); the
//! engine goes on then, and lines are lost rather than media.

use std::{
    io::{self, IsTerminal, Write},
    panic,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter, util::SubscriberInitExt};

use crate::{cli::LogFormat, error::EngineError, limits::LOG_LINES_WAITING_MAX};

enum Message {
    Line(Vec<u8>),
    Finish(SyncSender<()>),
}

/// The running log. [`Log::finish`] before the process ends.
#[derive(Debug)]
pub(crate) struct Log {
    lines: SyncSender<Message>,
}

impl Log {
    /// Writes out what is waiting, for at most half a second.
    pub(crate) fn finish(self) {
        let (done, written) = sync_channel(1);
        if self.lines.try_send(Message::Finish(done)).is_ok() {
            // A reader that does not read must not hold the process: the result does not matter.
            let _ = written.recv_timeout(Duration::from_millis(500));
        }
    }
}

/// Starts logging for the whole process, panics included.
///
/// # Errors
/// When `filter` is not a filter, or the thread cannot be started.
pub(crate) fn start(filter: &str, format: Option<LogFormat>) -> Result<Log, EngineError> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        EngineError::Settings(format!("--log is not a filter such as `info`: {error}"))
    })?;
    let (lines, waiting) = sync_channel(LOG_LINES_WAITING_MAX);
    let lost = Arc::new(AtomicU64::new(0));
    let writer = LineWriter {
        lines: lines.clone(),
        lost: Arc::clone(&lost),
    };
    thread::Builder::new()
        .name("log".into())
        .spawn(move || write_lines(&waiting, &lost))
        .map_err(|source| EngineError::System {
            what: "cannot start the log thread",
            source,
        })?;

    let human = match format {
        Some(format) => format == LogFormat::Human,
        None => io::stderr().is_terminal(),
    };
    // Without `log_internal_errors(false)` a failed write ends in `eprintln!`, which panics.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .log_internal_errors(false);
    let started = if human {
        builder
            .with_ansi(io::stderr().is_terminal())
            .finish()
            .try_init()
    } else {
        builder.json().flatten_event(true).finish().try_init()
    };
    started.map_err(|error| EngineError::Settings(format!("cannot start the log: {error}")))?;
    panic::set_hook(Box::new(|info| {
        let at = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(at, "panic: {}", panic_words(info.payload()));
    }));
    Ok(Log { lines })
}

/// The text of a panic, as far as it has one.
pub(crate) fn panic_words(payload: &(dyn std::any::Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "no message"
    }
}

fn write_lines(waiting: &Receiver<Message>, lost: &AtomicU64) {
    let mut stderr = io::stderr();
    while let Ok(message) = waiting.recv() {
        match message {
            Message::Line(line) => {
                // Nobody is left to be told that stderr is gone.
                let _ = stderr.write_all(&line);
                let lost = lost.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    let _ = writeln!(stderr, "{{\"level\":\"WARN\",\"log_lines_lost\":{lost}}}");
                }
            }
            Message::Finish(done) => {
                let _ = stderr.flush();
                let _ = done.try_send(());
            }
        }
    }
}

#[derive(Clone, Debug)]
struct LineWriter {
    lines: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

impl<'a> MakeWriter<'a> for LineWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for LineWriter {
    /// The formatter writes each event in one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.try_send(Message::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
