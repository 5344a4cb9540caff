//! A broadcast that is passed on as it is, to see what happens beside it does to it.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::json;

use crate::BenchError;
use crate::clip::Clip;
use crate::harness::Harness;
use crate::publisher::{Publisher, PublisherOptions};
use crate::sink::{ConnectionReport, Sink};
use crate::stats::Percentiles;

/// Until it flows, and until it has ended, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// What became of it.
#[derive(Clone, Debug, Serialize)]
pub struct WitnessReport {
    pub frames_sent: u64,
    /// Frames between the first one that its destination got and the last one that was sent which
    /// the destination did not get.
    pub frames_lost: u64,
    /// Everything else that was wrong at the destination, in words.
    pub faults: Vec<String>,
    /// From the publisher's send call to the destination's read call, since
    /// [`mark`](Witness::mark).
    pub delay_ms: Option<Percentiles>,
    /// Frames that left the generator more than 50 ms late: above 0, it was too slow for the delays
    /// to be believed.
    pub frames_sent_late: u64,
}

/// A broadcast with one destination that is never sent anything but the publisher's picture.
#[derive(Debug)]
pub struct Witness {
    key: String,
    sink: Sink,
    publisher: Publisher,
    /// Delays that are not looked at.
    delays_before: usize,
}

impl Witness {
    /// Starts it, and waits until its destination has a picture.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(
        harness: &Harness,
        clip: &Arc<Clip>,
        stream_id: &str,
    ) -> Result<Self, BenchError> {
        let sink = Sink::start()?;
        let key = format!("{stream_id}-key");
        harness.create(stream_id).await?;
        let body = json!({"rtmpUrl": sink.url(&key), "reencode": "off"});
        harness.add_endpoint(stream_id, &body).await?;
        let options = PublisherOptions::new(harness.signalling(), stream_id);
        let publisher = Publisher::start(Arc::clone(clip), options);
        sink.frames(&key, 1, PATIENCE).await?;
        Ok(Self {
            key,
            sink,
            publisher,
            delays_before: 0,
        })
    }

    /// Delays are looked at from now on.
    pub fn mark(&mut self) {
        self.delays_before = self.sink.delays_ms().len();
    }

    /// Ends it, and tells what became of it.
    pub async fn stop(self) -> WitnessReport {
        let delays_ms = self.sink.delays_ms().split_off(self.delays_before);
        let sent = self.publisher.stop().await;
        let ended = |stream: &ConnectionReport| stream.ended.is_some();
        // One that does not end in time is reported as it is.
        let waited = self.sink.wait(&self.key, "end", PATIENCE, ended).await;
        let stream = waited.ok().or_else(|| self.sink.stream(&self.key));
        let stream = stream.unwrap_or_default();
        let got = stream.last_mark.map_or(0, |last| u64::from(last) + 1);
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
        WitnessReport {
            frames_sent: sent.frames_sent,
            frames_lost: stream.frames_missing + behind,
            faults,
            delay_ms: Percentiles::of(delays_ms),
            frames_sent_late: sent.frames_late,
        }
    }
}

impl WitnessReport {
    /// Nothing was lost, and nothing else was wrong.
    pub fn is_unharmed(&self) -> bool {
        self.frames_lost == 0 && self.faults.is_empty()
    }
}
