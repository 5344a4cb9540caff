//! The life of one connection: connect, TLS handshake, read, wait while the kernel takes no more,
//! close.

use std::{
    cell::RefCell,
    future::Future,
    io,
    net::{Shutdown, SocketAddr},
    os::fd::{AsRawFd, BorrowedFd},
    panic::AssertUnwindSafe,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use futures_lite::{
    AsyncRead, AsyncWrite, FutureExt,
    future::{or, poll_fn},
};
use glommio::{
    net::TcpStream,
    timer::{Timer, sleep},
};
use shardcast_core::io::{Close, ConnId, TcpEvent};
use socket2::SockRef;

use super::{Completion, Connection, Ended, SharedConnection, error_text};
use crate::{
    completions::Completions,
    limits::{TCP_FLUSH, TCP_UNSENT_BYTES},
    os::sockets::set_option,
};

/// Reads in one poll while a closing connection is drained, before others get their turn.
const DRAIN_READS_PER_TURN: usize = 16;

/// How long the reading pauses then: 64 KiB a millisecond is more than a network brings.
const DRAIN_PAUSE: Duration = Duration::from_millis(1);

/// What the task of a connection works with.
pub(super) struct Life {
    pub(super) id: ConnId,
    pub(super) shared: SharedConnection,
    /// Of the whole table.
    pub(super) read_buffer: Rc<RefCell<Box<[u8]>>>,
    pub(super) completions: Completions<Completion>,
    /// Counts the connections that exist.
    pub(super) alive: Rc<()>,
}

impl Life {
    /// The connection stands.
    pub(super) fn begin(&self, stream: TcpStream) {
        configure(&stream);
        self.shared.borrow_mut().stream = Some(stream);
    }

    /// Runs a connection's life as a task, which reports its end unless the shard has ended it.
    /// glommio runs a new task at once, up to its first wait; all that it touches of the table is
    /// the queue of completions.
    pub(super) fn spawn(self, life: impl AsyncFnOnce(&Self) -> Option<Ended> + 'static) {
        glommio::spawn_local(async move {
            let run = AssertUnwindSafe(life(&self)).catch_unwind();
            let ended = run.await.unwrap_or_else(|_| {
                tracing::error!(conn = %self.id, "the task of a connection panicked");
                Some(Ended::retryable(
                    "a defect of this server ended the connection; its log has the details",
                ))
            });
            self.shared.borrow_mut().stream = None;
            drop(self.alive);
            match ended {
                Some(ended) => self.completions.push(Completion::closed(self.id, ended)),
                None => self.completions.notify(),
            }
        })
        .detach();
    }

    /// Connects and serves; the reason when it was not the shard that ended it.
    pub(super) async fn run(&self, address: SocketAddr) -> Option<Ended> {
        let connected = async { Some(TcpStream::connect(address).await.map_err(io::Error::from)) };
        match or(self.given_up(), connected).await? {
            Ok(stream) => self.begin(stream),
            Err(error) => return Some(Ended::retryable(error_text::not_connected(&error))),
        }
        let mut early = Vec::new();
        if self.shared.borrow().tls.is_some() {
            let agreed = async { Some(self.agree(&mut early).await) };
            if let Err(ended) = or(self.given_up(), agreed).await? {
                return Some(ended);
            }
        }
        self.report(TcpEvent::Connected);
        self.serve(early).await
    }

    /// `None` once the shard has given the connection up. How long it may take is the shard's
    /// business.
    async fn given_up<T>(&self) -> Option<T> {
        poll_fn(|cx| {
            let mut connection = self.shared.borrow_mut();
            if connection.closing.is_some() {
                return Poll::Ready(None);
            }
            connection.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// The TLS handshake. What the server sends right behind it is appended to `early`.
    async fn agree(&self, early: &mut Vec<u8>) -> Result<(), Ended> {
        poll_fn(|cx| {
            let mut buffer = self.read_buffer.borrow_mut();
            self.shared.borrow_mut().poll_agreed(cx, &mut buffer, early)
        })
        .await
    }

    /// Reads, and writes on when the kernel takes more, until the end. `early` has been received already.
    pub(super) async fn serve(&self, early: Vec<u8>) -> Option<Ended> {
        if !early.is_empty() {
            self.hand_over(early).await;
        }
        loop {
            let step = poll_fn(|cx| {
                let mut buffer = self.read_buffer.borrow_mut();
                self.shared.borrow_mut().poll_step(cx, &mut buffer)
            });
            match step.await {
                Step::Received(bytes) => self.hand_over(bytes).await,
                Step::Accepted(bytes) => self.report(TcpEvent::Accepted { bytes }),
                Step::Ended(ended) => return Some(ended),
                Step::Closing(Close::Abort) => {
                    reset(&self.shared);
                    return None;
                }
                Step::Closing(Close::Flush) => {
                    finish(&self.shared).await;
                    return None;
                }
            }
            glommio::yield_if_needed().await;
        }
    }

    fn report(&self, event: TcpEvent<'static>) {
        self.completions.push(Completion::other(self.id, event));
    }

    /// Nothing more is read until the driver has taken this, so that at most
    /// [`TCP_READ_BYTES`](crate::limits::TCP_READ_BYTES) of a connection are on their way to it.
    async fn hand_over(&self, bytes: Vec<u8>) {
        self.completions
            .hand_over(Completion::received(self.id, bytes))
            .await;
    }
}

fn configure(stream: &TcpStream) {
    // A frame is written whole, so waiting to fill a segment would only delay its end.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("TCP_NODELAY was refused: {error}");
    }
    let unsent = TCP_UNSENT_BYTES as i32;
    if let Err(error) = set_option(stream, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, unsent) {
        tracing::debug!("TCP_NOTSENT_LOWAT was refused: {error}");
    }
}

/// What the task woke up for.
enum Step {
    /// This came; it may be nothing where TLS is spoken.
    Received(Vec<u8>),
    /// The kernel took more again: so many bytes.
    Accepted(usize),
    Ended(Ended),
    Closing(Close),
}

impl Step {
    fn broken(error: &io::Error) -> Self {
        Self::Ended(Ended::retryable(error_text::broken(error)))
    }

    fn closed_by_peer() -> Self {
        Self::Ended(Ended::retryable(error_text::CLOSED_BY_PEER))
    }
}

impl Connection {
    fn poll_step(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Step> {
        if let Some(how) = self.closing {
            return Poll::Ready(Step::Closing(how));
        }
        if self.tls.as_ref().is_some_and(|tls| tls.is_closed_by_peer()) {
            return Poll::Ready(Step::closed_by_peer());
        }
        if self.blocked
            && let Poll::Ready(result) = self.poll_room(cx)
        {
            return Poll::Ready(match result {
                Ok(bytes) => Step::Accepted(bytes),
                Err(error) => Step::broken(&error),
            });
        }
        if let Poll::Ready(result) = self.poll_read(cx, buffer) {
            return Poll::Ready(match result {
                Ok(0) => Step::closed_by_peer(),
                Ok(length) if self.tls.is_some() => {
                    let mut plain = Vec::new();
                    match self.open(buffer.get(..length).unwrap_or_default(), &mut plain) {
                        Ok(()) => Step::Received(plain),
                        Err(ended) => Step::Ended(ended),
                    }
                }
                Ok(length) => Step::Received(buffer.get(..length).unwrap_or_default().to_vec()),
                Err(error) => Step::broken(&error),
            });
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Reads what the kernel has; nothing when there is no stream any more, as at its end.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Ok(0));
        };
        let result = Pin::new(stream).poll_read(cx, buffer);
        // glommio waits for more by itself after a read that did not fill the buffer, and makes no
        // system call while it waits.
        match &result {
            Poll::Ready(read) => {
                self.work.tcp_reads.add(1);
                let length = read.as_ref().copied().unwrap_or_default();
                self.awaits_data = length > 0 && length < buffer.len();
            }
            Poll::Pending if !self.awaits_data => {
                self.work.tcp_reads.add(1);
                self.work.tcp_reads_empty.add(1);
                self.awaits_data = true;
            }
            Poll::Pending => {}
        }
        result
    }

    /// Takes what was received through TLS.
    fn open(&mut self, received: &[u8], plain: &mut Vec<u8>) -> Result<(), Ended> {
        let Some(tls) = &mut self.tls else {
            return Ok(());
        };
        let opened = tls.open(received, plain);
        // An answer, or the alert that names the error to the peer.
        let sealed = tls.seal(&mut self.queue);
        match opened {
            Ok(()) => sealed.map_err(|error| Ended::retryable(error_text::broken(&error))),
            Err(error) => {
                if !self.blocked {
                    let _ = self.write();
                }
                Err(error_text::tls(&error))
            }
        }
    }

    /// Writes and reads until the TLS handshake is done.
    fn poll_agreed(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        early: &mut Vec<u8>,
    ) -> Poll<Result<(), Ended>> {
        let broken = |error: &io::Error| {
            Ended::retryable(format!(
                "{}, during the TLS handshake",
                error_text::broken(error)
            ))
        };
        loop {
            let written = self.poll_written(cx).map_err(|error| broken(&error))?;
            let agrees = self.tls.as_ref().is_some_and(|tls| tls.is_handshaking());
            if !agrees && written.is_ready() {
                return Poll::Ready(Ok(()));
            }
            match self.poll_read(cx, buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(Ended::retryable(error_text::CLOSED_IN_HANDSHAKE)));
                }
                Poll::Ready(Ok(length)) => {
                    self.open(buffer.get(..length).unwrap_or_default(), early)?;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(broken(&error))),
            }
        }
    }

    /// Waits until the kernel takes something of what is next; how many of the shard's bytes have
    /// left with it.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Self {
            stream: Some(stream),
            queue,
            work,
            ..
        } = self
        else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let result = Pin::new(stream).poll_write(cx, queue.front());
        work.tcp_writes.add(1);
        match result {
            Poll::Ready(Ok(bytes)) => {
                work.tcp_written_bytes.add(bytes);
                queue.advance(bytes);
                self.blocked = false;
                Poll::Ready(Ok(self.taken(bytes)))
            }
            other => other,
        }
    }

    /// Writes all that waits.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.blocked && self.poll_room(cx)?.is_pending() {
                return Poll::Pending;
            }
            self.write()?;
            if self.is_written() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Reads and forgets until the peer has closed its side; false when it has sent so much that others
    /// are to have their turn.
    fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut buffer = [0; 4_096];
        for _ in 0..DRAIN_READS_PER_TURN {
            match self.poll_read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(true),
                Poll::Ready(Ok(_)) => {}
            }
        }
        Poll::Ready(false)
    }
}

/// Writes what waits, shuts the sending side down, and waits for the peer to do the same: closing with
/// unread data would send a reset, which can destroy what the peer has not read yet.
async fn finish(shared: &SharedConnection) {
    if let Some(tls) = &mut shared.borrow_mut().tls {
        tls.close();
    }
    let mut timer = Timer::new(TCP_FLUSH);
    let written = poll_fn(|cx| {
        if Pin::new(&mut timer).poll(cx).is_ready() {
            return Poll::Ready(false);
        }
        shared
            .borrow_mut()
            .poll_written(cx)
            .map(|result| result.is_ok())
    })
    .await;
    if !written {
        reset(shared);
        return;
    }
    if let Some(stream) = &shared.borrow().stream {
        // SAFETY: `stream` owns the descriptor and outlives the borrow.
        let socket = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
        // It fails when the peer has gone already, and then there is nothing to shut down.
        let _ = SockRef::from(&socket).shutdown(Shutdown::Write);
    }
    let mut is_over = false;
    while !is_over {
        is_over = poll_fn(|cx| {
            if Pin::new(&mut timer).poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            shared.borrow_mut().poll_drained(cx)
        })
        .await;
        if !is_over {
            // A task that can always go on keeps the executor from its rings for 100 ms.
            sleep(DRAIN_PAUSE).await;
        }
    }
}

/// Resets the connection at once: the kernel drops what it still holds.
fn reset(shared: &SharedConnection) {
    if let Some(stream) = &shared.borrow().stream {
        disconnect(stream);
    }
}

/// Resets a connection without closing its descriptor: a close takes effect only when the read that
/// io_uring still has in flight is given up, and until then a server that takes one publisher for a
/// key would refuse the next connection.
pub(super) fn disconnect(stream: &TcpStream) {
    // SAFETY: `stream` owns the descriptor and outlives the borrow.
    let socket = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
    // Should the kernel refuse to disconnect, the close resets.
    if let Err(error) = SockRef::from(&socket).set_linger(Some(Duration::ZERO)) {
        tracing::debug!("SO_LINGER was refused: {error}");
    }
    let unspecified = libc::sockaddr {
        sa_family: libc::AF_UNSPEC as libc::sa_family_t,
        sa_data: [0; 14],
    };
    // SAFETY: `unspecified` is a whole socket address and is only read; the descriptor is open.
    let result = unsafe {
        libc::connect(
            stream.as_raw_fd(),
            &raw const unspecified,
            size_of::<libc::sockaddr>() as libc::socklen_t,
        )
    };
    if result != 0 {
        let error = io::Error::last_os_error();
        tracing::debug!("the kernel did not disconnect: {error}");
    }
}
