//! What Shardcast says of itself at `GET /api/v1/status`, as far as measurements need it.

use std::time::{Duration, Instant};

use serde::Deserialize;
use shardcast_link::{
    CodecStatus, DecoderStatus, DestinationStatus, PublisherStatus, RenditionStatus,
};
use tokio::time::sleep;

use super::{Harness, request};
use crate::BenchError;

/// Shards send a status once a second; looking more often sees each of them.
const LOOK: Duration = Duration::from_millis(200);

/// The whole of it.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    pub shards: Vec<ShardState>,
    pub broadcasts: Vec<BroadcastState>,
}

/// One shard.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ShardState {
    pub cpu_permille: u32,
    pub codec: CodecStatus,
}

/// One broadcast.
#[derive(Clone, Debug, Deserialize)]
pub struct BroadcastState {
    pub stream: String,
    pub publisher: Option<PublisherStatus>,
    pub decoder: Option<DecoderStatus>,
    pub renditions: Vec<RenditionStatus>,
    #[serde(default)]
    pub destinations: Vec<DestinationState>,
}

/// One destination.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum DestinationState {
    Live(Box<DestinationStatus>),
    /// Nothing is known of it yet.
    Idle {},
}

impl Status {
    /// What re-encoding may use and does on the first shard.
    pub fn codec(&self) -> CodecStatus {
        self.shards.first().copied().unwrap_or_default().codec
    }

    /// The broadcast with this id.
    pub fn broadcast(&self, stream_id: &str) -> Option<&BroadcastState> {
        self.broadcasts.iter().find(|one| one.stream == stream_id)
    }

    /// Everything that is made of it.
    pub fn renditions(&self, stream_id: &str) -> &[RenditionStatus] {
        self.broadcast(stream_id)
            .map_or(&[], |broadcast| &broadcast.renditions)
    }
}

impl Harness {
    /// The status of this moment, which is that of the shards' last second.
    ///
    /// # Errors
    /// When nobody answers, or with something else.
    pub async fn status(&self) -> Result<Status, BenchError> {
        let response = request(self.http(), "GET", "/api/v1/status", None).await?;
        serde_json::from_str(&response.text).map_err(|error| BenchError::Refused {
            what: "the status",
            answer: format!("{} ({error})", response.text),
        })
    }

    /// Waits until the status fulfils something.
    ///
    /// # Errors
    /// [`BenchError::Late`] when it does not in time.
    pub async fn wait_status(
        &self,
        what: &str,
        patience: Duration,
        fulfilled: impl Fn(&Status) -> bool,
    ) -> Result<Status, BenchError> {
        let deadline = Instant::now() + patience;
        loop {
            let status = self.status().await?;
            if fulfilled(&status) {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(BenchError::Late {
                    what: format!("{what} (last seen: {status:?})"),
                    waited: patience,
                });
            }
            sleep(LOOK).await;
        }
    }
}
