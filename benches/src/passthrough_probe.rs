//! A passthrough broadcast whose delay and loss are measured while other work runs.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::json;

use crate::BenchError;
use crate::harness::Harness;
use crate::publisher::{Publisher, PublisherOptions};
use crate::sink::{ConnectionReport, Sink};
use crate::stats::Percentiles;
use crate::test_clip::TestClip;

/// Longest wait for its first frame and for its end, on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Loss, defects and delay of a passthrough broadcast.
#[derive(Clone, Debug, Serialize)]
pub struct PassthroughReport {
    /// Video frames that the publisher sent.
    pub frames_sent: u64,
    /// Frames that the destination did not receive, from its first frame to the last one sent.
    pub frames_lost: u64,
    /// All other defects at the destination, as text.
    pub faults: Vec<String>,
    /// From the publisher's send call to the arrival at the destination's socket, since
    /// [`reset_delays`](PassthroughProbe::reset_delays).
    pub delay_ms: Option<Percentiles>,
    /// Frames that the generator sent more than 50 ms late: above 0, the generator itself delayed
    /// frames, and the delays are not valid.
    pub frames_sent_late: u64,
}

/// A broadcast with one destination that never gets a rendition.
#[derive(Debug)]
pub struct PassthroughProbe {
    key: String,
    sink: Sink,
    publisher: Publisher,
    /// Number of delays at the last reset; they are left out of the report.
    delays_before: usize,
}

impl PassthroughProbe {
    /// Starts the broadcast, and waits until its destination has received a video frame.
    ///
    /// # Errors
    /// When the broadcast does not start.
    pub async fn start(
        harness: &Harness,
        clip: &Arc<TestClip>,
        stream_id: &str,
    ) -> Result<Self, BenchError> {
        let sink = Sink::start()?;
        let key = format!("{stream_id}-key");
        harness.create(stream_id).await?;
        let body = json!({"rtmpUrl": sink.url(&key), "reencode": "off"});
        harness.add_endpoint(stream_id, &body).await?;
        let options = PublisherOptions::new(harness.signalling(), stream_id);
        let publisher = Publisher::start(Arc::clone(clip), options);
        sink.frames(&key, 1, TIME_LIMIT).await?;
        Ok(Self {
            key,
            sink,
            publisher,
            delays_before: 0,
        })
    }

    /// Leaves all delays until now out of the report.
    pub fn reset_delays(&mut self) {
        self.delays_before = self.sink.delays_ms().len();
    }

    /// Ends the broadcast and returns its report.
    pub async fn stop(self) -> PassthroughReport {
        let delays_ms = self.sink.delays_ms().split_off(self.delays_before);
        let sent = self.publisher.stop().await;
        let ended = |stream: &ConnectionReport| stream.ended.is_some();
        // A stream that does not end in time is reported as it is.
        let waited = self.sink.wait(&self.key, "end", TIME_LIMIT, ended).await;
        let stream = waited.ok().or_else(|| self.sink.stream(&self.key));
        let stream = stream.unwrap_or_default();
        let got = stream.last_stamp.map_or(0, |last| u64::from(last) + 1);
        let behind = sent.frames_sent.saturating_sub(got);
        let mut faults = stream.faults();
        if !stream.ended_cleanly() {
            faults.push(format!("ended by {:?}", stream.ended));
        }
        let connections = self.sink.streams(&self.key).len();
        if connections != 1 || sent.attempts != 1 {
            let attempts = sent.attempts;
            faults.push(format!(
                "{connections} connections, {attempts} attempts to publish"
            ));
        }
        PassthroughReport {
            frames_sent: sent.frames_sent,
            frames_lost: stream.frames_missing + behind,
            faults,
            delay_ms: Percentiles::of(delays_ms),
            frames_sent_late: sent.frames_late,
        }
    }
}

impl PassthroughReport {
    /// No frame was lost, and there is no other defect.
    pub fn is_unharmed(&self) -> bool {
        self.frames_lost == 0 && self.faults.is_empty()
    }
}
