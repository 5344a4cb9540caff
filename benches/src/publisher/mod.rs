//! A synthetic publisher: Ant Media's SDK in a browser, as seen from the server.
//!
//! It speaks the SDK's signalling, offers what the SDK offers, comes back after a failure as the
//! SDK does, and sends a [`Clip`] in real time.

mod feeder;
mod hostile;
mod pace;
mod peer;
mod session;
mod signalling;

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use tokio::{sync::watch, task::JoinHandle, time::timeout};

pub use hostile::Hostility;
pub use pace::Pace;
pub use signalling::{ServerMessage, Signalling};

use crate::BenchError;
use crate::clip::Clip;

/// What to publish, and where.
#[derive(Clone, Debug)]
pub struct PublisherOptions {
    /// `ws://host:port/app/websocket`.
    pub url: String,
    pub stream_id: String,
    pub token: Option<String>,
    pub video: bool,
    pub audio: bool,
    /// The SDK offers one unless told otherwise.
    pub data_channel: bool,
    /// Goes into the mark of each frame.
    pub number: u32,
    /// Goes on sending after the loss of its WebSocket, which the SDK does not.
    pub outlives_socket: bool,
    /// How its pictures follow each other.
    pub pace: Pace,
    /// Sends pictures that are damaged and absurd among good ones.
    pub hostility: Option<Hostility>,
}

impl PublisherOptions {
    /// Picture, sound and data channel, as the SDK does.
    pub fn new(url: impl Into<String>, stream_id: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            stream_id: stream_id.into(),
            token: None,
            video: true,
            audio: true,
            data_channel: true,
            number: 0,
            outlives_socket: false,
            pace: Pace::Constant,
            hostility: None,
        }
    }
}

/// Where a publisher is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PublisherState {
    #[default]
    Connecting,
    /// ICE and DTLS are up, media flows.
    Sending,
    /// Lost, waits before the next attempt.
    Returning,
    Stopped,
}

/// What a publisher has seen so far.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PublisherReport {
    pub stream_id: String,
    pub state: PublisherState,
    /// `publish` commands sent; more than one means that it had to come back.
    pub attempts: u32,
    /// From the first `publish` to ICE and DTLS being up.
    pub connect_ms: Option<f64>,
    /// From the first `publish` to the notification `publish_started`.
    pub publish_started_ms: Option<f64>,
    /// `publish_started` notifications, one for each attempt that succeeded.
    pub publish_started: u32,
    /// [`crate::clock::now_us`] of the first media packet of the newest attempt.
    pub first_media_us: Option<u64>,
    pub frames_sent: u64,
    pub keyframes_sent: u64,
    pub packets_of_sound_sent: u64,
    pub media_bytes_sent: u64,
    pub keyframes_requested: u64,
    /// Of the packets of the last second, as the server reports it.
    pub lost_fraction: f32,
    pub rtt_ms: Option<f64>,
    /// Frames that were sent more than 50 ms after their time: the generator is overloaded.
    pub frames_late: u64,
    /// Error definitions and failures, in order; the first sixteen.
    pub errors: Vec<String>,
}

impl PublisherReport {
    fn error(&mut self, text: impl Into<String>) {
        /// Enough to see the cause; a server that is down for an hour makes thousands.
        const ERRORS_MAX: usize = 16;
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(text.into());
        }
    }
}

/// What the owner wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Publish,
    Stop,
}

/// A running publisher. Dropped without [`stop`](Self::stop) it vanishes: the sockets are closed
/// without a word, as when a browser crashes.
#[derive(Debug)]
pub struct Publisher {
    wish: watch::Sender<Wish>,
    report: watch::Receiver<PublisherReport>,
    task: JoinHandle<()>,
}

impl Publisher {
    /// Starts to publish, and goes on trying until stopped.
    pub fn start(clip: Arc<Clip>, options: PublisherOptions) -> Self {
        let (wish, wished) = watch::channel(Wish::Publish);
        let report = PublisherReport {
            stream_id: options.stream_id.clone(),
            ..Default::default()
        };
        let (reporter, report) = watch::channel(report);
        let task = tokio::spawn(session::run(clip, options, wished, reporter));
        Self { wish, report, task }
    }

    /// The report of this moment.
    pub fn report(&self) -> PublisherReport {
        self.report.borrow().clone()
    }

    /// Waits until the report fulfils something.
    ///
    /// # Errors
    /// [`BenchError::Late`] with the errors seen so far, when it does not in time.
    pub async fn wait(
        &self,
        what: &str,
        patience: Duration,
        fulfilled: impl Fn(&PublisherReport) -> bool,
    ) -> Result<PublisherReport, BenchError> {
        let mut report = self.report.clone();
        let waiting = timeout(patience, report.wait_for(|report| fulfilled(report))).await;
        if let Ok(Ok(report)) = waiting {
            return Ok(report.clone());
        }
        let seen = self.report();
        let what = format!("{what} (state {:?}, errors {:?})", seen.state, seen.errors);
        Err(BenchError::Late {
            what,
            waited: patience,
        })
    }

    /// Waits for the notification `publish_started`.
    ///
    /// # Errors
    /// [`BenchError::Late`] when it does not come in time.
    pub async fn published(&self, patience: Duration) -> Result<PublisherReport, BenchError> {
        self.wait("publish_started", patience, |report| {
            report.publish_started > 0
        })
        .await
    }

    /// Stops as the SDK does: the media ends, then `stop` is said.
    pub async fn stop(self) -> PublisherReport {
        // The task may have stopped by itself.
        let _ = self.wish.send(Wish::Stop);
        let mut report = self.report.clone();
        let stopped = report.wait_for(|report| report.state == PublisherState::Stopped);
        let _ = timeout(crate::limits::SIGNALLING_TIMEOUT, stopped).await;
        self.report()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}
