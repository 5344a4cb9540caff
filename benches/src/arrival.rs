//! When bytes arrived, told by the kernel: it stamps each segment and datagram on its way into the socket
//! (`SO_TIMESTAMPING`, the kernel's Documentation/networking/timestamping.rst). A sink or viewer that is late itself,
//! because its core has other work, does not make a server look slow by that.

use std::{
    io::{self, IoSliceMut},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
};

use nix::{
    cmsg_space,
    errno::Errno,
    sys::socket::{
        ControlMessageOwned, MsgFlags, RecvMsg, SockaddrStorage, TimestampingFlag, Timestamps,
        recvmsg, setsockopt,
        sockopt::{Timestamping, UdpGroSegment},
    },
};
use tokio::{
    io::Interest,
    net::{TcpStream, UdpSocket},
};

use crate::clock;

/// Lets the kernel stamp what arrives from now on.
pub(crate) fn stamp(socket: &impl AsFd) {
    let software = TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE;
    // A kernel without them leaves the time of the read.
    let _ = setsockopt(socket, Timestamping, &software);
}

/// Reads, and says when the last of the bytes arrived, in microseconds of [`clock::now_us`].
///
/// # Errors
/// Those of the socket.
pub(crate) async fn read(tcp: &TcpStream, buffer: &mut [u8]) -> io::Result<(usize, u64)> {
    tcp.async_io(Interest::READABLE, || {
        let read = receive_now(tcp, buffer, |message| (message.bytes, arrived_us(message)))?;
        Ok(read)
    })
    .await
}

/// Lets the kernel hand over as one what a sender gave it as one (`UDP_GRO`, udp(7)). On loopback the datagrams are then never
/// cut apart, which the sender's core would do; a network card that segments spares it that too.
pub(crate) fn join_datagrams(socket: &UdpSocket) {
    // A kernel without it leaves them apart.
    let _ = setsockopt(socket, UdpGroSegment, &true);
}

/// Datagrams of one sender that have come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// Bytes of the buffer that they take.
    pub(crate) bytes: usize,
    /// Of each; the last may be shorter.
    pub(crate) datagram_bytes: usize,
    /// Who sent them.
    pub(crate) from: SocketAddr,
    /// When they arrived, in microseconds of [`clock::now_us`].
    pub(crate) at_us: u64,
}

/// Takes what has come: one datagram, or several where they are joined.
///
/// # Errors
/// Those of the socket, `WouldBlock` where none is there.
pub(crate) fn try_receive(udp: &UdpSocket, buffer: &mut [u8]) -> io::Result<Received> {
    udp.try_io(Interest::READABLE, || {
        let (bytes, from, at_us, joined) = receive_now(udp, buffer, |message| {
            let from = message.address.as_ref().and_then(address);
            (message.bytes, from, arrived_us(message), joined(message))
        })?;
        Ok(Received {
            bytes,
            // A datagram may be empty, and nothing is cut into pieces of nothing.
            datagram_bytes: joined.unwrap_or(bytes).max(1),
            from: from.ok_or(io::ErrorKind::InvalidData)?,
            at_us,
        })
    })
}

/// The length of each datagram, where the kernel has joined some.
fn joined(message: &RecvMsg<'_, '_, SockaddrStorage>) -> Option<usize> {
    message.cmsgs().find_map(|one| match one {
        ControlMessageOwned::UdpGroSegments(bytes) => Some(usize::from(bytes)),
        _ => None,
    })
}

fn receive_now<T>(
    socket: &impl AsRawFd,
    buffer: &mut [u8],
    take: impl Fn(&RecvMsg<'_, '_, SockaddrStorage>) -> T,
) -> nix::Result<T> {
    let mut space = cmsg_space!(Timestamps, i32);
    loop {
        let mut slices = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::empty();
        match recvmsg(socket.as_raw_fd(), &mut slices, Some(&mut space), flags) {
            Ok(message) => return Ok(take(&message)),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

fn arrived_us(message: &RecvMsg<'_, '_, SockaddrStorage>) -> u64 {
    let stamp = message.cmsgs().find_map(|one| match one {
        ControlMessageOwned::ScmTimestampsns(stamps) => Some(stamps.system),
        _ => None,
    });
    stamp
        .and_then(|stamp| clock::of_wall_clock(stamp.tv_sec(), stamp.tv_nsec()))
        .unwrap_or_else(clock::now_us)
}

fn address(of: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = of.as_sockaddr_in().map(|it| SocketAddr::V4((*it).into()));
    v4.or_else(|| of.as_sockaddr_in6().map(|it| SocketAddr::V6((*it).into())))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::sys::socket::sockopt;
    use tokio::{io::AsyncWriteExt, net::TcpListener, time::sleep};

    use super::*;

    /// The kernel begins to stamp a moment after the first socket of the machine asks for it.
    const TRIES: usize = 50;
    const READ_AFTER: Duration = Duration::from_millis(50);
    /// Two clocks are compared to the microsecond.
    const ROUNDING_US: u64 = 2;

    fn is_between(at_us: u64, before_us: u64, after_us: u64) -> bool {
        (before_us - ROUNDING_US..=after_us + ROUNDING_US).contains(&at_us)
    }

    #[tokio::test]
    async fn bytes_that_are_read_late_are_of_the_time_at_which_they_came() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (server, _) = listener.accept().await.unwrap();
        stamp(&server);
        let mut stamped = false;
        for _ in 0..TRIES {
            let before_us = clock::now_us();
            client.write_all(b"early").await.unwrap();
            let after_us = clock::now_us();
            sleep(READ_AFTER).await;
            let (length, at_us) = read(&server, &mut [0; 16]).await.unwrap();
            assert_eq!(length, 5);
            stamped = is_between(at_us, before_us, after_us);
            if stamped {
                break;
            }
        }
        assert!(stamped);

        drop(client);
        assert_eq!(read(&server, &mut [0; 16]).await.unwrap().0, 0);
    }

    #[tokio::test]
    async fn so_are_datagrams() {
        for local in ["127.0.0.1:0", "[::1]:0"] {
            // A machine without IPv6 has less to prove.
            let Ok(client) = UdpSocket::bind(local).await else {
                continue;
            };
            let server = UdpSocket::bind(local).await.unwrap();
            stamp(&server);
            let to = server.local_addr().unwrap();
            let mut stamped = false;
            for _ in 0..TRIES {
                let before_us = clock::now_us();
                client.send_to(b"early", to).await.unwrap();
                let after_us = clock::now_us();
                sleep(READ_AFTER).await;
                server.readable().await.unwrap();
                let received = try_receive(&server, &mut [0; 16]).unwrap();
                assert_eq!((received.bytes, received.datagram_bytes), (5, 5));
                assert_eq!(received.from, client.local_addr().unwrap());
                stamped = is_between(received.at_us, before_us, after_us);
                if stamped {
                    break;
                }
            }
            assert!(stamped);
            let none = try_receive(&server, &mut [0; 16]).unwrap_err();
            assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
        }
    }

    #[tokio::test]
    async fn what_was_sent_as_one_comes_as_one_where_that_is_wanted() {
        for wanted in [false, true] {
            let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if wanted {
                join_datagrams(&server);
            }
            stamp(&server);
            let sent = [[1; 100], [2; 100], [3; 100]].concat();
            setsockopt(&client, sockopt::UdpGsoSegment, &100).unwrap();
            let to = server.local_addr().unwrap();
            assert_eq!(client.send_to(&sent[..250], to).await.unwrap(), 250);
            let mut received = Vec::new();
            while received.len() < 250 {
                server.readable().await.unwrap();
                let mut buffer = [0; 1_000];
                let Ok(some) = try_receive(&server, &mut buffer) else {
                    continue;
                };
                assert_eq!(
                    some.datagram_bytes,
                    if received.len() == 200 { 50 } else { 100 }
                );
                let bytes = if wanted { 250 } else { some.datagram_bytes };
                assert_eq!(some.bytes, bytes);
                received.extend_from_slice(&buffer[..some.bytes]);
            }
            assert_eq!(received, sent[..250]);
        }
    }
}
