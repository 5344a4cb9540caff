//! Whether the broadcasts of a load that are to be recorded are.

use serde_json::Value;

use super::{Load, LoadEnd, Show};
use crate::harness::{APPLICATION, request};

impl Load {
    /// Adds the bytes that are on the disk of each recording, and what is wrong with it.
    pub(super) async fn judge_recordings(&self, end: &mut LoadEnd) {
        for show in self.shows.iter().filter(|it| it.kind.is_recorded) {
            match self.recorded_bytes(show).await {
                Ok(bytes) => end.recorded_bytes += bytes,
                Err(fault) => end
                    .faults
                    .push(format!("the recording of {}: {fault}", show.id)),
            }
        }
    }

    async fn recorded_bytes(&self, show: &Show) -> Result<u64, String> {
        let http = self.http.ok_or("this server has none")?;
        let path = format!("/{APPLICATION}/rest/v2/broadcasts/{}", show.id);
        let response = request(http, "GET", &path, None).await;
        let broadcast = response.map_err(|error| error.to_string())?.json();
        if let Some(problem) = broadcast
            .pointer("/recording/problem")
            .and_then(Value::as_str)
        {
            return Err(problem.to_owned());
        }
        let bytes = broadcast
            .pointer("/recording/bytes")
            .and_then(Value::as_u64);
        bytes
            .filter(|bytes| *bytes > 0)
            .ok_or_else(|| "nothing was recorded".to_owned())
    }
}
