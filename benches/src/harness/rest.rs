//! The REST calls of a studio.

use serde_json::{Value, json};
use shardcast_link::RenditionSpec;

use super::{APPLICATION, Harness, Response, request};
use crate::BenchError;

impl Harness {
    /// Makes any call below `/{application}/rest/v2`.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn rest(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response, BenchError> {
        let path = format!("/{APPLICATION}/rest/v2{path}");
        request(self.http(), method, &path, body).await
    }

    /// Creates a broadcast with this id.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn create(&self, stream_id: &str) -> Result<(), BenchError> {
        self.create_with(stream_id, &[]).await
    }

    /// The same, and it is recorded.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn create_recorded(&self, stream_id: &str) -> Result<(), BenchError> {
        let body = json!({
            "streamId": stream_id, "name": stream_id, "type": "liveStream", "mp4Enabled": 1,
        });
        self.create_as(&body).await
    }

    /// Creates a broadcast with a ladder of its own.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn create_with(
        &self,
        stream_id: &str,
        ladder: &[RenditionSpec],
    ) -> Result<(), BenchError> {
        let mut body = json!({"streamId": stream_id, "name": stream_id, "type": "liveStream"});
        let rungs = ladder.iter().map(|rung| {
            json!({"height": rung.height, "videoBitrate": rung.video_bps, "audioBitrate": rung.audio_bps})
        });
        if let (false, Some(object)) = (ladder.is_empty(), body.as_object_mut()) {
            object.insert("encoderSettingsList".to_owned(), rungs.collect());
        }
        self.create_as(&body).await
    }

    async fn create_as(&self, body: &Value) -> Result<(), BenchError> {
        let response = self.rest("POST", "/broadcasts/create", Some(body)).await?;
        if response.status == 200 {
            return Ok(());
        }
        Err(BenchError::Refused {
            what: "create",
            answer: response.text,
        })
    }

    /// Adds a destination and returns its `endpointServiceId`.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn add(&self, stream_id: &str, url: &str) -> Result<String, BenchError> {
        self.add_endpoint(stream_id, &json!({"rtmpUrl": url})).await
    }

    /// Adds a destination that always receives this rendition.
    ///
    /// # Errors
    /// [`BenchError::Refused`] with the server's reason.
    pub async fn add_rendition(
        &self,
        stream_id: &str,
        url: &str,
        spec: &RenditionSpec,
    ) -> Result<String, BenchError> {
        let mut rendition = json!({
            "height": spec.height, "videoBitrate": spec.video_bps,
            "frameRate": spec.frames_per_second, "gopSeconds": f64::from(spec.gop_ms) / 1_000.0,
            "preset": spec.preset, "profile": spec.profile, "audioBitrate": spec.audio_bps,
        });
        if let (Some(width), Some(object)) = (spec.width, rendition.as_object_mut()) {
            object.insert("width".to_owned(), Value::from(width));
        }
        let body = json!({"rtmpUrl": url, "reencode": "always", "rendition": rendition});
        self.add_endpoint(stream_id, &body).await
    }

    /// Adds a destination with this `Endpoint` as the request body.
    ///
    /// # Errors
    /// [`BenchError::Refused`] with the server's reason.
    pub async fn add_endpoint(&self, stream_id: &str, body: &Value) -> Result<String, BenchError> {
        let path = format!("/broadcasts/{stream_id}/endpoint");
        let response = self.rest("POST", &path, Some(body)).await?;
        let result = response.json();
        let text = |name: &str| result.get(name).and_then(Value::as_str).map(str::to_owned);
        if result.get("success") == Some(&Value::Bool(true)) {
            return Ok(text("dataId").unwrap_or_default());
        }
        Err(BenchError::Refused {
            what: "endpoint",
            answer: text("message").unwrap_or(response.text),
        })
    }

    /// Removes a destination.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn remove(&self, stream_id: &str, endpoint_id: &str) -> Result<(), BenchError> {
        let path = format!("/broadcasts/{stream_id}/rtmp-endpoint?endpointServiceId={endpoint_id}");
        let response = self.rest("DELETE", &path, None).await?;
        if response.json().get("success") == Some(&Value::Bool(true)) {
            return Ok(());
        }
        Err(BenchError::Refused {
            what: "removal",
            answer: response.text,
        })
    }

    /// Deletes a broadcast.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn delete(&self, stream_id: &str) -> Result<Response, BenchError> {
        self.rest("DELETE", &format!("/broadcasts/{stream_id}"), None)
            .await
    }

    /// The broadcast; null when there is none.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn broadcast(&self, stream_id: &str) -> Result<Value, BenchError> {
        Ok(self
            .rest("GET", &format!("/broadcasts/{stream_id}"), None)
            .await?
            .json())
    }

    /// One destination from `endPointList`; null when there is none.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn endpoint(&self, stream_id: &str, endpoint_id: &str) -> Result<Value, BenchError> {
        let broadcast = self.broadcast(stream_id).await?;
        let list = broadcast.get("endPointList").and_then(Value::as_array);
        let is_it = |endpoint: &&Value| {
            endpoint.get("endpointServiceId").and_then(Value::as_str) == Some(endpoint_id)
        };
        Ok(list
            .and_then(|list| list.iter().find(is_it))
            .cloned()
            .unwrap_or_default())
    }

    /// The last problem in the status of a destination; empty when there was none.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn problem(&self, stream_id: &str, endpoint_id: &str) -> Result<String, BenchError> {
        let endpoint = self.endpoint(stream_id, endpoint_id).await?;
        let problem = endpoint.pointer("/detail/problem").and_then(Value::as_str);
        Ok(problem.unwrap_or_default().to_owned())
    }
}
