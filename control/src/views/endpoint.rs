//! A destination as clients read it.

use serde::Serialize;
use serde_json::{Value, json};
use shardcast_link::{DestinationState, DestinationStatus, Reencode};

use crate::{
    redact,
    retry::RetryOverrides,
    store::{EndpointRecord, Lifecycle},
    video_settings::{PassthroughConstraints, RenditionOverrides},
};

/// `Endpoint`. Both names of the URL are written: clients up to 2.16 read the first, later ones
/// the second.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Endpoint {
    status: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    rtmp_url: String,
    endpoint_url: String,
    endpoint_service_id: String,
    /// Not in Ant Media Server: what it has instead of its application's retry policy.
    retry: Option<RetryOverrides>,
    /// Not in Ant Media Server: what it has instead of its application's video settings.
    reencode: Option<Reencode>,
    rendition: Option<RenditionOverrides>,
    contract: Option<PassthroughConstraints>,
    /// Not in Ant Media Server: the shard's report.
    detail: Value,
}

impl Endpoint {
    /// `live` is the shard's report, if the broadcast is on a shard.
    pub(crate) fn new(
        record: &EndpointRecord,
        lifecycle: Lifecycle,
        live: Option<&DestinationStatus>,
    ) -> Self {
        let last = record.last.as_ref().map(|last| &last.status);
        let status = match (live, lifecycle, last) {
            (Some(status), ..) => status_word(status),
            (None, Lifecycle::Finished { .. }, Some(status)) => match status_word(status) {
                word @ ("failed" | "error") => word,
                _ => "finished",
            },
            (None, Lifecycle::Finished { .. }, None) => "finished",
            (None, ..) => "created",
        };
        Self {
            status,
            kind: "generic",
            rtmp_url: record.url.clone(),
            endpoint_url: record.url.clone(),
            endpoint_service_id: record.id.0.clone(),
            retry: record.retry,
            reencode: record.video.reencode,
            rendition: record.video.rendition,
            contract: record.video.passthrough,
            detail: live.or(last).map_or(Value::Null, endpoint_detail),
        }
    }
}

/// The word of Ant Media Server for the state of a destination. Only while the peer acknowledges
/// bytes is it `broadcasting`.
fn status_word(status: &DestinationStatus) -> &'static str {
    let was_live = status.video_frames > 0 || status.audio_frames > 0;
    match status.state {
        DestinationState::Idle => "created",
        DestinationState::Resolving
        | DestinationState::Connecting
        | DestinationState::Handshaking
        | DestinationState::Publishing => "preparing",
        DestinationState::Live | DestinationState::Holding => "broadcasting",
        DestinationState::Stalled => "error",
        DestinationState::BackingOff if was_live => "error",
        // Given up; who never got so far stays failed.
        DestinationState::Failed if was_live => "finished",
        DestinationState::BackingOff | DestinationState::Failed => "failed",
        DestinationState::Ended => "finished",
        _ => "preparing",
    }
}

/// What is known of a destination, under the names of [`DestinationStatus`]; `problem` is the last
/// failure and what to do about it, or null, and `fault` is whose it was; it is over when
/// `problem_until_unix_ms` is not null.
fn endpoint_detail(status: &DestinationStatus) -> Value {
    let problem = status.last_problem.as_ref();
    json!({
        "state": status.state,
        "since_unix_ms": status.since_unix_ms,
        "attempts": status.attempts,
        "next_attempt_unix_ms": status.next_attempt_unix_ms,
        "platform": status.platform,
        "redirected_to": status.redirected_to,
        "problem": problem.map(|problem| redact::text(&problem.message)),
        "fault": problem.map(|problem| problem.fault),
        "problem_since_unix_ms": status.problem_since_unix_ms,
        "problem_until_unix_ms": status.problem_until_unix_ms,
        "bytes_sent": status.bytes_sent,
        "bytes_acked": status.bytes_acked,
        "acked_unix_ms": status.acked_unix_ms,
        "rtt_us": status.rtt_us,
        "unsent_bytes": status.unsent_bytes,
        "keyframe_interval_ms": status.keyframe_interval_ms,
        "bitrate_bps": status.bitrate_bps,
        "queue_ms": status.queue_ms,
        "video_frames": status.video_frames,
        "audio_frames": status.audio_frames,
        "audio_codec": status.audio_codec,
        "frames_dropped": status.frames_dropped,
        "picture": status.video,
    })
}

#[cfg(test)]
mod tests {
    use shardcast_link::DestinationId;

    use super::*;

    fn status(state: DestinationState, video_frames: u64) -> DestinationStatus {
        DestinationStatus {
            attempts: 1,
            video_frames,
            ..DestinationStatus::new(DestinationId("d".into()), state)
        }
    }

    #[test]
    fn each_state_has_its_word() {
        use DestinationState as S;
        let cases = [
            (S::Idle, 0, "created"),
            (S::Resolving, 0, "preparing"),
            (S::Connecting, 0, "preparing"),
            (S::Handshaking, 0, "preparing"),
            (S::Publishing, 0, "preparing"),
            (S::Live, 9, "broadcasting"),
            (S::Stalled, 9, "error"),
            (S::Holding, 9, "broadcasting"),
            (S::BackingOff, 0, "failed"),
            (S::BackingOff, 9, "error"),
            (S::Ended, 9, "finished"),
            (S::Failed, 9, "finished"),
            (S::Failed, 0, "failed"),
        ];
        for (state, frames, word) in cases {
            assert_eq!(status_word(&status(state, frames)), word, "{state:?}");
        }
    }

    #[test]
    fn what_failed_is_still_said_after_the_broadcast() {
        let record = EndpointRecord {
            id: DestinationId("d".into()),
            url: "rtmp://h/a/k".into(),
            retry: None,
            video: crate::video_settings::VideoOverrides::default(),
            last: Some(crate::store::LastReport {
                status: status(S::Failed, 0),
            }),
        };
        use DestinationState as S;
        let over = Lifecycle::Finished {
            since_unix_ms: 1,
            ended_unix_ms: 2,
        };
        assert_eq!(Endpoint::new(&record, over, None).status, "failed");
    }
}
