//! The life of one connection: connect, agree on TLS, read, wait for room when the kernel is full,
//! close.

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

use super::{Connection, Ended, SharedConnection, tls::Tls, words};
use crate::{
    limits::{TCP_FLUSH, TCP_UNSENT_BYTES},
    shell::{Shell, ShellHandle},
    udp::socket::set_option,
};

/// Reads in one poll while a closing connection is drained, before others get their turn.
const DRAIN_READS_PER_TURN: usize = 16;

/// Starts a connection, with TLS where `tls` names the server; an error when there are too many,
/// or when that can be nobody's name.
pub(crate) fn spawn(
    shell: &mut Shell,
    handle: ShellHandle,
    id: ConnId,
    address: SocketAddr,
    tls: Option<&str>,
) -> Result<(), Ended> {
    let tls = tls
        .map(|server| Tls::new(&shell.tcp.tls_config, server).map(Box::new))
        .transpose()?;
    let connection = shell.tcp.insert(id, tls)?;
    let shared = Rc::clone(&connection);
    let life = {
        let handle = handle.clone();
        async move { run(&handle, &shared, address).await }
    };
    live(shell, handle, id, connection, life);
    Ok(())
}

/// Takes over a connection that somebody made to us; an error when there are too many.
pub(crate) fn adopt(
    shell: &mut Shell,
    handle: ShellHandle,
    id: ConnId,
    stream: TcpStream,
) -> Result<(), Ended> {
    let connection = shell.tcp.insert(id, None)?;
    configure(&stream);
    connection.borrow_mut().stream = Some(stream);
    let shared = Rc::clone(&connection);
    let life = {
        let handle = handle.clone();
        async move { serve(&handle, &shared, id, Vec::new()).await }
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
    life: impl Future<Output = Option<Ended>> + 'static,
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
            Some(Ended::passing(
                "a defect of this server ended the connection; its log has the details",
            ))
        });
        connection.borrow_mut().stream = None;
        drop(alive);
        if let Some(ended) = ended {
            report_closed(&handle, id, ended);
        }
    })
    .detach();
}

fn report_closed(handle: &ShellHandle, id: ConnId, Ended { reason, heals }: Ended) {
    handle.with(|shell| {
        if shell.tcp.open.remove(&id).is_some() {
            report(shell, id, TcpEvent::Closed { reason, heals });
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
) -> Option<Ended> {
    let connected = async { Some(TcpStream::connect(address).await.map_err(io::Error::from)) };
    let stream = match or(given_up(shared), connected).await? {
        Ok(stream) => stream,
        Err(error) => return Some(Ended::passing(words::not_connected(&error))),
    };
    configure(&stream);
    let (id, tls) = {
        let mut connection = shared.borrow_mut();
        connection.stream = Some(stream);
        (connection.id, connection.tls.is_some())
    };
    let mut early = Vec::new();
    if tls {
        let agreed = async { Some(agree(handle, shared, &mut early).await) };
        if let Err(ended) = or(given_up(shared), agreed).await? {
            return Some(ended);
        }
    }
    handle.with(|shell| {
        if shell.tcp.open.contains_key(&id) {
            report(shell, id, TcpEvent::Connected);
        }
    });
    serve(handle, shared, id, early).await
}

/// `None` once the shard has given the connection up. How long it may take is the shard's business.
async fn given_up<T>(shared: &SharedConnection) -> Option<T> {
    poll_fn(|cx| {
        let mut connection = shared.borrow_mut();
        if connection.closing.is_some() {
            return Poll::Ready(None);
        }
        connection.waker = Some(cx.waker().clone());
        Poll::Pending
    })
    .await
}

/// The TLS handshake. What the server says right behind it is appended to `early`.
async fn agree(
    handle: &ShellHandle,
    shared: &SharedConnection,
    early: &mut Vec<u8>,
) -> Result<(), Ended> {
    let buffer = handle.with(|shell| Rc::clone(&shell.tcp.read_buffer));
    poll_fn(|cx| {
        shared
            .borrow_mut()
            .poll_agreed(cx, &mut buffer.borrow_mut(), early)
    })
    .await
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
    /// So much lies in the buffer.
    Received(usize),
    /// This came through TLS; it may be nothing.
    Opened(Vec<u8>),
    /// The kernel had room again and took so much.
    Accepted(usize),
    Ended(Ended),
    Closing(Close),
}

impl Step {
    fn broken(error: &io::Error) -> Self {
        Self::Ended(Ended::passing(words::broken(error)))
    }

    fn closed_by_peer() -> Self {
        Self::Ended(Ended::passing(words::CLOSED_BY_PEER))
    }
}

/// `early` has been received already.
async fn serve(
    handle: &ShellHandle,
    shared: &SharedConnection,
    id: ConnId,
    early: Vec<u8>,
) -> Option<Ended> {
    let buffer = handle.with(|shell| Rc::clone(&shell.tcp.read_buffer));
    if !early.is_empty() {
        handle.with(|shell| report(shell, id, TcpEvent::Received(&early)));
    }
    loop {
        let step = poll_fn(|cx| shared.borrow_mut().poll_step(cx, &mut buffer.borrow_mut())).await;
        match step {
            Step::Received(length) => {
                // Nothing has run since the read, so the shared buffer still holds it.
                let buffer = buffer.borrow();
                let bytes = buffer.get(..length).unwrap_or_default();
                handle.with(|shell| report(shell, id, TcpEvent::Received(bytes)));
            }
            Step::Opened(bytes) => handle.with(|shell| {
                // TLS may have to answer by itself.
                shell.tcp.mark_dirty(shared);
                if bytes.is_empty() {
                    shell.drive(Instant::now());
                } else {
                    report(shell, id, TcpEvent::Received(&bytes));
                }
            }),
            Step::Accepted(bytes) => handle.with(|shell| {
                shell.tcp.mark_dirty(shared);
                report(shell, id, TcpEvent::Accepted { bytes });
            }),
            Step::Ended(ended) => return Some(ended),
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
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Step::closed_by_peer());
        };
        if let Poll::Ready(result) = Pin::new(stream).poll_read(cx, buffer) {
            return Poll::Ready(match result {
                Ok(0) => Step::closed_by_peer(),
                Ok(length) if self.tls.is_some() => {
                    let mut plain = Vec::new();
                    match self.open(buffer.get(..length).unwrap_or_default(), &mut plain) {
                        Ok(()) => Step::Opened(plain),
                        Err(ended) => Step::Ended(ended),
                    }
                }
                Ok(length) => Step::Received(length),
                Err(error) => Step::broken(&error),
            });
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Takes what was received through TLS.
    fn open(&mut self, received: &[u8], plain: &mut Vec<u8>) -> Result<(), Ended> {
        let Some(tls) = &mut self.tls else {
            return Ok(());
        };
        let opened = tls.open(received, plain);
        // An answer, or the alert that tells the peer what is wrong.
        let sealed = tls.seal(&mut self.queue);
        match opened {
            Ok(()) => sealed.map_err(|error| Ended::passing(words::broken(&error))),
            Err(error) => {
                if !self.blocked {
                    let _ = self.write();
                }
                Err(words::tls(&error))
            }
        }
    }

    /// Says and hears what it takes until TLS stands.
    fn poll_agreed(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        early: &mut Vec<u8>,
    ) -> Poll<Result<(), Ended>> {
        let broken = |error: &io::Error| {
            Ended::passing(format!(
                "{}, during the TLS handshake",
                words::broken(error)
            ))
        };
        loop {
            let written = self.poll_written(cx).map_err(|error| broken(&error))?;
            let agrees = self.tls.as_ref().is_some_and(|tls| tls.is_handshaking());
            if !agrees && written.is_ready() {
                return Poll::Ready(Ok(()));
            }
            let Some(stream) = &mut self.stream else {
                return Poll::Ready(Err(Ended::passing(words::CLOSED_IN_HANDSHAKE)));
            };
            match Pin::new(stream).poll_read(cx, buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(Ended::passing(words::CLOSED_IN_HANDSHAKE)));
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
            ..
        } = self
        else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        match Pin::new(stream).poll_write(cx, queue.front()) {
            Poll::Ready(Ok(bytes)) => {
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
    poll_fn(|cx| {
        if Pin::new(&mut timer).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        shared.borrow_mut().poll_drained(cx)
    })
    .await;
}

/// Drops what the kernel still holds and tells the peer so, at once.
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
    let nobody = libc::sockaddr {
        sa_family: libc::AF_UNSPEC as libc::sa_family_t,
        sa_data: [0; 14],
    };
    // SAFETY: `nobody` is a whole socket address and is only read; the descriptor is open.
    let result = unsafe {
        libc::connect(
            stream.as_raw_fd(),
            &raw const nobody,
            size_of::<libc::sockaddr>() as libc::socklen_t,
        )
    };
    if result != 0 {
        let error = io::Error::last_os_error();
        tracing::debug!("the kernel did not disconnect: {error}");
    }
}
