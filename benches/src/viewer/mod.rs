//! A synthetic viewer: a browser that watches, as seen from the server.
//!
//! It agrees with the server by the SDK's `play` or by WHEP, receives H.264 and Opus, and measures what a
//! person would see: whole frames, freezes, losses, and the delay of each frame of our own publishers.

mod agreement;
mod impairment;
mod packet;
mod peer;
mod reception;
mod session;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

pub use impairment::ImpairmentOptions;

use crate::BenchError;
use reception::VideoReception;

const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Longest wait for the end of a session.
const STOP_TIME_LIMIT: Duration = Duration::from_secs(10);

/// What to watch, at which server.
#[derive(Clone, Debug)]
pub struct ViewerOptions {
    /// `ws://host:port/app/websocket` for the SDK's `play`; `http://…/whep/…` for WHEP.
    pub url: String,
    /// Id of the broadcast.
    pub stream_id: String,
    /// Play token of the SDK's `play`; that of WHEP is in the URL.
    pub token: Option<String>,
    /// The network from the server.
    pub impairment: ImpairmentOptions,
    /// The socket takes datagrams one by one. On loopback the engine's core cuts them apart then.
    pub one_by_one: bool,
}

impl ViewerOptions {
    /// A viewer on a good network.
    pub fn new(url: impl Into<String>, stream_id: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            stream_id: stream_id.into(),
            token: None,
            impairment: ImpairmentOptions::default(),
            one_by_one: false,
        }
    }
}

/// State of a viewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ViewerState {
    /// Signalling, ICE and DTLS are in progress.
    #[default]
    Connecting,
    /// ICE and DTLS are up.
    Watching,
    /// The connection was lost; the viewer waits before the next attempt.
    Returning,
    /// Stopped by its owner or by the server; it does not come back.
    Stopped,
}

/// The video of a viewer has another height than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct HeightChange {
    /// When the server said so, in microseconds on the clock of [`crate::clock`].
    pub at_us: u64,
    /// In pixels.
    pub height: u32,
}

/// What a viewer has received so far. Counts of packets and frames are those of the newest attempt.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ViewerReport {
    /// Id of the broadcast.
    pub stream_id: String,
    /// State at this moment.
    pub state: ViewerState,
    /// Sessions begun; more than one means that it had to reconnect.
    pub attempts: u32,
    /// `play_started` notifications; none by WHEP.
    pub play_started: u32,
    /// Milliseconds from the request to ICE and DTLS being up.
    pub connect_ms: Option<f64>,
    /// Milliseconds from the request to the first whole keyframe.
    pub first_frame_ms: Option<f64>,
    /// The first frame was a keyframe.
    pub begins_with_keyframe: Option<bool>,
    /// Video packets received, each once.
    pub packets: u64,
    /// Video packets that never came.
    pub packets_lost: u64,
    /// Datagrams that the impaired network of this viewer dropped.
    pub packets_dropped_by_network: u64,
    /// Bytes of video payload.
    pub video_bytes: u64,
    /// Frames that are whole and can be decoded.
    pub frames: u64,
    /// Keyframes among them.
    pub keyframes: u64,
    /// Frames that are damaged, or refer to one that is.
    pub frames_damaged: u64,
    /// Frames of the publisher between two that were seen.
    pub frames_missing: u64,
    /// Pauses of the video that a person notices (W3C webrtc-stats, `freezeCount`).
    pub freezes: u64,
    /// The longest of them in milliseconds.
    pub freeze_ms_max: f64,
    /// Audio packets received.
    pub audio_packets: u64,
    /// Longest pause between two audio packets in milliseconds.
    pub audio_gap_ms_max: f64,
    /// Each change of the video's height that the server told the SDK of, in order; the first 64.
    pub heights: Vec<HeightChange>,
    /// What the server told the SDK last that the network carries, in bits a second.
    pub target_bps: Option<u64>,
    /// Failures and error definitions of the server, in order; the first 16.
    pub errors: Vec<String>,
}

/// A command of the owner to the task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ViewerCommand {
    stopped: bool,
    rate_bps: Option<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Seen {
    report: ViewerReport,
    video: VideoReception,
    bytes: u64,
    asked_us: u64,
    audio_us: Option<u64>,
}

impl Seen {
    fn connected(&mut self, at_us: u64) {
        self.report.state = ViewerState::Watching;
        let ms = at_us.saturating_sub(self.asked_us) as f64 / 1_000.0;
        self.report.connect_ms.get_or_insert(ms);
    }

    fn audio(&mut self, at_us: u64) {
        self.report.audio_packets += 1;
        if let Some(last_us) = self.audio_us.replace(at_us) {
            let gap_ms = at_us.saturating_sub(last_us) as f64 / 1_000.0;
            self.report.audio_gap_ms_max = self.report.audio_gap_ms_max.max(gap_ms);
        }
    }

    fn report(&self) -> ViewerReport {
        let video = &self.video;
        let first = video.first_frame_us;
        ViewerReport {
            first_frame_ms: first.map(|at| at.saturating_sub(self.asked_us) as f64 / 1_000.0),
            begins_with_keyframe: video.begins_with_keyframe,
            packets: video.packets,
            packets_lost: video.packets_lost,
            video_bytes: self.bytes,
            frames: video.frames,
            keyframes: video.keyframes,
            frames_damaged: video.frames_damaged,
            frames_missing: video.frames_missing,
            freezes: video.freezes,
            freeze_ms_max: video.freeze_us_max as f64 / 1_000.0,
            ..self.report.clone()
        }
    }
}

/// What the task and its owner share.
#[derive(Debug, Default)]
pub(crate) struct Shared(Mutex<Seen>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self, state: ViewerState) {
        self.lock().report.state = state;
    }

    fn begin_attempt(&self, now_us: u64) {
        let mut seen = self.lock();
        seen.report.attempts += 1;
        seen.report.state = ViewerState::Connecting;
        seen.video = VideoReception::default();
        seen.audio_us = None;
        seen.asked_us = now_us;
    }

    fn play_started(&self) {
        self.lock().report.play_started += 1;
    }

    fn height(&self, at_us: u64, height: u32) {
        /// Far more than may be in the longest measurement.
        const CHANGES_MAX: usize = 64;
        let heights = &mut self.lock().report.heights;
        if heights.len() < CHANGES_MAX {
            heights.push(HeightChange { at_us, height });
        }
    }

    fn target(&self, bps: u64) {
        self.lock().report.target_bps = Some(bps);
    }

    fn lost_on_the_network(&self, count: u64) {
        self.lock().report.packets_dropped_by_network += count;
    }

    fn error(&self, text: impl Into<String>) {
        /// Enough to find the cause; a server that is down for an hour causes thousands.
        const ERRORS_MAX: usize = 16;
        let errors = &mut self.lock().report.errors;
        if errors.len() < ERRORS_MAX {
            errors.push(text.into());
        }
    }
}

/// A running viewer. Dropping it without [`stop`](Self::stop) closes its sockets without a message, like
/// the crash of a browser.
#[derive(Debug)]
pub struct Viewer {
    command: watch::Sender<ViewerCommand>,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Viewer {
    /// Starts to watch, and reconnects until stopped.
    pub fn start(options: ViewerOptions) -> Self {
        let command = watch::Sender::new(ViewerCommand {
            stopped: false,
            rate_bps: options.impairment.rate_bps,
        });
        let shared = Arc::new(Shared::default());
        shared
            .lock()
            .report
            .stream_id
            .clone_from(&options.stream_id);
        let task = session::run(options, command.subscribe(), Arc::clone(&shared));
        Self {
            task: tokio::spawn(task),
            command,
            shared,
        }
    }

    /// The current report.
    pub fn report(&self) -> ViewerReport {
        self.shared.lock().report()
    }

    /// Milliseconds from the publisher's send call to the last packet of each frame, since the last call;
    /// of an hour at most.
    pub fn take_delays_ms(&self) -> Vec<f64> {
        std::mem::take(&mut self.shared.lock().video.delays_ms)
    }

    /// Changes the rate of the network's bottleneck.
    pub fn set_rate(&self, rate_bps: Option<u64>) {
        self.command
            .send_modify(|command| command.rate_bps = rate_bps);
    }

    /// Waits until the report meets a condition.
    ///
    /// # Errors
    /// [`BenchError::Late`] with the errors so far, when it does not in time.
    pub async fn wait(
        &self,
        what: &str,
        time_limit: Duration,
        fulfilled: impl Fn(&ViewerReport) -> bool,
    ) -> Result<ViewerReport, BenchError> {
        let deadline = Instant::now() + time_limit;
        loop {
            let report = self.report();
            if fulfilled(&report) {
                return Ok(report);
            }
            if Instant::now() >= deadline {
                let what = format!(
                    "{what} (state {:?}, {} packets, errors {:?})",
                    report.state, report.packets, report.errors
                );
                return Err(BenchError::Late {
                    what,
                    waited: time_limit,
                });
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits for the first whole keyframe.
    ///
    /// # Errors
    /// [`BenchError::Late`] when it does not come in time.
    pub async fn watching(&self, time_limit: Duration) -> Result<ViewerReport, BenchError> {
        self.wait("video", time_limit, |report| {
            report.first_frame_ms.is_some()
        })
        .await
    }

    /// Stops as a browser does: ends the media, then the session.
    pub async fn stop(mut self) -> ViewerReport {
        self.command.send_modify(|command| command.stopped = true);
        // A task that hangs is aborted when this is dropped.
        let _ = timeout(STOP_TIME_LIMIT, &mut self.task).await;
        self.report()
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
