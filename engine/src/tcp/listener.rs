//! The port of a shard to which others connect: the media port over TCP.

use std::{
    io,
    net::SocketAddr,
    os::fd::{FromRawFd, IntoRawFd, OwnedFd},
    time::{Duration, Instant},
};

use glommio::{
    net::{TcpListener, TcpStream},
    timer::sleep,
};
use shardcast_core::io::Incoming;
use shardcast_log::Limiter;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{completions::Completions, limits::TCP_BACKLOG};

static NOT_ACCEPTED: Limiter = Limiter::refusals();

/// A bound and listening socket.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    /// The port, also where a free one was asked for.
    pub port: u16,
}

/// A connection that somebody has made to us.
pub(crate) struct Accepted {
    pub(crate) incoming: Incoming,
    pub(crate) stream: TcpStream,
}

impl Listener {
    /// Binds without sharing the port, so that a second instance is noticed. `::` takes IPv4 too.
    ///
    /// # Errors
    /// When the address is not ours or the port is taken.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        if address.is_ipv6() {
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        // Connections that are closing must not keep the next start from binding.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(TCP_BACKLOG)?;
        let bound = socket.local_addr()?.as_socket();
        let port = bound.map_or(address.port(), |bound| bound.port());
        Ok(Self {
            fd: socket.into(),
            port,
        })
    }

    /// Hands every connection to the driver, for as long as the shard lives. The next one is accepted once
    /// the driver has taken this one.
    pub(crate) async fn run(self, accepted: Completions<Accepted>) {
        // SAFETY: the descriptor is a listening TCP socket, open and ours, and ownership passes on.
        let listener = unsafe { TcpListener::from_raw_fd(self.fd.into_raw_fd()) };
        loop {
            match listener.accept().await {
                Ok(stream) => {
                    // Where it fails, the peer is gone already.
                    if let Some(incoming) = incoming(&stream) {
                        accepted.hand_over(Accepted { incoming, stream }).await;
                    }
                }
                Err(error) => {
                    // Out of descriptors, or the peer is gone already: the next one may go well.
                    if let Some(left_out) = NOT_ACCEPTED.admit(Instant::now()) {
                        let port = self.port;
                        tracing::warn!(left_out, port, "accepting a connection failed: {error}");
                    }
                    sleep(Duration::from_millis(10)).await;
                }
            }
            glommio::yield_if_needed().await;
        }
    }
}

fn incoming(stream: &TcpStream) -> Option<Incoming> {
    let (from, to) = (stream.peer_addr().ok()?, stream.local_addr().ok()?);
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    Some(Incoming {
        from: plain(from),
        to: plain(to),
    })
}
