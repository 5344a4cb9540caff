//! A synthetic publisher: Ant Media's SDK in a browser, as seen from the server.
//!
//! It speaks the SDK's signalling, makes the SDK's offer, reconnects after a failure with the SDK's
//! delays, and sends a [`TestClip`] in real time.

mod conversation;
mod corruption;
mod feeder;
mod pace;
mod peer;
mod rtmp;
mod session;
mod signalling;

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use tokio::{sync::watch, task::JoinHandle, time::timeout};

pub use corruption::CorruptionOptions;
pub use pace::Pace;
pub(crate) use peer::socket_facing;
pub use rtmp::RtmpConnection;
pub(crate) use session::resolve;
pub use signalling::{ServerMessage, Signalling};

use crate::BenchError;
use crate::test_clip::TestClip;

/// What to publish, and to which server.
#[derive(Clone, Debug)]
pub struct PublisherOptions {
    /// `ws://host:port/app/websocket`; `http://…` for WHIP; `rtmp://…/app/key` for RTMP with AAC.
    pub url: String,
    /// Id of the broadcast.
    pub stream_id: String,
    /// Publish token; none is sent when `None`.
    pub token: Option<String>,
    /// Offers and sends video.
    pub video: bool,
    /// Offers and sends audio.
    pub audio: bool,
    /// Offers a data channel, as the SDK does by default.
    pub data_channel: bool,
    /// Number of the publisher in the stamp of each frame.
    pub number: u32,
    /// Goes on sending after the loss of its WebSocket. The SDK stops.
    pub outlives_socket: bool,
    /// Spacing of the video frames.
    pub pace: Pace,
    /// Corrupts some of the video frames.
    pub corruption: Option<CorruptionOptions>,
}

impl PublisherOptions {
    /// Video, audio and data channel, as the SDK does.
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
            corruption: None,
        }
    }
}

/// State of a publisher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PublisherState {
    /// Signalling, ICE and DTLS are in progress.
    #[default]
    Connecting,
    /// ICE and DTLS are up; media is sent.
    Sending,
    /// The connection was lost; the publisher waits before the next attempt.
    Returning,
    /// Stopped by its owner or by the server; it does not come back.
    Stopped,
}

/// Counters and errors of a publisher so far.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PublisherReport {
    /// Id of the broadcast.
    pub stream_id: String,
    /// State at this moment.
    pub state: PublisherState,
    /// `publish` commands sent; more than one means that it had to reconnect.
    pub attempts: u32,
    /// Milliseconds from the first `publish` to ICE and DTLS being up.
    pub connect_ms: Option<f64>,
    /// Milliseconds from the first `publish` to the notification `publish_started`.
    pub publish_started_ms: Option<f64>,
    /// `publish_started` notifications, one for each attempt that succeeded.
    pub publish_started: u32,
    /// [`crate::clock::now_us`] of the first media packet of the newest attempt.
    pub first_media_us: Option<u64>,
    /// Video frames sent.
    pub frames_sent: u64,
    /// Keyframes among them.
    pub keyframes_sent: u64,
    /// Opus packets sent.
    #[serde(rename = "packets_of_sound_sent")]
    pub audio_packets_sent: u64,
    /// Bytes of encoded video and audio sent, without packet headers.
    pub media_bytes_sent: u64,
    /// Keyframe requests (PLI or FIR) received.
    pub keyframes_requested: u64,
    /// Share of the last second's packets that the server reports as lost, 0 to 1.
    pub lost_fraction: f32,
    /// Round-trip time of the last second, as the server's reports give it.
    pub rtt_ms: Option<f64>,
    /// Frames that were sent more than 50 ms after their due time: the generator is overloaded.
    pub frames_late: u64,
    /// Frames that were sent more than 5 ms after their due time.
    pub frames_late_5_ms: u64,
    /// Error definitions of the server and failures, in order; the first 16.
    pub errors: Vec<String>,
}

impl PublisherReport {
    fn error(&mut self, text: impl Into<String>) {
        /// Enough to find the cause; a server that is down for an hour causes thousands.
        const ERRORS_MAX: usize = 16;
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(text.into());
        }
    }
}

/// A command of the owner to the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PublisherCommand {
    Publish,
    Stop,
}

/// A running publisher. Dropping it without [`stop`](Self::stop) closes its sockets without a
/// message, like the crash of a browser.
#[derive(Debug)]
pub struct Publisher {
    command: watch::Sender<PublisherCommand>,
    report: watch::Receiver<PublisherReport>,
    task: JoinHandle<()>,
}

impl Publisher {
    /// Starts to publish, and reconnects until stopped.
    pub fn start(clip: Arc<TestClip>, options: PublisherOptions) -> Self {
        let (command, commanded) = watch::channel(PublisherCommand::Publish);
        let report = PublisherReport {
            stream_id: options.stream_id.clone(),
            ..Default::default()
        };
        let (reporter, report) = watch::channel(report);
        let task = if options.url.starts_with("rtmp:") {
            tokio::spawn(rtmp::run(clip, options, commanded, reporter))
        } else {
            tokio::spawn(session::run(clip, options, commanded, reporter))
        };
        Self {
            command,
            report,
            task,
        }
    }

    /// The current report.
    pub fn report(&self) -> PublisherReport {
        self.report.borrow().clone()
    }

    /// Waits until the report meets a condition.
    ///
    /// # Errors
    /// [`BenchError::Late`] with the errors so far, when it does not in time.
    pub async fn wait(
        &self,
        what: &str,
        time_limit: Duration,
        fulfilled: impl Fn(&PublisherReport) -> bool,
    ) -> Result<PublisherReport, BenchError> {
        let mut report = self.report.clone();
        let waiting = timeout(time_limit, report.wait_for(|report| fulfilled(report))).await;
        if let Ok(Ok(report)) = waiting {
            return Ok(report.clone());
        }
        let seen = self.report();
        let what = format!("{what} (state {:?}, errors {:?})", seen.state, seen.errors);
        Err(BenchError::Late {
            what,
            waited: time_limit,
        })
    }

    /// Waits for the notification `publish_started`.
    ///
    /// # Errors
    /// [`BenchError::Late`] when it does not come in time.
    pub async fn published(&self, time_limit: Duration) -> Result<PublisherReport, BenchError> {
        self.wait("publish_started", time_limit, |report| {
            report.publish_started > 0
        })
        .await
    }

    /// Stops as the SDK does: ends the media, then sends `stop`.
    pub async fn stop(self) -> PublisherReport {
        // The task may have stopped by itself.
        let _ = self.command.send(PublisherCommand::Stop);
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
