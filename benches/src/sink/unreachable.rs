//! Addresses at which no connection succeeds.

use std::{net::SocketAddr, time::Duration};

use tokio::net::{TcpListener, TcpStream};

use super::port::listen;
use crate::BenchError;

/// URL of an address without a listener: the kernel refuses connections.
///
/// # Errors
/// When no port is free.
pub fn refusing_url(stream_key: &str) -> Result<String, BenchError> {
    // The port is freed at once. No test asks for a port by number, so it stays without a listener.
    let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = socket.local_addr()?;
    drop(socket);
    Ok(format!("rtmp://{address}/live/{stream_key}"))
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
