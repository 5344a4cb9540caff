//! The body of a call: the keys of Ant Media Server's webhooks
//! (<https://antmedia.io/docs/guides/advanced-usage/webhooks/>), blanks left out as there.

use bytes::Bytes;
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use crate::{
    settings::WebhookContentType,
    store::{Action, BroadcastRecord},
};

/// What a webhook reports.
#[derive(Clone, Copy, Debug)]
pub(crate) enum StreamEvent<'a> {
    /// The destination with this URL was given up.
    DestinationFailed { url: &'a str },
    /// The broadcast is over. A publisher that is away for a while is no end.
    Ended,
    /// The first media of a broadcast; once, however often its publisher comes back.
    Started,
    /// A viewer's media flows.
    PlayStarted { subscriber: &'a str },
    /// A viewer is gone.
    PlayStopped { subscriber: &'a str },
    /// What arrives now.
    Status(Reading),
    /// A publisher has brought no media in time.
    TimedOut,
    /// A recording can be fetched.
    VodReady {
        /// The name of its file without extension.
        name: &'a str,
        id: &'a str,
        duration_ms: u64,
    },
}

impl StreamEvent<'_> {
    pub(crate) fn action(&self) -> Action {
        match self {
            Self::DestinationFailed { .. } => Action::EndpointFailed,
            Self::Ended => Action::LiveStreamEnded,
            Self::Started => Action::LiveStreamStarted,
            Self::PlayStarted { .. } => Action::PlayStarted,
            Self::PlayStopped { .. } => Action::PlayStopped,
            Self::Status(_) => Action::LiveStreamStatus,
            Self::TimedOut => Action::PublishTimeoutError,
            Self::VodReady { .. } => Action::VodReady,
        }
    }
}

/// The media of a live stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) bytes_received: u64,
    /// Access units that were damaged by loss.
    pub(crate) frames_damaged: u64,
    /// Pictures that re-encoding left out.
    pub(crate) frames_left_out: u64,
    /// 1 when media flows as fast as time.
    pub(crate) speed: f64,
}

/// The fields of a call that is made necessary at `now_unix_ms`.
pub(crate) fn fields(
    record: &BroadcastRecord,
    event: &StreamEvent<'_>,
    now_unix_ms: u64,
) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut put = |key: &str, value: Value| drop(fields.insert(key.to_owned(), value));
    let profile = &record.profile;
    put("id", json!(record.id.stream()));
    put("action", json!(event.action().word()));
    put("app", json!(record.id.application()));
    for (key, text) in [
        ("streamName", &profile.name),
        ("category", &profile.category),
        ("mainTrackId", &profile.main_track_stream_id),
    ] {
        if let Some(text) = text.as_deref().filter(|text| !text.trim().is_empty()) {
            put(key, json!(text));
        }
    }
    // A text everywhere but in the status, as there.
    put("timestamp", json!(now_unix_ms.to_string()));
    match event {
        StreamEvent::Started | StreamEvent::Ended => {
            if let Some(metadata) = profile.meta_data.as_deref().and_then(metadata) {
                put("metadata", metadata);
            }
        }
        StreamEvent::DestinationFailed { url } => put("metadata", json!({"rtmp-url": url})),
        StreamEvent::PlayStarted { subscriber } | StreamEvent::PlayStopped { subscriber } => {
            if !subscriber.trim().is_empty() {
                put("subscriberId", json!(subscriber));
            }
        }
        StreamEvent::TimedOut => {}
        StreamEvent::VodReady {
            name,
            id,
            duration_ms,
        } => {
            put("vodName", json!(name));
            put("vodId", json!(id));
            put("duration", json!(duration_ms));
        }
        StreamEvent::Status(reading) => {
            put("timestamp", json!(now_unix_ms));
            put("width", json!(reading.width));
            put("height", json!(reading.height));
            put("totalByteReceived", json!(reading.bytes_received));
            put("inputQueueSize", json!(0));
            put("encodingQueueSize", json!(0));
            put("speed", json!(reading.speed));
            put("dropFrameCountInEncoding", json!(reading.frames_left_out));
            put("dropPacketCountInIngestion", json!(reading.frames_damaged));
        }
    }
    fields
}

/// An object when the text is one in JSON.
fn metadata(text: &str) -> Option<Value> {
    if text.trim().is_empty() {
        return None;
    }
    let parsed = serde_json::from_str(text).ok().filter(Value::is_object);
    Some(parsed.unwrap_or_else(|| json!(text)))
}

/// `fields` as they are sent. In a form, what is neither text nor number is JSON.
pub(crate) fn encode(fields: &Map<String, Value>, kind: WebhookContentType) -> Bytes {
    match kind {
        WebhookContentType::Json => serde_json::to_vec(fields).unwrap_or_default().into(),
        WebhookContentType::Form => {
            let mut form = form_urlencoded::Serializer::new(String::new());
            for (key, value) in fields {
                match value {
                    Value::String(text) => form.append_pair(key, text),
                    other => form.append_pair(key, &other.to_string()),
                };
            }
            form.finish().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use shardcast_link::BroadcastId;

    use super::*;
    use crate::store::Profile;

    fn record(profile: Profile) -> BroadcastRecord {
        BroadcastRecord {
            profile,
            ..BroadcastRecord::new(BroadcastId::new("app", "s1").unwrap(), 0)
        }
    }

    #[test]
    fn a_start_has_the_keys_that_ant_media_server_has() {
        let record = record(Profile {
            name: Some("Evening".into()),
            category: Some("  ".into()),
            meta_data: Some(r#"{"show": 7}"#.into()),
            ..Profile::default()
        });
        let fields = fields(&record, &StreamEvent::Started, 1_700_000_000_123);
        let wanted = json!({"id": "s1", "action": "liveStreamStarted", "app": "app",
            "streamName": "Evening", "metadata": {"show": 7}, "timestamp": "1700000000123"});
        assert_eq!(Value::Object(fields), wanted);
    }

    #[test]
    fn metadata_that_is_no_object_stays_a_text() {
        for text in ["plain", "7", "[1]"] {
            assert_eq!(metadata(text), Some(json!(text)));
        }
        assert_eq!(metadata(" "), None);
    }

    #[test]
    fn a_status_has_its_time_as_a_number() {
        let reading = Reading {
            width: 1280,
            height: 720,
            bytes_received: 9,
            frames_damaged: 2,
            frames_left_out: 3,
            speed: 1.0,
        };
        let fields = fields(
            &record(Profile::default()),
            &StreamEvent::Status(reading),
            5,
        );
        let wanted = json!({"id": "s1", "action": "liveStreamStatus", "app": "app",
            "timestamp": 5, "width": 1280, "height": 720, "totalByteReceived": 9,
            "inputQueueSize": 0, "encodingQueueSize": 0, "speed": 1.0,
            "dropFrameCountInEncoding": 3, "dropPacketCountInIngestion": 2});
        assert_eq!(Value::Object(fields), wanted);
    }

    #[test]
    fn a_form_holds_objects_as_json() {
        let url = "rtmp://h/a/k";
        let event = StreamEvent::DestinationFailed { url };
        let fields = fields(&record(Profile::default()), &event, 5);
        let form = encode(&fields, WebhookContentType::Form);
        let pairs: Vec<_> = form_urlencoded::parse(&form).into_owned().collect();
        let metadata = (
            "metadata".to_owned(),
            r#"{"rtmp-url":"rtmp://h/a/k"}"#.to_owned(),
        );
        assert!(pairs.contains(&metadata), "{pairs:?}");
        assert!(pairs.contains(&("id".into(), "s1".into())), "{pairs:?}");
    }
}
