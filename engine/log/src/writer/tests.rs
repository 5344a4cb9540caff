//! Whoever logs goes on at once, whatever becomes of the lines; and what was dropped is counted
//! and logged.

use std::{
    sync::{Condvar, Mutex},
    time::Duration,
};

use tracing_subscriber::util::SubscriberInitExt;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// What the reader of the log is like at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    Reads,
    /// It takes so many bytes and no more (a full disk), or has gone (0 bytes).
    Takes(usize),
    /// It neither takes nor refuses anything.
    Stalls,
}

/// The reader, and what it has taken.
type State = Mutex<(Reader, Vec<u8>)>;

#[derive(Clone, Debug)]
struct Pipe(Arc<(State, Condvar)>);

impl Pipe {
    fn new(reader: Reader) -> Self {
        Self(Arc::new((Mutex::new((reader, Vec::new())), Condvar::new())))
    }

    fn becomes(&self, reader: Reader) {
        self.0.0.lock().unwrap().0 = reader;
        self.0.1.notify_all();
    }

    /// What has been written, once it has `text`.
    fn wait_for(&self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let written = String::from_utf8(self.0.0.lock().unwrap().1.clone()).unwrap();
            if written.contains(text) {
                return written;
            }
            assert!(Instant::now() < end, "'{text}' is not in:\n{written}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.0.lock().unwrap();
        while state.0 == Reader::Stalls {
            state = self.0.1.wait(state).unwrap();
        }
        let taken = match state.0 {
            Reader::Takes(0) => return Err(io::ErrorKind::StorageFull.into()),
            Reader::Takes(room) => room.min(bytes.len()),
            _ => bytes.len(),
        };
        if let Reader::Takes(room) = &mut state.0 {
            *room -= taken;
        }
        state.1.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn log(reader: Reader) -> (Pipe, Log, Lines) {
    let pipe = Pipe::new(reader);
    let (log, lines) = start(pipe.clone(), Format::Json).unwrap();
    (pipe, log, lines)
}

fn line(lines: &mut Lines, text: &str) {
    lines.write_all(format!("{text}\n").as_bytes()).unwrap();
}

#[test]
fn lines_come_out_in_order_and_finish_waits_for_them() {
    let (pipe, log, mut lines) = log(Reader::Reads);
    for n in 0..100 {
        line(&mut lines, &n.to_string());
    }
    log.finish();
    let expected: String = (0..100).map(|n| format!("{n}\n")).collect();
    assert_eq!(pipe.wait_for("99"), expected);
}

#[test]
fn a_reader_that_fails_or_stalls_costs_lines_alone_and_their_number_is_logged() {
    for reader in [Reader::Takes(0), Reader::Takes(7), Reader::Stalls] {
        let (pipe, log, mut lines) = log(reader);
        let text = "x".repeat(LINE_BYTES_MAX);
        let begun = Instant::now();
        let count = 3 * WAITING_BYTES_MAX / LINE_BYTES_MAX;
        for _ in 0..count {
            line(&mut lines, &text);
        }
        log.clone().finish();
        assert!(begun.elapsed() < PATIENCE, "{reader:?} holds who logs");
        pipe.becomes(Reader::Reads);
        // Nothing more is logged: the number comes by itself.
        let written = pipe.wait_for("log_lines_dropped");
        let whole = written
            .lines()
            .filter(|line| line.len() > LINE_BYTES_MAX)
            .count();
        let dropped: usize = written
            .lines()
            .filter_map(|line| line.strip_prefix("{\"level\":\"WARN\",\"log_lines_dropped\":"))
            .map(|rest| rest.trim_end_matches('}').parse::<usize>().unwrap())
            .sum();
        assert!(
            dropped > 0 && dropped + whole <= count,
            "{dropped} + {whole}"
        );
        line(&mut lines, "after");
        let written = pipe.wait_for("after");
        assert!(written.lines().any(|line| line == "after"), "{reader:?}");
    }
}

#[test]
fn a_line_that_was_written_in_part_does_not_swallow_the_next() {
    let (pipe, _log, mut lines) = log(Reader::Takes(3));
    line(&mut lines, "torn");
    pipe.wait_for("tor");
    // The writer has to see the refusal before there is room again.
    thread::sleep(Duration::from_millis(50));
    pipe.becomes(Reader::Reads);
    line(&mut lines, "next");
    let written = pipe.wait_for("dropped");
    assert!(written.starts_with("tor\nnext\n"), "{written}");
}

#[test]
fn what_waits_is_bounded_in_bytes_and_a_line_in_length() {
    let (_pipe, _log, mut lines) = log(Reader::Stalls);
    for _ in 0..10 {
        line(&mut lines, &"x".repeat(WAITING_BYTES_MAX));
    }
    let waiting = lines.shared.waiting_bytes.load(Ordering::Relaxed);
    assert!(waiting <= 10 * (LINE_BYTES_MAX + 8), "{waiting}");
    for _ in 0..WAITING_LINES_MAX {
        line(&mut lines, &"x".repeat(LINE_BYTES_MAX));
    }
    let waiting = lines.shared.waiting_bytes.load(Ordering::Relaxed);
    assert!(waiting <= WAITING_BYTES_MAX, "{waiting}");
    assert!(lines.shared.dropped.load(Ordering::Relaxed) > 0);
}

#[test]
fn lines_of_libraries_are_cut_and_counted_and_ours_are_not() {
    let (pipe, log, lines) = log(Reader::Reads);
    let subscriber = tracing_subscriber::fmt()
        .with_writer(lines)
        .with_ansi(false);
    let _guard = subscriber.finish().set_default();
    let words = "x".repeat(2_000);
    let ours = 3 * LIBRARY_LINES_BURST;
    for _ in 0..ours {
        tracing::warn!(target: "str0m::sdp", "{words}");
        tracing::info!(target: "shardcast_control", "ours {words}");
    }
    log.finish();
    let written = pipe.wait_for("ours");
    let longest = |text: &str| {
        let lines = written.lines().filter(|line| line.contains(text));
        (
            lines.clone().count(),
            lines.map(str::len).max().unwrap_or(0),
        )
    };
    let (count, length) = longest("str0m");
    let burst = LIBRARY_LINES_BURST as usize;
    assert!((burst..burst + 20).contains(&count), "{count}");
    assert!(length <= LIBRARY_LINE_BYTES_MAX + 3, "{length}");
    let (count, length) = longest("ours");
    assert!(count == ours as usize && length > words.len());
}
