//! Addresses at which no connection succeeds.

use std::{net::SocketAddr, time::Duration};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::port::listen;
use crate::BenchError;

/// An address whose port is taken and has no listener: the kernel refuses connections for as long as
/// this lives. A port that was merely free a moment ago could be another program's by now.
#[derive(Debug)]
pub struct RefusedPort {
    address: SocketAddr,
    _bound: Socket,
}

impl RefusedPort {
    /// Takes a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port is free.
    pub fn open() -> Result<Self, BenchError> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.bind(&SockAddr::from(SocketAddr::from(([127, 0, 0, 1], 0))))?;
        let address = socket.local_addr()?.as_socket().ok_or_else(|| {
            std::io::Error::new(std::io::ErrorKind::Unsupported, "the socket is not IPv4")
        })?;
        Ok(Self {
            address,
            _bound: socket,
        })
    }

    /// URL of a destination at that address.
    #[must_use]
    pub fn url(&self, stream_key: &str) -> String {
        format!("rtmp://{}/live/{stream_key}", self.address)
    }
}

/// An address that never answers a SYN, because the accept queue of its listener is full. Dropping
/// it closes the listener.
#[derive(Debug)]
pub struct BlackHole {
    address: SocketAddr,
    _listener: TcpListener,
    /// Connections that fill the accept queue.
    _fillers: Vec<TcpStream>,
}

impl BlackHole {
    /// Opens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn open() -> Result<Self, BenchError> {
        let listener = listen(([127, 0, 0, 1], 0).into(), 0)?;
        let address = listener.local_addr()?;
        Ok(Self {
            address,
            _fillers: fill_queue(address).await,
            _listener: listener,
        })
    }

    /// URL to publish to with this stream key.
    pub fn url(&self, stream_key: &str) -> String {
        format!("rtmp://{}/live/{stream_key}", self.address)
    }
}

/// Opens connections until the kernel no longer answers.
async fn fill_queue(address: SocketAddr) -> Vec<TcpStream> {
    /// Loopback connects in microseconds, so this long without an answer means a full queue.
    const UNANSWERED: Duration = Duration::from_millis(300);
    const FILLERS_MAX: usize = 64;
    let mut fillers = Vec::new();
    while fillers.len() < FILLERS_MAX {
        match tokio::time::timeout(UNANSWERED, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => fillers.push(stream),
            _ => break,
        }
    }
    fillers
}
