//! Waiting on the shard's own thread instead of in its executor.
//!
//! glommio waits on three rings: to sleep once, it arms and cancels timers in them, links them and
//! tells other threads of it, some nine `io_uring_enter` and a `membarrier`, 55 µs of CPU time where
//! one `epoll_wait` costs 20 (half of which is the wake itself). So while media flows the shard waits
//! here. The kernel ends an `epoll_wait` with `EINTR` when something that the thread has asked an
//! io_uring for completes, which is how a shard that dozes learns that its executor has work. What
//! completes while the thread does something else is seen in the executor's next turn.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr,
    time::Duration,
};

/// Why a wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// The socket has something.
    Readable,
    /// Nothing came.
    Time,
    /// Something of the executor has completed, or a signal came.
    Executor,
}

/// Waits for one socket, or for time alone.
#[derive(Debug)]
pub(crate) struct Doze {
    /// Watches the socket.
    socket: OwnedFd,
    /// Watches nothing.
    nothing: OwnedFd,
}

impl Doze {
    /// The descriptor of `socket` is not kept: once it is closed, [`Self::for_socket`] waits for time.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub(crate) fn new(socket: &impl AsRawFd) -> io::Result<Self> {
        let doze = Self {
            socket: epoll()?,
            nothing: epoll()?,
        };
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: 0,
        };
        // SAFETY: both descriptors are open, and `event` outlives the call.
        let result = unsafe {
            libc::epoll_ctl(
                doze.socket.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                socket.as_raw_fd(),
                &raw mut event,
            )
        };
        match result {
            0 => Ok(doze),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Waits until the socket has something, but no longer than `limit`.
    pub(crate) fn for_socket(&self, limit: Duration) -> Woken {
        wait(&self.socket, limit)
    }

    /// Waits for `limit`, whatever comes to the socket.
    pub(crate) fn for_time(&self, limit: Duration) -> Woken {
        wait(&self.nothing, limit)
    }
}

fn epoll() -> io::Result<OwnedFd> {
    // SAFETY: the call takes no memory.
    let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `limit` is rounded up to milliseconds, which is what the system call takes.
fn wait(epoll: &OwnedFd, limit: Duration) -> Woken {
    let millis = limit.as_micros().div_ceil(1_000);
    let millis = libc::c_int::try_from(millis).unwrap_or(libc::c_int::MAX);
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    // SAFETY: the descriptor is open, and there is room for the one event that is asked for.
    match unsafe { libc::epoll_wait(epoll.as_raw_fd(), ptr::from_mut(&mut event), 1, millis) } {
        0 => Woken::Time,
        1.. => Woken::Readable,
        _ => Woken::Executor,
    }
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, os::fd::IntoRawFd, time::Instant};

    use futures_lite::AsyncReadExt;
    use glommio::{LocalExecutorBuilder, Placement, net::UnixStream, timer::sleep};

    use super::*;

    const LONG: Duration = Duration::from_secs(5);
    const SHORT: Duration = Duration::from_millis(5);

    #[test]
    fn a_datagram_ends_the_wait_for_it_and_no_other() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let doze = Doze::new(&socket).unwrap();
        let start = Instant::now();
        assert_eq!(doze.for_socket(SHORT), Woken::Time);
        assert!(start.elapsed() >= SHORT);
        socket.send_to(&[1], socket.local_addr().unwrap()).unwrap();
        assert_eq!(doze.for_socket(LONG), Woken::Readable);
        assert_eq!(doze.for_time(SHORT), Woken::Time);
    }

    #[test]
    fn what_the_executor_waits_for_ends_both_waits() {
        let executor = LocalExecutorBuilder::new(Placement::Unbound)
            .make()
            .unwrap();
        executor.run(async {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let doze = Doze::new(&socket).unwrap();
            for wait in [Doze::for_socket, Doze::for_time] {
                let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
                // SAFETY: the descriptor is open, and nobody else owns it from here on.
                let mut here = unsafe { UnixStream::from_raw_fd(here.into_raw_fd()) };
                glommio::spawn_local(async move { here.read(&mut [0]).await }).detach();
                // The executor hands its rings what it waits for.
                sleep(SHORT).await;
                let writer = std::thread::spawn(move || {
                    std::thread::sleep(4 * SHORT);
                    io::Write::write_all(&mut &there, &[1]).unwrap();
                    there
                });
                let start = Instant::now();
                assert_eq!(wait(&doze, LONG), Woken::Executor);
                assert!(start.elapsed() < LONG);
                drop(writer.join());
            }
        });
    }
}
