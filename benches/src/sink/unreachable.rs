//! Addresses at which no connection comes about.

use std::{net::SocketAddr, time::Duration};

use tokio::net::{TcpListener, TcpStream};

use super::port::listen;
use crate::BenchError;

/// An address at which nobody listens: connections are refused.
///
/// # Errors
/// When no port is free.
pub fn refusing_url(stream_key: &str) -> Result<String, BenchError> {
    // Bound but not listening, and free again at once; nothing else in a test asks for this port
    // by number.
    let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = socket.local_addr()?;
    drop(socket);
    Ok(format!("rtmp://{address}/live/{stream_key}"))
}

/// An address that swallows packets: its queue is full, so those that open a connection are
/// dropped. Dropped, it is gone.
#[derive(Debug)]
pub struct BlackHole {
    address: SocketAddr,
    _listener: TcpListener,
    /// Connections that fill the queue.
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

    /// Where to publish under this key.
    pub fn url(&self, stream_key: &str) -> String {
        format!("rtmp://{}/live/{stream_key}", self.address)
    }
}

/// Connects until the kernel no longer answers.
async fn fill_queue(address: SocketAddr) -> Vec<TcpStream> {
    /// Loopback connects in microseconds.
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
