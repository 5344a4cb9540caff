//! An RTMP server that takes whatever is published and measures it.
//!
//! Any number of connections, any application, any key. It can also misbehave in the ways a real
//! platform does after it has understood the client: refuse the key, answer late, read slowly,
//! reset the connection. Servers that do not speak RTMP at all are in [`crate::faulty`].

mod connection;
mod measure;
mod sync;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::{net::TcpListener, task::JoinSet};

pub use measure::{ConnectionReport, Ended};

use crate::limits::SINK_CONNECTIONS_MAX;
use crate::stats::Percentiles;
use crate::{BenchError, clock};
use measure::Measure;

/// What the sink answers to `publish`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    #[default]
    Accept,
    /// An `onStatus` error with this code.
    Reject { code: String, description: String },
    /// Yes, but so much later.
    AcceptAfter(Duration),
}

/// How a sink behaves.
#[derive(Clone, Debug, Default)]
pub struct SinkOptions {
    /// Port 0 takes a free one.
    pub listen: Option<SocketAddr>,
    pub answer: Answer,
    /// Reads no faster, with a small receive buffer, once the stream was accepted.
    pub read_bytes_per_second: Option<u64>,
    /// Resets the connection (RST) so long after the stream was accepted.
    pub reset_after: Option<Duration>,
    /// Our chunk size; the specification's default of 128 when `None`.
    pub chunk_bytes: Option<u32>,
}

type Connections = Arc<Mutex<Vec<Arc<Mutex<Measure>>>>>;

/// A listening sink. Dropped, it closes everything.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    connections: Connections,
    /// Accepts, and holds all connections.
    tasks: JoinSet<()>,
}

impl Sink {
    /// Listens on a free port of 127.0.0.1 and accepts everything.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start() -> Result<Self, BenchError> {
        Self::with(SinkOptions::default())
    }

    /// Listens with these manners. Needs a running Tokio.
    ///
    /// # Errors
    /// When the address is taken.
    pub fn with(options: SinkOptions) -> Result<Self, BenchError> {
        let listener = listen(&options)?;
        let address = listener.local_addr()?;
        let connections = Connections::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, options, Arc::clone(&connections)));
        Ok(Self {
            address,
            connections,
            tasks,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where to publish under this key.
    pub fn url(&self, stream_key: &str) -> String {
        format!("rtmp://{}/live/{stream_key}", self.address)
    }

    /// All connections so far, in the order in which they came.
    pub fn connections(&self) -> Vec<ConnectionReport> {
        let connections = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let report = |measure: &Arc<Mutex<Measure>>| {
            measure
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .report()
        };
        connections.iter().map(report).collect()
    }

    /// Delays of all frames of all connections together.
    pub fn delay_ms(&self) -> Option<Percentiles> {
        let connections = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut all = Vec::new();
        for measure in connections {
            let measure = measure.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend_from_slice(measure.delays_ms());
        }
        Percentiles::of(all)
    }

    /// The connections that published under this key.
    pub fn streams(&self, stream_key: &str) -> Vec<ConnectionReport> {
        let mut all = self.connections();
        all.retain(|connection| connection.stream_key == stream_key);
        all
    }

    /// The newest connection that published under this key.
    pub fn stream(&self, stream_key: &str) -> Option<ConnectionReport> {
        self.streams(stream_key).pop()
    }

    /// Waits until the newest stream of this key fulfils something.
    ///
    /// # Errors
    /// [`BenchError::Late`] with what came instead, when it does not in time.
    pub async fn wait(
        &self,
        stream_key: &str,
        what: &str,
        patience: Duration,
        fulfilled: impl Fn(&ConnectionReport) -> bool,
    ) -> Result<ConnectionReport, BenchError> {
        let deadline = Instant::now() + patience;
        loop {
            let stream = self.stream(stream_key);
            match stream {
                Some(stream) if fulfilled(&stream) => return Ok(stream),
                stream if Instant::now() >= deadline => {
                    let what = format!("{what} (last seen: {stream:?})");
                    return Err(BenchError::Late {
                        what,
                        waited: patience,
                    });
                }
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Waits for so many pictures of the newest stream of this key.
    ///
    /// # Errors
    /// [`BenchError::Late`] when they do not come in time.
    pub async fn frames(
        &self,
        stream_key: &str,
        count: u64,
        patience: Duration,
    ) -> Result<ConnectionReport, BenchError> {
        let what = format!("{count} frames");
        self.wait(stream_key, &what, patience, |stream| {
            stream.video_frames >= count
        })
        .await
    }

    /// Closes all connections and the port, as a server that is killed.
    pub async fn close(mut self) {
        self.tasks.shutdown().await;
    }
}

fn listen(options: &SinkOptions) -> Result<TcpListener, BenchError> {
    /// The kernel doubles it and keeps at least 2 kB: what a slow reader has not read stays with
    /// the sender.
    const SLOW_BUFFER_BYTES: usize = 4_096;
    let address = options.listen.unwrap_or_else(|| ([127, 0, 0, 1], 0).into());
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if options.read_bytes_per_second.is_some() {
        socket.set_recv_buffer_size(SLOW_BUFFER_BYTES)?;
    }
    socket.bind(&SockAddr::from(address))?;
    socket.listen(1_024)?;
    Ok(TcpListener::from_std(socket.into())?)
}

async fn accept(listener: TcpListener, options: SinkOptions, connections: Connections) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, peer)) = accepted else { continue };
                let measure = Measure::new(peer.to_string(), clock::now_us());
                let measure = Arc::new(Mutex::new(measure));
                {
                    let mut all = connections.lock().unwrap_or_else(PoisonError::into_inner);
                    if all.len() >= SINK_CONNECTIONS_MAX {
                        continue;
                    }
                    all.push(Arc::clone(&measure));
                }
                tasks.spawn(connection::serve(stream, options.clone(), measure));
            }
            Some(_) = tasks.join_next() => {}
        }
    }
}
