//! The thread that writes, and the bounded queue in front of it.

use std::{
    fmt,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Instant,
};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use crate::{
    Format, Limiter,
    limits::{
        FINISH, LIBRARY_LINE_BYTES_MAX, LIBRARY_LINES_BURST, LIBRARY_LINES_EVERY, LINE_BYTES_MAX,
        RETRY, WAITING_BYTES_MAX, WAITING_LINES_MAX,
    },
};

static LIBRARIES: Limiter = Limiter::new(LIBRARY_LINES_BURST, LIBRARY_LINES_EVERY);

enum Message {
    Line(Vec<u8>),
    Finish(SyncSender<()>),
}

/// What those who log and the thread that writes have in common.
#[derive(Debug, Default)]
struct Shared {
    waiting_bytes: AtomicUsize,
    /// Lines that were dropped since the last time that their number was written.
    dropped: AtomicU64,
}

/// The running log. [`Log::finish`] before the process ends.
#[derive(Clone, Debug)]
pub struct Log {
    messages: SyncSender<Message>,
}

impl Log {
    /// Writes out what is waiting, for at most half a second.
    pub fn finish(self) {
        let (done, written) = sync_channel(1);
        if self.messages.try_send(Message::Finish(done)).is_ok() {
            // A reader that does not read must not hold the process: the result does not matter.
            let _ = written.recv_timeout(FINISH);
        }
    }
}

/// Starts the thread that writes to `out`. Returns its handle, and where lines are handed in.
pub(crate) fn start(out: impl Write + Send + 'static, format: Format) -> io::Result<(Log, Lines)> {
    let (messages, waiting) = sync_channel(WAITING_LINES_MAX);
    let shared = Arc::new(Shared::default());
    let lines = Lines {
        messages: messages.clone(),
        shared: Arc::clone(&shared),
        most: LINE_BYTES_MAX,
    };
    let mut output = Output {
        out,
        format,
        shared,
        is_torn: false,
    };
    thread::Builder::new()
        .name("log".into())
        .spawn(move || output.run(&waiting))?;
    Ok((Log { messages }, lines))
}

struct Output<W> {
    out: W,
    format: Format,
    shared: Arc<Shared>,
    /// The last line was written in part, so the next one begins behind a line feed.
    is_torn: bool,
}

impl<W: Write> Output<W> {
    fn run(&mut self, waiting: &Receiver<Message>) {
        loop {
            match waiting.recv_timeout(RETRY) {
                Ok(Message::Line(line)) => {
                    self.shared
                        .waiting_bytes
                        .fetch_sub(line.len(), Ordering::Relaxed);
                    if self.write(&line) {
                        self.tell_dropped();
                    } else {
                        self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Ok(Message::Finish(done)) => {
                    self.tell_dropped();
                    let _ = self.out.flush();
                    let _ = done.try_send(());
                }
                // The reader may have gone on, although no new line has come.
                Err(RecvTimeoutError::Timeout) => self.tell_dropped(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn tell_dropped(&mut self) {
        let dropped = self.shared.dropped.swap(0, Ordering::Relaxed);
        if dropped == 0 {
            return;
        }
        let line = match self.format {
            Format::Human => format!("WARN {dropped} log lines were dropped: nobody took them\n"),
            Format::Json => format!("{{\"level\":\"WARN\",\"log_lines_dropped\":{dropped}}}\n"),
        };
        if !self.write(line.as_bytes()) {
            self.shared.dropped.fetch_add(dropped, Ordering::Relaxed);
        }
    }

    /// Whether the whole line was written.
    fn write(&mut self, line: &[u8]) -> bool {
        if self.is_torn && !self.write_piece(b"\n") {
            return false;
        }
        self.is_torn = false;
        self.write_piece(line)
    }

    fn write_piece(&mut self, mut piece: &[u8]) -> bool {
        while !piece.is_empty() {
            match self.out.write(piece) {
                Ok(0) => return false,
                Ok(written) => {
                    self.is_torn = true;
                    piece = piece.get(written..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The reader is gone or its disk is full. Both may pass.
                Err(_) => return false,
            }
        }
        self.is_torn = false;
        true
    }
}

/// Takes lines for the thread. Never waits; lines above the limits are dropped and counted.
#[derive(Clone)]
pub(crate) struct Lines {
    messages: SyncSender<Message>,
    shared: Arc<Shared>,
    /// Longest line, in bytes; 0 drops it.
    most: usize,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

impl Lines {
    fn push(&self, line: Vec<u8>) {
        let bytes = line.len();
        let before = self
            .shared
            .waiting_bytes
            .fetch_add(bytes, Ordering::Relaxed);
        let has_room = before + bytes <= WAITING_BYTES_MAX;
        if !has_room || self.messages.try_send(Message::Line(line)).is_err() {
            self.shared
                .waiting_bytes
                .fetch_sub(bytes, Ordering::Relaxed);
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }

    /// Libraries know nothing of outsiders: what they log at `info` and above is cut and counted.
    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Self {
        let mut lines = self.clone();
        if !event.target().starts_with("shardcast") && *event.level() <= Level::INFO {
            lines.most = match LIBRARIES.admit(Instant::now()) {
                Some(dropped) => {
                    self.shared.dropped.fetch_add(dropped, Ordering::Relaxed);
                    LIBRARY_LINE_BYTES_MAX
                }
                None => 0,
            };
        }
        lines
    }
}

impl Write for Lines {
    /// The formatter writes each event in one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.most > 0 {
            self.push(bounded(line, self.most));
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `line`, or its first `most` bytes.
fn bounded(line: &[u8], most: usize) -> Vec<u8> {
    match line.get(..most) {
        Some(start) if line.len() > most => [start, "…\n".as_bytes()].concat(),
        _ => line.to_vec(),
    }
}

#[cfg(test)]
mod tests;
