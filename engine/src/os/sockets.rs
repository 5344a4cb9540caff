//! Descriptors and socket options that the safe types do not offer.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd},
};

use glommio::{
    io::BufferedFile,
    net::{TcpStream, UdpSocket},
};

/// Sets one option of a socket to an integer (setsockopt(2)).
pub(crate) fn set_option(
    socket: &impl AsRawFd,
    level: i32,
    option: i32,
    value: i32,
) -> io::Result<()> {
    // SAFETY: `value` is a c_int that outlives the call, and its size is given; the descriptor is
    // open for as long as `socket` is borrowed.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// A bound UDP socket in glommio's type, which takes it only raw.
pub(crate) fn adopt_udp(fd: OwnedFd) -> UdpSocket {
    // SAFETY: `fd` is open and ours, and ownership passes on.
    unsafe { UdpSocket::from_raw_fd(fd.into_raw_fd()) }
}

/// A connected TCP socket in glommio's type.
pub(crate) fn adopt_tcp(fd: OwnedFd) -> TcpStream {
    // SAFETY: `fd` is open and ours, and ownership passes on.
    unsafe { TcpStream::from_raw_fd(fd.into_raw_fd()) }
}

/// Anything readable can be waited for as a file: an eventfd here.
pub(crate) fn adopt_file(fd: OwnedFd) -> BufferedFile {
    // SAFETY: `fd` is open and ours, and ownership passes on.
    unsafe { BufferedFile::from_raw_fd(fd.into_raw_fd()) }
}
