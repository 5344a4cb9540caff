//! The RTMP port: where encoders, and tests of destinations, connect to us.

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
use shardcast_log::Limiter;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{completions::Completions, limits::RTMP_BACKLOG};

static NOT_ACCEPTED: Limiter = Limiter::refusals();

/// A bound and listening socket.
#[derive(Debug)]
pub struct RtmpPort {
    fd: OwnedFd,
    /// The port, also where a free one was asked for.
    pub port: u16,
}

impl RtmpPort {
    /// Binds without sharing the port, so that a second instance is noticed.
    ///
    /// # Errors
    /// When the address is not ours or the port is taken.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        // Connections that are closing must not keep the next start from binding.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(RTMP_BACKLOG)?;
        let bound = socket.local_addr()?.as_socket();
        let port = bound.map_or(address.port(), |bound| bound.port());
        Ok(Self {
            fd: socket.into(),
            port,
        })
    }
}

/// Hands every connection to the driver, for as long as the shard lives. The next one is accepted once
/// the driver has taken this one.
pub(crate) async fn run(port: RtmpPort, accepted: Completions<TcpStream>) {
    // SAFETY: the descriptor is a listening TCP socket, open and ours, and ownership passes on.
    let listener = unsafe { TcpListener::from_raw_fd(port.fd.into_raw_fd()) };
    loop {
        match listener.accept().await {
            Ok(stream) => accepted.hand_over(stream).await,
            Err(error) => {
                // Out of descriptors, or the peer is gone already: the next one may go well.
                if let Some(left_out) = NOT_ACCEPTED.admit(Instant::now()) {
                    tracing::warn!(left_out, "accepting an RTMP connection failed: {error}");
                }
                sleep(Duration::from_millis(10)).await;
            }
        }
        glommio::yield_if_needed().await;
    }
}
