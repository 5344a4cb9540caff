//! The parts of `GET /api/v1/status` that measurements need.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;
use shardcast_link::{
    CodecStatus, DecoderStatus, DestinationStatus, PublisherStatus, RenditionStatus, WorkCounters,
};
use tokio::time::sleep;

use super::{APPLICATION, Harness, request};
use crate::BenchError;

/// Shards send a status once a second; a shorter interval reads each of them.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// The status of Shardcast.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    /// All shards, in the order of their numbers.
    pub shards: Vec<ShardState>,
    /// All broadcasts that control knows.
    pub broadcasts: Vec<BroadcastState>,
}

/// One shard.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ShardState {
    /// CPU time of the shard's thread over the last second, in thousandths of a core.
    pub cpu_permille: u32,
    /// Transcode capacity of the shard and its use.
    pub codec: CodecStatus,
    /// What its work consisted of; `None` of a server that does not count it.
    pub work: Option<WorkCounters>,
}

/// One broadcast.
#[derive(Clone, Debug, Deserialize)]
pub struct BroadcastState {
    /// Stream id.
    pub stream: String,
    /// The publisher; `None` while nobody publishes.
    pub publisher: Option<PublisherStatus>,
    /// The video decoder; `None` while nothing is decoded.
    pub decoder: Option<DecoderStatus>,
    /// Renditions in the making.
    pub renditions: Vec<RenditionStatus>,
    /// Destinations of the broadcast.
    #[serde(default)]
    pub destinations: Vec<DestinationState>,
}

/// One destination.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum DestinationState {
    /// The status that the engine sent.
    Live(Box<DestinationStatus>),
    /// The engine has sent no status of it yet.
    Idle {},
}

impl Status {
    /// Transcode capacity of the first shard and its use.
    pub fn codec(&self) -> CodecStatus {
        self.shards.first().copied().unwrap_or_default().codec
    }

    /// The broadcast with this id.
    pub fn broadcast(&self, stream_id: &str) -> Option<&BroadcastState> {
        self.broadcasts.iter().find(|one| one.stream == stream_id)
    }

    /// The renditions of this broadcast.
    pub fn renditions(&self, stream_id: &str) -> &[RenditionStatus] {
        self.broadcast(stream_id)
            .map_or(&[], |broadcast| &broadcast.renditions)
    }
}

impl Harness {
    /// The current status; its figures are those of the shards' last second.
    ///
    /// # Errors
    /// When the server does not answer, or its answer is no status.
    pub async fn status(&self) -> Result<Status, BenchError> {
        let response = request(self.http(), "GET", "/api/v1/status", None).await?;
        serde_json::from_str(&response.text).map_err(|error| BenchError::Refused {
            what: "the status",
            answer: format!("{} ({error})", response.text),
        })
    }

    /// `rtmp://address:port/application`, to which encoders publish.
    ///
    /// # Errors
    /// When the server does not answer, or takes no RTMP.
    pub async fn rtmp(&self) -> Result<String, BenchError> {
        let response = request(self.http(), "GET", "/api/v1/status", None).await?;
        let status = response.json();
        let sink = status.pointer("/local_sink/url_base");
        let base = sink.and_then(|url| Value::as_str(url)?.strip_suffix("/sink"));
        let base = base.ok_or_else(|| BenchError::Refused {
            what: "the question for the address of RTMP",
            answer: format!("a status without one: {}", response.text),
        })?;
        Ok(format!("{base}/{APPLICATION}"))
    }

    /// Waits until the status meets a condition.
    ///
    /// # Errors
    /// [`BenchError::Late`] with the last status, when it does not in time.
    pub async fn wait_status(
        &self,
        what: &str,
        time_limit: Duration,
        fulfilled: impl Fn(&Status) -> bool,
    ) -> Result<Status, BenchError> {
        let deadline = Instant::now() + time_limit;
        loop {
            let status = self.status().await?;
            if fulfilled(&status) {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(BenchError::Late {
                    what: format!("{what} (last seen: {status:?})"),
                    waited: time_limit,
                });
            }
            sleep(POLL_INTERVAL).await;
        }
    }
}
