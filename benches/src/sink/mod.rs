//! An RTMP and RTMPS server that takes whatever is published and measures it.
//!
//! Any number of connections, any application, any key. It can also misbehave, towards each
//! connection as its [`Manners`] say, and answer like the ingest of a [`Personality`]. Addresses at
//! which no connection comes about are [`BlackHole`] and [`refusing_url`].
//!
//! ```text
//!  port ──► register (who is open at the same time)
//!   │
//!   └► connection ──► tls, entry ──► session of shardcast-core ──► measure ──► report
//!                                        └► outbound
//! ```

mod connection;
mod entry;
mod eye;
mod manners;
mod measure;
mod outbound;
mod personality;
mod picture;
mod pipe;
mod port;
mod register;
mod script;
mod sync;
mod tls;
mod unreachable;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

pub use manners::{After, Answer, Entry, Fate, Manner, Manners, TlsManner, Turn};
pub use measure::{ConnectionReport, Ended};
pub use personality::Personality;
pub use picture::{CodedFrame, FrameLog, PictureReport, VBV_BUFFER_MS, VbvReport, WINDOW_MS};
pub use script::FAULTS_HELP;
pub use tls::{Certificate, TestCa};
pub use unreachable::{BlackHole, refusing_url};

use crate::BenchError;
use crate::stats::Percentiles;
use port::{Port, PortHandle};
use register::Register;

/// How a sink behaves.
#[derive(Clone, Debug, Default)]
pub struct SinkOptions {
    /// A free port of 127.0.0.1 when `None`; port 0 takes a free one.
    pub listen: Option<SocketAddr>,
    pub manners: Manners,
    pub platform: Personality,
    /// Speaks RTMPS with certificates of this CA.
    pub tls: Option<Arc<TestCa>>,
    /// Decodes pictures without a mark to see them flash, or sound cannot be held against them. It
    /// costs as much as any decoder.
    pub looks: bool,
}

impl SinkOptions {
    /// A generic RTMP server with these manners.
    pub fn with(manners: impl Into<Manners>) -> Self {
        Self {
            manners: manners.into(),
            ..Self::default()
        }
    }
}

/// A listening sink. Dropped, it closes everything.
#[derive(Debug)]
pub struct Sink {
    port: PortHandle,
    register: Register,
    is_tls: bool,
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
        let register = Register::default();
        let is_tls = options.tls.is_some();
        let (listening, port) = Port::open(options, register.clone())?;
        let mut tasks = JoinSet::new();
        tasks.spawn(listening.run());
        Ok(Self {
            port,
            register,
            is_tls,
            tasks,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Where to publish under this key.
    pub fn url(&self, stream_key: &str) -> String {
        format!("{}://{}/live/{stream_key}", self.scheme(), self.address())
    }

    /// The same by the name of this machine, which TLS then says and checks.
    pub fn url_by_name(&self, stream_key: &str) -> String {
        let port = self.address().port();
        format!("{}://localhost:{port}/live/{stream_key}", self.scheme())
    }

    fn scheme(&self) -> &'static str {
        if self.is_tls { "rtmps" } else { "rtmp" }
    }

    /// Breaks all connections and stops listening, as a server that is killed. It keeps its
    /// reports, and may [`come_back`](Self::come_back).
    pub async fn go_away(&self) {
        self.port.go_away().await;
    }

    /// Listens again, at the address it had or at another one.
    ///
    /// # Errors
    /// When the address is taken.
    pub async fn come_back(&self, address: Option<SocketAddr>) -> Result<(), BenchError> {
        let address = address.unwrap_or_else(|| self.address());
        self.port.come_back(address).await
    }

    /// All connections so far, in the order in which they came.
    pub fn connections(&self) -> Vec<ConnectionReport> {
        self.register.reports()
    }

    /// Most connections that were open at the same time, whatever they said.
    pub fn at_once_max(&self) -> usize {
        let all = self.connections();
        all.iter()
            .map(|one| one.beside.len() + 1)
            .max()
            .unwrap_or(0)
    }

    /// The same among those that published, or wanted to, under this key.
    pub fn at_once_max_of(&self, stream_key: &str) -> usize {
        let all = self.connections();
        let has_key = |number: &&usize| {
            all.get(**number)
                .is_some_and(|other| other.stream_key == stream_key)
        };
        let same_key = all.iter().filter(|one| one.stream_key == stream_key);
        same_key
            .map(|one| one.beside.iter().filter(has_key).count() + 1)
            .max()
            .unwrap_or(0)
    }

    /// Delays of all frames of all connections together.
    pub fn delay_ms(&self) -> Option<Percentiles> {
        Percentiles::of(self.register.delays_ms())
    }

    /// The same, one by one and in the order in which they came on each connection.
    pub fn delays_ms(&self) -> Vec<f64> {
        self.register.delays_ms()
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

    /// Time and size of every picture of each connection, in the order of
    /// [`connections`](Self::connections).
    pub fn logs(&self) -> Vec<FrameLog> {
        self.register.logs()
    }

    /// The same of the newest connection that published under this key; nothing without one.
    pub fn log(&self, stream_key: &str) -> FrameLog {
        let connections = self.connections();
        let mut all = connections.iter().zip(self.logs());
        all.rfind(|(connection, _)| connection.stream_key == stream_key)
            .map(|(_, log)| log)
            .unwrap_or_default()
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

    /// Closes all connections and the port for good.
    pub async fn close(mut self) {
        self.tasks.shutdown().await;
    }
}
