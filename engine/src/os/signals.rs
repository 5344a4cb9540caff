//! SIGTERM and SIGINT as a descriptor, and counters that wake a sleeper: what the main thread and
//! the shards wait for.

use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
    sync::Arc,
    time::Duration,
};

/// The stop signals, blocked in this thread and all that it starts, and readable here.
#[derive(Debug)]
pub(crate) struct StopSignals(OwnedFd);

impl StopSignals {
    /// To be called before any other thread exists.
    pub(crate) fn block() -> io::Result<Self> {
        // SAFETY: zeroes are a valid sigset_t, and sigemptyset makes it an empty one.
        let mut set: libc::sigset_t = unsafe { mem::zeroed() };
        // SAFETY: `set` is valid and outlives the calls; the signal numbers exist; a null old mask
        // means that it is not wanted.
        let fd = unsafe {
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGTERM);
            libc::sigaddset(&raw mut set, libc::SIGINT);
            let error = libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut());
            if error != 0 {
                return Err(io::Error::from_raw_os_error(error));
            }
            libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        owned(fd).map(Self)
    }

    /// How many signals have come since the last call.
    pub(crate) fn take(&self) -> usize {
        let mut taken = 0;
        while read_exact::<{ size_of::<libc::signalfd_siginfo>() }>(self.0.as_fd()).is_some() {
            taken += 1;
        }
        taken
    }
}

impl AsFd for StopSignals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// An eventfd (eventfd(2)): a holder wakes the reader, from any thread.
#[derive(Clone, Debug)]
pub(crate) struct Bell(Arc<OwnedFd>);

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers.
        owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) }).map(|fd| Self(Arc::new(fd)))
    }

    pub(crate) fn ring(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the descriptor is open, the buffer has eight bytes. It can only fail when the
        // counter is full, and then the bell has rung.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Forgets that it has rung; waits when it has not.
    pub(crate) fn clear(&self) {
        // The count does not matter.
        let _ = read_exact::<8>(self.0.as_fd());
    }

    /// Another descriptor of the same counter, for a reader that wants its own.
    pub(crate) fn reader(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sleeps until one of the two is readable or the time is over; which are.
pub(crate) fn wait(
    first: BorrowedFd<'_>,
    second: BorrowedFd<'_>,
    timeout: Option<Duration>,
) -> io::Result<(bool, bool)> {
    let poll = |fd: BorrowedFd<'_>| libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let mut fds = [poll(first), poll(second)];
    let timeout_ms = timeout.map_or(-1, |timeout| {
        i32::try_from(timeout.as_micros().div_ceil(1_000)).unwrap_or(i32::MAX)
    });
    // SAFETY: `fds` is valid for its length and outlives the call.
    if unsafe { libc::poll(fds.as_mut_ptr(), 2, timeout_ms) } < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    let [first, second] = fds;
    Ok((first.revents != 0, second.revents != 0))
}

fn owned(fd: i32) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn read_exact<const N: usize>(fd: BorrowedFd<'_>) -> Option<[u8; N]> {
    let mut buffer = [0_u8; N];
    // SAFETY: the buffer is valid for writes of its length.
    let got = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), N) };
    (usize::try_from(got) == Ok(N)).then_some(buffer)
}
