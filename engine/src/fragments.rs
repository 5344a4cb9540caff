//! Hands the parts of HLS, and previews, to control ([`shardcast_link::fragment`]).
//!
//! Shards put them into one bounded queue and never wait; one thread writes them to the control process that has
//! connected last. What does not fit is left out, which control sees by its number, and a control that reads
//! nothing is let go. Parts share their payload with the rings, so they are copied once, into the socket.

use std::{
    fs,
    io::{self, IoSlice, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use shardcast_core::io::{Fragment, Preview};
use shardcast_link::fragment::{FragmentFrameError, encode_head, encode_preview_head};
use shardcast_log::Limiter;

use crate::os::host;

static LEFT_OUT: Limiter = Limiter::refusals();
static FAILED: Limiter = Limiter::refusals();

/// Parts that wait: ten seconds of a hundred broadcasts.
const PARTS_MAX: usize = 4_096;
/// Bytes of them: ten seconds of 50 Mbit/s. They are kept in memory for longer than the rings would.
const BYTES_MAX: usize = 64 << 20;
/// Control takes a part within this, or is let go.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often is looked for another control while there is nothing to write.
const LOOK: Duration = Duration::from_millis(250);
/// Slices of one write (`IOV_MAX` is 1,024).
const SLICES_MAX: usize = 256;

/// Where shards put parts.
#[derive(Clone, Debug)]
pub struct FragmentQueue {
    sender: SyncSender<HandOver>,
    state: Arc<State>,
}

/// What waits to be written.
#[derive(Debug)]
enum HandOver {
    Part(Fragment),
    /// In a box: there are few of them.
    Preview(Box<Preview>),
}

impl HandOver {
    fn len(&self) -> usize {
        match self {
            Self::Part(part) => part.len(),
            Self::Preview(preview) => preview.file.len(),
        }
    }

    fn head(&self) -> Result<Bytes, FragmentFrameError> {
        match self {
            Self::Part(part) => encode_head(&part.head, part.len()),
            Self::Preview(preview) => encode_preview_head(&preview.head, preview.file.len()),
        }
    }

    fn slices(&self) -> &[Bytes] {
        match self {
            Self::Part(part) => &part.slices,
            Self::Preview(preview) => std::slice::from_ref(&preview.file),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    connected: AtomicBool,
    /// Of the parts that wait.
    bytes: AtomicUsize,
}

impl FragmentQueue {
    /// A queue that control reads from the Unix socket `path` (mode 0600), for as long as the process lives.
    ///
    /// # Errors
    /// When the socket cannot be bound, or the thread cannot be started.
    pub(crate) fn listen(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        host::make_private(path)?;
        let (queue, parts) = Self::new();
        let state = Arc::clone(&queue.state);
        let writer = Writer { parts, state };
        thread::Builder::new()
            .name("fragments".into())
            .spawn(move || writer.serve(&listener))?;
        Ok(queue)
    }

    fn new() -> (Self, Receiver<HandOver>) {
        let (sender, parts) = sync_channel(PARTS_MAX);
        let state = Arc::default();
        (Self { sender, state }, parts)
    }

    /// One that nobody reads, for tests of a driver.
    pub fn unread() -> Self {
        Self::new().0
    }

    /// Queues a part, if a control process reads them and there is room.
    pub(crate) fn push(&self, part: Fragment) {
        self.push_any(HandOver::Part(part));
    }

    /// Queues a preview likewise.
    pub(crate) fn push_preview(&self, preview: Preview) {
        self.push_any(HandOver::Preview(Box::new(preview)));
    }

    fn push_any(&self, part: HandOver) {
        if !self.state.connected.load(Ordering::Relaxed) {
            return;
        }
        let bytes = part.len();
        let before = self.state.bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = before + bytes <= BYTES_MAX;
        if fits && self.sender.try_send(part).is_ok() {
            return;
        }
        self.state.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(left_out) = LEFT_OUT.admit(Instant::now()) {
            tracing::warn!(
                left_out,
                "a part of HLS is left out: control reads them too slowly"
            );
        }
    }
}

/// The thread's side.
struct Writer {
    parts: Receiver<HandOver>,
    state: Arc<State>,
}

impl Writer {
    fn serve(&self, listener: &UnixListener) {
        let mut next = None;
        loop {
            let stream = match next.take() {
                Some(stream) => Ok(stream),
                None => wait_for(listener),
            };
            let written = stream.and_then(|stream| {
                self.state.connected.store(true, Ordering::Relaxed);
                self.write_all(listener, stream)
            });
            self.state.connected.store(false, Ordering::Relaxed);
            // What was meant for the one before is of no use to the next.
            while self.take(Duration::ZERO).is_ok() {}
            match written {
                Ok(newer) => next = Some(newer),
                Err(error) => {
                    if let Some(left_out) = FAILED.admit(Instant::now()) {
                        tracing::info!(left_out, "control reads no parts of HLS any more: {error}");
                    }
                    thread::sleep(Duration::from_millis(10));
                }
            }
        }
    }

    /// Writes parts until another control process connects, which is given back.
    fn write_all(&self, listener: &UnixListener, mut stream: UnixStream) -> io::Result<UnixStream> {
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut looked = Instant::now();
        loop {
            match self.take(LOOK) {
                Ok(part) => write_part(&mut stream, &part)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(io::Error::other("no shard is left"));
                }
            }
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                if let Some(newer) = look_for(listener)? {
                    return Ok(newer);
                }
                if has_closed(&stream) {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
            }
        }
    }

    fn take(&self, patience: Duration) -> Result<HandOver, RecvTimeoutError> {
        let part = self.parts.recv_timeout(patience)?;
        self.state.bytes.fetch_sub(part.len(), Ordering::Relaxed);
        Ok(part)
    }
}

fn wait_for(listener: &UnixListener) -> io::Result<UnixStream> {
    listener.set_nonblocking(false)?;
    listener.accept().map(|(stream, _)| stream)
}

fn look_for(listener: &UnixListener) -> io::Result<Option<UnixStream>> {
    listener.set_nonblocking(true)?;
    match listener.accept() {
        Ok((stream, _)) => {
            stream.set_nonblocking(false)?;
            Ok(Some(stream))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Control sends nothing, so what can be read is its end.
fn has_closed(stream: &UnixStream) -> bool {
    let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
    let mut byte = [0; 1];
    let closed = rustix::net::recv(stream, &mut byte, flags).map(|(length, _)| length == 0);
    match closed {
        Ok(closed) => closed,
        Err(error) => error != rustix::io::Errno::AGAIN && error != rustix::io::Errno::INTR,
    }
}

fn write_part(stream: &mut UnixStream, part: &HandOver) -> io::Result<()> {
    let head = match part.head() {
        Ok(head) => head,
        Err(error) => {
            tracing::error!("a part of HLS cannot be sent: {error}");
            return Ok(());
        }
    };
    let mut slices: Vec<&Bytes> = Vec::with_capacity(1 + part.slices().len());
    slices.push(&head);
    slices.extend(part.slices());
    for some in slices.chunks(SLICES_MAX) {
        let mut slices: Vec<IoSlice<'_>> = some.iter().map(|slice| IoSlice::new(slice)).collect();
        write_slices(stream, &mut slices)?;
    }
    Ok(())
}

fn write_slices(stream: &mut UnixStream, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    // Takes empty slices off the front.
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match stream.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use shardcast_link::{
        BroadcastId,
        fragment::{FragmentHead, LENGTHS_BYTES, Lengths, decode_head},
    };

    use super::*;

    fn part(segment: u64, bytes: usize) -> Fragment {
        let head = FragmentHead {
            broadcast: BroadcastId::new("app", "one").unwrap(),
            rung: None,
            segment,
            part: 0,
            duration_us: 300_000,
            independent: true,
            last: false,
            begins: None,
            ends: false,
        };
        let half = Bytes::from(vec![7; bytes / 2]);
        let slices = vec![half.clone(), Bytes::new(), half];
        Fragment { head, slices }
    }

    fn read(stream: &mut UnixStream) -> (u64, usize) {
        let mut lengths = [0; LENGTHS_BYTES];
        stream.read_exact(&mut lengths).unwrap();
        let lengths = Lengths::read(lengths).unwrap();
        let mut head = vec![0; lengths.head];
        stream.read_exact(&mut head).unwrap();
        let mut body = vec![0; lengths.body];
        stream.read_exact(&mut body).unwrap();
        assert!(body.iter().all(|byte| *byte == 7));
        (decode_head(&head).unwrap().segment, body.len())
    }

    fn has_part(stream: &UnixStream) -> bool {
        let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
        rustix::net::recv(stream, &mut [0; 1], flags).is_ok_and(|(length, _)| length > 0)
    }

    fn wait(mut until: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !until() {
            assert!(Instant::now() < deadline, "it never came");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn wait_until(queue: &FragmentQueue, connected: bool) {
        wait(|| queue.state.connected.load(Ordering::Relaxed) == connected);
    }

    #[test]
    fn parts_reach_the_control_that_is_there_in_their_order_and_the_newest_if_there_are_two() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fragments");
        let queue = FragmentQueue::listen(&path).unwrap();
        queue.push(part(1, 100)); // Nobody reads it.
        let mut first = UnixStream::connect(&path).unwrap();
        wait_until(&queue, true);
        queue.push(part(2, 300_000));
        queue.push(part(3, 0));
        assert_eq!(read(&mut first), (2, 300_000));
        assert_eq!(read(&mut first), (3, 0));
        let mut second = UnixStream::connect(&path).unwrap();
        // The first is let go. What comes meanwhile is left out, and from then on it is the second's.
        assert_eq!(first.read(&mut [0]).unwrap(), 0);
        wait(|| {
            queue.push(part(4, 10));
            has_part(&second)
        });
        assert_eq!(read(&mut second), (4, 10));
        drop(second);
        wait_until(&queue, false);
        wait(|| queue.state.bytes.load(Ordering::Relaxed) == 0);
    }

    #[test]
    fn a_shard_never_waits_and_what_waits_is_bounded() {
        let (queue, parts) = FragmentQueue::new();
        queue.state.connected.store(true, Ordering::Relaxed);
        for n in 0..100 {
            queue.push(part(n, 1 << 20));
        }
        assert!(queue.state.bytes.load(Ordering::Relaxed) <= BYTES_MAX);
        assert_eq!(parts.try_iter().count(), BYTES_MAX >> 20);
        let (queue, parts) = FragmentQueue::new();
        queue.state.connected.store(true, Ordering::Relaxed);
        for n in 0..PARTS_MAX as u64 + 10 {
            queue.push(part(n, 0));
        }
        assert_eq!(parts.try_iter().count(), PARTS_MAX);
    }
}
