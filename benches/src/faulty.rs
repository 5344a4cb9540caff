//! Destinations that are broken before RTMP is spoken, or while it is.
//!
//! A platform that understands the client and then misbehaves is a [`crate::sink::Sink`] with other
//! manners; an address that refuses is a port nobody listens on ([`refusing_url`]).

use std::{net::SocketAddr, sync::Arc, time::Duration};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::BenchError;

/// What the server does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Accepts and never says a word.
    Silent,
    /// Never takes connections: its queue is full, so packets that open one are dropped.
    BlackHole,
    /// Answers whatever comes with bytes that are no RTMP.
    Garbage,
    /// Shakes hands, then sends chunks with absurd lengths.
    GarbageAfterHandshake,
    /// Closes as soon as something was sent to it.
    ClosesAtOnce,
}

/// A listening server with a fault. Dropped, it is gone.
#[derive(Debug)]
pub struct FaultyServer {
    address: SocketAddr,
    _tasks: JoinSet<()>,
    /// Connections that fill the queue of a black hole.
    _fillers: Vec<TcpStream>,
}

impl FaultyServer {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(fault: Fault) -> Result<Self, BenchError> {
        let listener = listen(if fault == Fault::BlackHole { 0 } else { 64 })?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        let mut fillers = Vec::new();
        if fault == Fault::BlackHole {
            fillers = fill_queue(address).await;
            tasks.spawn(async move {
                let _keep_open = listener;
                std::future::pending::<()>().await;
            });
        } else {
            tasks.spawn(serve(listener, fault));
        }
        Ok(Self {
            address,
            _tasks: tasks,
            _fillers: fillers,
        })
    }

    /// Where to publish under this key.
    pub fn url(&self, stream_key: &str) -> String {
        format!("rtmp://{}/live/{stream_key}", self.address)
    }
}

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

fn listen(backlog: i32) -> Result<TcpListener, BenchError> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(SocketAddr::from(([127, 0, 0, 1], 0))))?;
    socket.listen(backlog)?;
    Ok(TcpListener::from_std(socket.into())?)
}

async fn serve(listener: TcpListener, fault: Fault) {
    let mut connections = JoinSet::new();
    let listener = Arc::new(listener);
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(async move {
                        // The client may close whenever it likes.
                        let _ = misbehave(stream, fault).await;
                    });
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn misbehave(mut stream: TcpStream, fault: Fault) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1_024];
    let garbage: Vec<u8> = (0..8_192_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    match fault {
        Fault::Silent | Fault::BlackHole => while stream.read(&mut buffer).await? > 0 {},
        Fault::ClosesAtOnce => {
            if stream.read(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        Fault::Garbage => {
            while stream.read(&mut buffer).await? > 0 {
                stream.write_all(&garbage).await?;
            }
        }
        Fault::GarbageAfterHandshake => {
            shake_hands(&mut stream).await?;
            // Chunk streams 3 to 63 announce 16 MB messages of a command, and none is finished.
            for csid in 3..=63_u8 {
                let header = [csid, 0, 0, 0, 0xff, 0xff, 0xff, 20, 0, 0, 0, 0];
                stream.write_all(&header).await?;
                stream
                    .write_all(garbage.get(..128).unwrap_or_default())
                    .await?;
            }
            while stream.read(&mut buffer).await? > 0 {}
        }
    }
    Ok(())
}

/// C0 C1 in, S0 S1 S2 out, C2 in (RTMP specification 5.2).
async fn shake_hands(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut c0_c1 = vec![0; 1 + 1_536];
    stream.read_exact(&mut c0_c1).await?;
    let mut answer = vec![3];
    answer.extend_from_slice(&[0; 1_536]);
    answer.extend_from_slice(c0_c1.get(1..).unwrap_or_default());
    stream.write_all(&answer).await?;
    let mut c2 = vec![0; 1_536];
    stream.read_exact(&mut c2).await?;
    Ok(())
}
