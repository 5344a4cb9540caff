//! The link to control: a Unix socket per shard, one control process at a time.
//!
//! A newer connection replaces the older one, so that a control process that hangs cannot keep its
//! successor out. Events are dropped while no control process is connected: the next one is sent
//! the whole state with its hello.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fs,
    future::Future,
    io,
    panic::AssertUnwindSafe,
    path::Path,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes, BytesMut};
use futures_lite::{AsyncRead, AsyncWrite, FutureExt, future::poll_fn};
use glommio::{
    net::{UnixListener, UnixStream},
    timer::sleep,
};
use shardcast_link::{
    Command, Event, Report,
    frame::{self, FrameError},
};
use shardcast_log::Limiter;

use crate::{
    completions::{Completions, Notifier},
    limits::{LINK_QUEUE_BYTES_MAX, LINK_READ_BYTES},
    os::host,
};

static SKIPPED: Limiter = Limiter::refusals();
static NOT_SENT: Limiter = Limiter::refusals();

struct Frame {
    bytes: Bytes,
    is_status: bool,
}

/// Events on their way to control.
#[derive(Default)]
struct EventQueue {
    /// Counts connections; a task whose number is not this one has been replaced.
    generation: u64,
    connected: bool,
    frames: VecDeque<Frame>,
    bytes: usize,
    /// A report that is sent in parts, each once control has read the part before it.
    report: Option<Report>,
    /// The newest report that came meanwhile.
    next_report: Option<Report>,
    /// The first frame has been written in part and must be finished.
    begun: bool,
    overflowed: bool,
    waker: Option<Waker>,
}

impl EventQueue {
    fn push(&mut self, event: Event) {
        if !self.connected || self.overflowed {
            return;
        }
        match event {
            Event::Status(status) if !Report::fits_one_event(&status) => {
                let report = Report::new(status);
                match self.report {
                    // Control reads slowly: it is sent one report to its end, then the newest.
                    Some(_) => self.next_report = Some(report),
                    None => self.report = Some(report),
                }
            }
            Event::Status(_) => {
                // A newer status replaces an older one.
                (self.report, self.next_report) = (None, None);
                self.drop_statuses();
                self.push_frame(&event, true);
            }
            _ => {
                self.push_frame(&event, false);
            }
        }
    }

    /// Returns whether the event could be encoded.
    fn push_frame(&mut self, event: &Event, is_status: bool) -> bool {
        let mut bytes = BytesMut::new();
        if let Err(error) = frame::encode(event, &mut bytes) {
            if let Some(left_out) = NOT_SENT.admit(Instant::now()) {
                tracing::error!(left_out, "an event cannot be sent: {error}");
            }
            return false;
        }
        self.bytes += bytes.len();
        self.frames.push_back(Frame {
            bytes: bytes.freeze(),
            is_status,
        });
        self.bound();
        true
    }

    /// Encodes the next part of a report once everything before it is written.
    fn push_part(&mut self) {
        let Some(report) = self.report.as_mut().filter(|_| self.frames.is_empty()) else {
            return;
        };
        let mut event = report.next_event();
        if matches!(event, Event::Status(_)) {
            self.report = self.next_report.take();
        }
        if !self.push_frame(&event, true) {
            // What control must know is that these broadcasts are there.
            event.strip();
            self.push_frame(&event, true);
        }
    }

    /// Lets the connection's task write, if there is something.
    fn wake(&mut self) {
        if !self.is_empty() || self.overflowed {
            self.wake_task();
        }
    }

    fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.report.is_none()
    }

    /// A new connection; its number. Whatever was meant for the one before is dropped.
    fn open(&mut self) -> u64 {
        self.clear();
        self.connected = true;
        self.generation += 1;
        self.wake_task();
        self.generation
    }

    fn close(&mut self, generation: u64) {
        if self.generation == generation {
            self.clear();
            self.connected = false;
        }
    }

    fn clear(&mut self) {
        self.frames.clear();
        (self.report, self.next_report) = (None, None);
        self.bytes = 0;
        self.begun = false;
        self.overflowed = false;
    }

    fn drop_statuses(&mut self) {
        let keep_first = self.begun;
        let mut index = 0;
        let mut bytes = 0;
        self.frames.retain(|frame| {
            let keep = !frame.is_status || (keep_first && index == 0);
            index += 1;
            bytes += if keep { frame.bytes.len() } else { 0 };
            keep
        });
        self.bytes = bytes;
    }

    fn bound(&mut self) {
        if self.bytes > LINK_QUEUE_BYTES_MAX {
            self.drop_statuses();
        }
        if self.bytes > LINK_QUEUE_BYTES_MAX {
            self.overflowed = true;
        }
    }

    fn wake_task(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, stream: &mut UnixStream) -> io::Result<()> {
        loop {
            self.push_part();
            let Some(front) = self.frames.front_mut() else {
                break;
            };
            let Poll::Ready(result) = Pin::new(&mut *stream).poll_write(cx, &front.bytes) else {
                break;
            };
            let written = result?;
            self.bytes = self.bytes.saturating_sub(written);
            self.begun = written < front.bytes.len();
            if self.begun {
                front.bytes.advance(written);
            } else {
                self.frames.pop_front();
            }
        }
        Ok(())
    }
}

/// The link of a shard, as the driver has it.
pub(crate) struct LinkServer {
    events: Rc<RefCell<EventQueue>>,
    /// Connections that were made and are not served yet.
    connections: Completions<UnixStream>,
    commands: Completions<Command>,
}

impl LinkServer {
    pub(crate) fn new(notifier: Notifier) -> Self {
        Self {
            events: Rc::default(),
            connections: Completions::new(notifier.clone()),
            commands: Completions::new(notifier),
        }
    }

    /// Takes connections for as long as the shard lives; the next one once the driver has taken this
    /// one.
    pub(crate) fn accept(&self, listener: UnixListener) -> impl Future<Output = ()> + use<> {
        let connections = self.connections.clone();
        async move {
            loop {
                match listener.accept().await {
                    Ok(stream) => connections.hand_over(stream).await,
                    Err(error) => {
                        tracing::warn!("accepting control failed: {error}");
                        sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        }
    }

    /// The next command of control.
    pub(crate) fn command(&self) -> Option<Command> {
        self.commands.take()
    }

    /// Whether a control process has connected since the last call. It is served from now on, and the
    /// one before it no longer.
    pub(crate) fn connect(&self) -> bool {
        let Some(stream) = self.connections.take() else {
            return false;
        };
        let generation = self.events.borrow_mut().open();
        tracing::info!("control is connected");
        let connection = Connection {
            generation,
            events: Rc::clone(&self.events),
            commands: self.commands.clone(),
        };
        glommio::spawn_local(async move {
            let served = AssertUnwindSafe(connection.serve(stream))
                .catch_unwind()
                .await;
            connection.events.borrow_mut().close(generation);
            match served {
                Ok(why) => tracing::info!("control is disconnected: {why}"),
                Err(_) => tracing::error!("the task of the link panicked"),
            }
        })
        .detach();
        true
    }

    /// Queues an event for control, if one is connected; [`Self::wake`] has it sent.
    pub(crate) fn push(&self, event: Event) {
        self.events.borrow_mut().push(event);
    }

    /// Lets the connection's task write, if there is something.
    pub(crate) fn wake(&self) {
        self.events.borrow_mut().wake();
    }

    /// Whether nothing waits to be sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.events.borrow().is_empty()
    }
}

/// Listens at `path` (mode 0600).
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(io::Error::from)?;
    host::make_private(path)?;
    Ok(listener)
}

enum Step {
    Received(usize),
    Ended(String),
}

/// One control process, as its task has it.
struct Connection {
    generation: u64,
    events: Rc<RefCell<EventQueue>>,
    commands: Completions<Command>,
}

impl Connection {
    /// Serves it to its end; why it ended.
    async fn serve(&self, mut stream: UnixStream) -> String {
        let mut chunk = vec![0; LINK_READ_BYTES];
        let mut inbox = frame::Decoder::default();
        loop {
            match poll_fn(|cx| self.poll_step(&mut stream, &mut chunk, cx)).await {
                Step::Received(length) => {
                    inbox
                        .buffer()
                        .extend_from_slice(chunk.get(..length).unwrap_or_default());
                    if let Err(error) = self.push_commands(&mut inbox) {
                        return error.to_string();
                    }
                    // Nothing more is read before, so what waits is what one read brought.
                    self.commands.taken().await;
                }
                Step::Ended(why) => return why,
            }
            glommio::yield_if_needed().await;
        }
    }

    fn poll_step(
        &self,
        stream: &mut UnixStream,
        chunk: &mut [u8],
        cx: &mut Context<'_>,
    ) -> Poll<Step> {
        let mut events = self.events.borrow_mut();
        if events.generation != self.generation {
            return Poll::Ready(Step::Ended("another one has connected".into()));
        }
        if events.overflowed {
            return Poll::Ready(Step::Ended("it does not read its events".into()));
        }
        if let Err(error) = events.poll_write(cx, stream) {
            return Poll::Ready(Step::Ended(error.to_string()));
        }
        events.waker = Some(cx.waker().clone());
        Pin::new(stream)
            .poll_read(cx, chunk)
            .map(|result| match result {
                Ok(0) => Step::Ended("it closed the connection".into()),
                Ok(length) => Step::Received(length),
                Err(error) => Step::Ended(error.to_string()),
            })
    }

    /// Passes on the commands that are whole.
    fn push_commands(&self, inbox: &mut frame::Decoder) -> Result<(), FrameError> {
        loop {
            match inbox.next_message::<Command>() {
                Ok(Some(command)) => self.commands.push(command),
                Ok(None) => return Ok(()),
                Err(error @ FrameError::NotFrames(_)) => return Err(error),
                // From a newer control perhaps; the frame is consumed, the next may be known.
                Err(error) => {
                    if let Some(left_out) = SKIPPED.admit(Instant::now()) {
                        tracing::warn!(left_out, "a command is skipped: {error}");
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use shardcast_link::{BroadcastId, EndReason, SessionId, ShardStatus};

    use super::*;

    fn ended() -> Event {
        Event::Ended {
            session: SessionId("s".into()),
            broadcast: BroadcastId::new("app", "one").unwrap(),
            reason: EndReason::Lost,
        }
    }

    #[test]
    fn a_status_that_was_not_read_is_replaced_by_the_next_and_events_stay_in_order() {
        let mut queue = EventQueue::default();
        queue.open();
        for event in [ended(), Event::Status(ShardStatus::default()), ended()] {
            queue.push(event);
        }
        let newest = ShardStatus {
            at_unix_ms: 7,
            ..ShardStatus::default()
        };
        queue.push(Event::Status(newest.clone()));
        let mut all = BytesMut::new();
        queue
            .frames
            .iter()
            .for_each(|frame| all.extend_from_slice(&frame.bytes));
        assert_eq!(all.len(), queue.bytes);
        for expected in [ended(), ended(), Event::Status(newest)] {
            assert_eq!(frame::decode::<Event>(&mut all).unwrap(), Some(expected));
        }
    }

    #[test]
    fn a_status_that_is_written_in_part_is_finished() {
        let mut queue = EventQueue::default();
        queue.open();
        queue.push(Event::Status(ShardStatus::default()));
        queue.begun = true;
        queue.push(Event::Status(ShardStatus::default()));
        assert_eq!(queue.frames.len(), 2);
        queue.begun = false;
        queue.push(Event::Status(ShardStatus::default()));
        assert_eq!(queue.frames.len(), 1);
    }

    #[test]
    fn events_for_a_control_that_does_not_read_are_bounded() {
        let mut queue = EventQueue::default();
        queue.open();
        let size = {
            queue.push(ended());
            queue.bytes
        };
        for _ in 0..LINK_QUEUE_BYTES_MAX / size + 2 {
            queue.push(ended());
        }
        assert!(queue.overflowed);
        assert!(queue.bytes <= LINK_QUEUE_BYTES_MAX + size);
        queue.open();
        assert!(queue.is_empty() && !queue.overflowed);
    }

    #[test]
    fn nothing_is_kept_without_a_connection() {
        let mut queue = EventQueue::default();
        queue.push(ended());
        assert!(queue.is_empty());
    }
}
