//! poll(2) of any number of descriptors, for threads that are no executors.

use std::io;

use libc::pollfd;

/// Waits until it can be read.
pub(crate) fn readable(fd: i32) -> pollfd {
    either(fd, true, false)
}

/// Waits until one of both can be done; for nothing at all, not even its end, if neither is asked for.
pub(crate) fn either(fd: i32, read: bool, write: bool) -> pollfd {
    let events = if read { libc::POLLIN } else { 0 } | if write { libc::POLLOUT } else { 0 };
    pollfd {
        // A negative one is passed over.
        fd: if events == 0 { -1 } else { fd },
        events,
        revents: 0,
    }
}

/// Blocks until something of it has happened, which `revents` then says.
pub(crate) fn wait(waits: &mut [pollfd]) -> io::Result<()> {
    let count = waits.len() as libc::nfds_t;
    // SAFETY: `waits` is valid for reads and writes of its length, and outlives the call. Descriptors in it that are
    // closed are reported and not touched.
    if unsafe { libc::poll(waits.as_mut_ptr(), count, -1) } >= 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        error => Err(error),
    }
}
