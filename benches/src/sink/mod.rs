//! An RTMP and RTMPS server that accepts all streams and measures them.
//!
//! It takes any number of connections, any application and any stream key. A [`FaultScript`] makes
//! it fail in chosen ways, connection by connection, and a [`PlatformProfile`] makes it answer like
//! the ingest of one platform. [`BlackHole`] and [`RefusedPort`] are addresses at which no
//! connection succeeds.
//!
//! ```text
//!  port ──► register (which connections are open at the same time)
//!   │
//!   └► connection ──► tls, non_rtmp ──► session of shardcast-core ──► measure ──► report
//!                                        └► outbound
//! ```

mod audio_tag;
mod av_sync;
mod connection;
mod fault_script;
mod fault_syntax;
mod flash_detector;
mod measure;
mod non_rtmp;
mod outbound;
mod pace;
mod pipe;
mod platform_profile;
mod port;
mod register;
mod tls;
mod unreachable;
mod video;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

pub use fault_script::{
    Answer, ConnectionFaults, FaultAction, FaultScript, NonRtmpAnswer, ScheduledFault, TlsFault,
    Trigger,
};
pub use fault_syntax::FAULTS_HELP;
pub use measure::{ConnectionReport, Ended};
pub use platform_profile::PlatformProfile;
pub use tls::{Certificate, TestCa};
pub use unreachable::{BlackHole, RefusedPort};
pub use video::{CodedFrame, FrameLog, VBV_BUFFER_MS, VbvReport, VideoReport, WINDOW_MS};

use crate::BenchError;
use crate::stats::Percentiles;
use port::{Port, PortHandle};
use register::Register;

/// Address, faults and platform of a sink.
#[derive(Clone, Debug, Default)]
pub struct SinkOptions {
    /// A free port of 127.0.0.1 when `None`; port 0 takes a free one.
    pub listen: Option<SocketAddr>,
    /// Faults of the connections.
    pub fault_script: FaultScript,
    /// The platform whose ingest the sink resembles.
    pub platform: PlatformProfile,
    /// Speaks RTMPS with certificates of this CA.
    pub tls: Option<Arc<TestCa>>,
    /// Decodes video without frame stamps to find its flashes, which the audio offset needs. Costs
    /// the CPU time of a decoder.
    pub decodes_video: bool,
    /// Says that it takes Opus, as enhanced RTMP has it.
    pub takes_opus: bool,
}

impl SinkOptions {
    /// A generic RTMP server with these faults.
    pub fn with(fault_script: impl Into<FaultScript>) -> Self {
        Self {
            fault_script: fault_script.into(),
            ..Self::default()
        }
    }
}

/// A listening sink. Dropping it closes the listener and all connections.
#[derive(Debug)]
pub struct Sink {
    port: PortHandle,
    register: Register,
    is_tls: bool,
    /// The task of the port, which owns the connections.
    tasks: JoinSet<()>,
}

impl Sink {
    /// Listens on a free port of 127.0.0.1, without faults.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start() -> Result<Self, BenchError> {
        Self::with(SinkOptions::default())
    }

    /// Listens with these options. Must be called inside a Tokio runtime.
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

    /// Address of the listener.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// URL to publish to with this stream key.
    pub fn url(&self, stream_key: &str) -> String {
        format!("{}://{}/live/{stream_key}", self.scheme(), self.address())
    }

    /// The same with the name `localhost`, which a TLS client sends as SNI and checks.
    pub fn url_by_name(&self, stream_key: &str) -> String {
        let port = self.address().port();
        format!("{}://localhost:{port}/live/{stream_key}", self.scheme())
    }

    fn scheme(&self) -> &'static str {
        if self.is_tls { "rtmps" } else { "rtmp" }
    }

    /// Breaks all connections and stops listening, like a server that was killed. The reports are
    /// kept. [`come_back`](Self::come_back) reverses it.
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

    /// All connections so far, in the order of acceptance.
    pub fn connections(&self) -> Vec<ConnectionReport> {
        self.register.reports()
    }

    /// Largest number of connections that were open at the same time.
    pub fn at_once_max(&self) -> usize {
        let all = self.connections();
        all.iter()
            .map(|one| one.concurrent.len() + 1)
            .max()
            .unwrap_or(0)
    }

    /// The same among the connections that asked to publish with this key.
    pub fn at_once_max_of(&self, stream_key: &str) -> usize {
        let all = self.connections();
        let has_key = |number: &&usize| {
            all.get(**number)
                .is_some_and(|other| other.stream_key == stream_key)
        };
        let same_key = all.iter().filter(|one| one.stream_key == stream_key);
        same_key
            .map(|one| one.concurrent.iter().filter(has_key).count() + 1)
            .max()
            .unwrap_or(0)
    }

    /// Percentiles of the delays of all stamped frames of all connections, in milliseconds.
    pub fn delay_ms(&self) -> Option<Percentiles> {
        Percentiles::of(self.register.delays_ms())
    }

    /// The single delays in milliseconds, connection by connection and in the order of receipt.
    pub fn delays_ms(&self) -> Vec<f64> {
        self.register.delays_ms()
    }

    /// Those of the connections with this key.
    pub fn delays_ms_of(&self, stream_key: &str) -> Vec<f64> {
        self.register.delays_ms_of(stream_key)
    }

    /// Forgets the delays so far, so that those of the start are not part of a measurement.
    pub fn forget_delays(&self) {
        self.register.forget_delays();
    }

    /// The connections that asked to publish with this key.
    pub fn streams(&self, stream_key: &str) -> Vec<ConnectionReport> {
        self.register.reports_of(stream_key)
    }

    /// The newest connection that asked to publish with this key.
    pub fn stream(&self, stream_key: &str) -> Option<ConnectionReport> {
        self.streams(stream_key).pop()
    }

    /// Time and size of the video frames of each connection, in the order of
    /// [`connections`](Self::connections).
    pub fn logs(&self) -> Vec<FrameLog> {
        self.register.logs()
    }

    /// The same for the newest connection with this key; empty when there is none.
    pub fn log(&self, stream_key: &str) -> FrameLog {
        let connections = self.connections();
        let mut all = connections.iter().zip(self.logs());
        all.rfind(|(connection, _)| connection.stream_key == stream_key)
            .map(|(_, log)| log)
            .unwrap_or_default()
    }

    /// Waits until the newest connection with this key meets a condition.
    ///
    /// # Errors
    /// [`BenchError::Late`] with the last report, when it does not in time.
    pub async fn wait(
        &self,
        stream_key: &str,
        what: &str,
        time_limit: Duration,
        fulfilled: impl Fn(&ConnectionReport) -> bool,
    ) -> Result<ConnectionReport, BenchError> {
        let deadline = Instant::now() + time_limit;
        loop {
            let stream = self.stream(stream_key);
            match stream {
                Some(stream) if fulfilled(&stream) => return Ok(stream),
                stream if Instant::now() >= deadline => {
                    let what = format!("{what} (last seen: {stream:?})");
                    return Err(BenchError::Late {
                        what,
                        waited: time_limit,
                    });
                }
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Waits until the newest connection with this key has received `count` video frames.
    ///
    /// # Errors
    /// [`BenchError::Late`] with the last report, when it does not in time.
    pub async fn frames(
        &self,
        stream_key: &str,
        count: u64,
        time_limit: Duration,
    ) -> Result<ConnectionReport, BenchError> {
        let what = format!("{count} frames");
        self.wait(stream_key, &what, time_limit, |stream| {
            stream.video_frames >= count
        })
        .await
    }

    /// Closes the listener and all connections for good.
    pub async fn close(mut self) {
        self.tasks.shutdown().await;
    }
}
