//! How broadcasts get into a server and out of it.

use std::net::SocketAddr;

use serde_json::{Value, json};
use shardcast_link::RenditionSpec;

use super::Ingest;
use crate::BenchError;
use crate::harness::{APPLICATION, Harness, request};

/// The way into a server and out of it.
#[derive(Debug)]
pub enum Door<'a> {
    /// Shardcast: WebRTC with the SDK's signalling, or RTMP; destinations and renditions by REST.
    Shardcast(&'a Harness),
    /// A server that was configured to forward every stream; it is published to this URL, in which
    /// `{stream}` is the stream id.
    Configured {
        /// `rtmp://…` or, for WHIP, `http://…`.
        publish: String,
    },
    /// A server with Ant Media's REST calls.
    AntMedia {
        /// Address of its HTTP server.
        http: SocketAddr,
        /// Application.
        application: String,
        /// As of [`Door::Configured`].
        publish: String,
    },
}

impl Door<'_> {
    /// Where a broadcast is published to; of Shardcast in this way.
    ///
    /// # Errors
    /// When Shardcast takes no RTMP.
    pub async fn publish_url(&self, stream_id: &str, ingest: Ingest) -> Result<String, BenchError> {
        Ok(match (self, ingest) {
            (Self::Shardcast(harness), Ingest::WebRtc) => harness.signalling(),
            (Self::Shardcast(harness), Ingest::Rtmp) => {
                format!("{}/{stream_id}", harness.rtmp().await?)
            }
            (Self::Configured { publish } | Self::AntMedia { publish, .. }, _) => {
                publish.replace("{stream}", stream_id)
            }
        })
    }

    /// Where a broadcast is watched by WHEP.
    ///
    /// # Errors
    /// For other servers than Shardcast.
    pub(super) fn watch_url(&self, stream_id: &str) -> Result<String, BenchError> {
        match self {
            Self::Shardcast(harness) => Ok(format!(
                "http://{}/{APPLICATION}/whep/{stream_id}",
                harness.http()
            )),
            Self::Configured { .. } | Self::AntMedia { .. } => Err(BenchError::Argument(
                "viewers are measured with Shardcast only".to_owned(),
            )),
        }
    }

    /// Address of the HTTP server.
    ///
    /// # Errors
    /// For other servers than Shardcast.
    pub(super) fn http(&self) -> Result<SocketAddr, BenchError> {
        match self {
            Self::Shardcast(harness) => Ok(harness.http()),
            Self::Configured { .. } | Self::AntMedia { .. } => Err(BenchError::Argument(
                "HLS and recordings are measured with Shardcast only".to_owned(),
            )),
        }
    }

    /// Creates a broadcast with its destinations before it is published.
    ///
    /// # Errors
    /// When the server refuses something, or cannot make renditions or recordings.
    pub(super) async fn prepare(
        &self,
        id: &str,
        is_recorded: bool,
        destinations: &[String],
        renditions: &[(String, &RenditionSpec)],
    ) -> Result<(), BenchError> {
        if is_recorded {
            self.http()?;
        }
        match self {
            Self::Shardcast(harness) => {
                if is_recorded {
                    harness.create_recorded(id).await?;
                } else {
                    harness.create(id).await?;
                }
                for url in destinations {
                    harness.add(id, url).await?;
                }
                for (url, spec) in renditions {
                    harness.add_rendition(id, url, spec).await?;
                }
                Ok(())
            }
            _ if !renditions.is_empty() => Err(BenchError::Argument(
                "renditions are measured with Shardcast only".to_owned(),
            )),
            Self::Configured { .. } => Ok(()),
            Self::AntMedia {
                http, application, ..
            } => ant_media(*http, application, id, destinations).await,
        }
    }
}

async fn ant_media(
    http: SocketAddr,
    application: &str,
    id: &str,
    destinations: &[String],
) -> Result<(), BenchError> {
    let base = format!("/{application}/rest/v2/broadcasts");
    let create = json!({"streamId": id, "name": id, "type": "liveStream"});
    let mut calls = vec![(format!("{base}/create"), create)];
    for url in destinations {
        calls.push((
            format!("{base}/{id}/rtmp-endpoint"),
            json!({"rtmpUrl": url}),
        ));
    }
    for (path, body) in calls {
        let response = request(http, "POST", &path, Some(&body)).await?;
        let refused = response.json().get("success") == Some(&Value::Bool(false));
        if response.status != 200 || refused {
            return Err(BenchError::Refused {
                what: "a REST call of Ant Media",
                answer: format!("{path}: {} {}", response.status, response.text),
            });
        }
    }
    Ok(())
}
