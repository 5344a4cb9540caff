//! The life of one connection: connect, read, wait for room when the kernel is full, close.

use std::{
    future::Future,
    io,
    net::{Shutdown, SocketAddr},
    os::fd::{AsRawFd, BorrowedFd},
    panic::AssertUnwindSafe,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_lite::{
    AsyncRead, AsyncWrite, FutureExt,
    future::{or, poll_fn, yield_now},
};
use glommio::{net::TcpStream, timer::Timer};
use shardcast_core::io::{Close, ConnId, Input, TcpEvent};
use socket2::SockRef;

use super::{Connection, SharedConnection, words};
use crate::{
    limits::{TCP_FLUSH, TCP_UNSENT_BYTES},
    shell::{Shell, ShellHandle},
    udp::socket::set_option,
};

/// Reads in one poll while a closing connection is drained, before others get their turn.
const DRAIN_READS_PER_TURN: usize = 16;

/// Starts a connection; the words when there are too many.
pub(crate) fn spawn(
    shell: &mut Shell,
    handle: ShellHandle,
    id: ConnId,
    address: SocketAddr,
) -> Result<(), String> {
    let connection = shell.tcp.insert(id)?;
    let shared = Rc::clone(&connection);
    let life = {
        let handle = handle.clone();
        async move { run(&handle, &shared, address).await }
    };
    live(shell, handle, id, connection, life);
    Ok(())
}

/// Takes over a connection that somebody made to us; the words when there are too many.
pub(crate) fn adopt(
    shell: &mut Shell,
    handle: ShellHandle,
    id: ConnId,
    stream: TcpStream,
) -> Result<(), String> {
    let connection = shell.tcp.insert(id)?;
    configure(&stream);
    connection.borrow_mut().stream = Some(stream);
    let shared = Rc::clone(&connection);
    let life = {
        let handle = handle.clone();
        async move { serve(&handle, &shared, id).await }
    };
    live(shell, handle, id, connection, life);
    Ok(())
}

/// Runs a connection's life as a task and sees to its end.
fn live(
    shell: &Shell,
    handle: ShellHandle,
    id: ConnId,
    connection: SharedConnection,
    life: impl Future<Output = Option<String>> + 'static,
) {
    let alive = Rc::clone(&shell.tcp.alive);
    glommio::spawn_local(async move {
        // glommio runs a new task at once, up to its first wait, and the shell is still borrowed
        // by whoever asked for the connection. A life may end without waiting, for want of a
        // descriptor or of the address family, and then tells the shell.
        yield_now().await;
        let life = AssertUnwindSafe(life).catch_unwind();
        let ended = life.await.unwrap_or_else(|_| {
            tracing::error!(conn = id.0, "the task of a connection panicked");
            Some("a defect of this server ended the connection; its log has the details".into())
        });
        connection.borrow_mut().stream = None;
        drop(alive);
        if let Some(reason) = ended {
            report_closed(&handle, id, reason);
        }
    })
    .detach();
}

fn report_closed(handle: &ShellHandle, id: ConnId, reason: String) {
    handle.with(|shell| {
        if shell.tcp.open.remove(&id).is_some() {
            report(shell, id, TcpEvent::Closed { reason });
        }
    });
}

fn report(shell: &mut Shell, conn: ConnId, event: TcpEvent<'_>) {
    let now = Instant::now();
    shell.feed(now, Input::Tcp { conn, event });
    shell.drive(now);
}

/// Runs to the end; the reason when it was not the shard that ended it.
async fn run(
    handle: &ShellHandle,
    shared: &SharedConnection,
    address: SocketAddr,
) -> Option<String> {
    let stream = match connect(shared, address).await? {
        Ok(stream) => stream,
        Err(error) => return Some(words::not_connected(&error)),
    };
    configure(&stream);
    let id = {
        let mut connection = shared.borrow_mut();
        connection.stream = Some(stream);
        connection.id
    };
    handle.with(|shell| {
        if shell.tcp.open.contains_key(&id) {
            report(shell, id, TcpEvent::Connected);
        }
    });
    serve(handle, shared, id).await
}

/// `None` when the shard has given it up meanwhile. How long it may take is the shard's business.
async fn connect(shared: &SharedConnection, address: SocketAddr) -> Option<io::Result<TcpStream>> {
    let connected = async { Some(TcpStream::connect(address).await.map_err(io::Error::from)) };
    let given_up = poll_fn(|cx| {
        let mut connection = shared.borrow_mut();
        if connection.closing.is_some() {
            return Poll::Ready(None);
        }
        connection.waker = Some(cx.waker().clone());
        Poll::Pending
    });
    or(given_up, connected).await
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
    Received(usize),
    /// The kernel had room again and took so much.
    Accepted(usize),
    ClosedByPeer,
    Broken(io::Error),
    Closing(Close),
}

async fn serve(handle: &ShellHandle, shared: &SharedConnection, id: ConnId) -> Option<String> {
    let buffer = handle.with(|shell| Rc::clone(&shell.tcp.read_buffer));
    loop {
        let step = poll_fn(|cx| shared.borrow_mut().poll_step(cx, &mut buffer.borrow_mut())).await;
        match step {
            Step::Received(length) => {
                // Nothing has run since the read, so the shared buffer still holds it.
                let buffer = buffer.borrow();
                let bytes = buffer.get(..length).unwrap_or_default();
                handle.with(|shell| report(shell, id, TcpEvent::Received(bytes)));
            }
            Step::Accepted(bytes) => handle.with(|shell| {
                let now = Instant::now();
                shell.tcp.mark_dirty(shared);
                shell.feed(
                    now,
                    Input::Tcp {
                        conn: id,
                        event: TcpEvent::Accepted { bytes },
                    },
                );
                shell.drive(now);
            }),
            Step::ClosedByPeer => return Some(words::CLOSED_BY_PEER.into()),
            Step::Broken(error) => return Some(words::broken(&error)),
            Step::Closing(Close::Abort) => {
                reset(shared);
                return None;
            }
            Step::Closing(Close::Flush) => {
                finish(shared).await;
                return None;
            }
        }
        glommio::yield_if_needed().await;
    }
}

impl Connection {
    fn poll_step(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Step> {
        if let Some(how) = self.closing {
            return Poll::Ready(Step::Closing(how));
        }
        if self.blocked
            && let Poll::Ready(result) = self.poll_room(cx)
        {
            return Poll::Ready(match result {
                Ok(bytes) => Step::Accepted(bytes),
                Err(error) => Step::Broken(error),
            });
        }
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Step::ClosedByPeer);
        };
        if let Poll::Ready(result) = Pin::new(stream).poll_read(cx, buffer) {
            return Poll::Ready(match result {
                Ok(0) => Step::ClosedByPeer,
                Ok(length) => Step::Received(length),
                Err(error) => Step::Broken(error),
            });
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Waits until the kernel takes something of what is next.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Self {
            stream: Some(stream),
            queue,
            ..
        } = self
        else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        match Pin::new(stream).poll_write(cx, queue.front()) {
            Poll::Ready(Ok(bytes)) => {
                queue.advance(bytes);
                self.blocked = false;
                Poll::Ready(Ok(bytes))
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
            if self.queue.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Reads and forgets until the peer has closed its side.
    fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(());
        };
        let mut buffer = [0; 4_096];
        for _ in 0..DRAIN_READS_PER_TURN {
            match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(_)) => {}
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Writes what waits, says that nothing more comes, and waits for the peer to do the same: closing
/// with unread data would send a reset, which can destroy what the peer has not read yet.
async fn finish(shared: &SharedConnection) {
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
    poll_fn(|cx| {
        if Pin::new(&mut timer).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        shared.borrow_mut().poll_drained(cx)
    })
    .await;
}

/// Makes the coming close drop what the kernel still holds.
fn reset(shared: &SharedConnection) {
    if let Some(stream) = &shared.borrow().stream {
        // SAFETY: `stream` owns the descriptor and outlives the borrow.
        let socket = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
        if let Err(error) = SockRef::from(&socket).set_linger(Some(Duration::ZERO)) {
            tracing::debug!("SO_LINGER was refused: {error}");
        }
    }
}
