//! The JSON texts of the signalling socket, one object each, distinguished by `command`.

use serde_json::{Map, Value};
use shardcast_link::BroadcastId;

pub(crate) use super::server_message::ServerMessage;
use crate::limits;

/// What a client says, as far as this server knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClientMessage {
    Ping,
    GetIceServerConfig,
    Publish(Publish),
    /// An SDP: an offer to publish, or the answer of a viewer.
    TakeConfiguration {
        broadcast: BroadcastId,
        is_offer: bool,
        sdp: Option<String>,
    },
    /// A trickled candidate; empty means that no more will come.
    TakeCandidate {
        broadcast: BroadcastId,
        candidate: String,
    },
    Stop {
        broadcast: BroadcastId,
    },
    Play(Play),
    /// Which tracks a viewer wants; what is `None` stays as it is.
    Toggle {
        broadcast: BroadcastId,
        video: Option<bool>,
        audio: Option<bool>,
    },
    /// Which height of video a viewer wants, in pixels; `None`: the publisher's.
    ForceQuality {
        broadcast: BroadcastId,
        height: Option<u32>,
    },
    GetStreamInfo {
        broadcast: BroadcastId,
    },
    GetBroadcastObject {
        broadcast: BroadcastId,
    },
    UpdateStreamMetaData {
        broadcast: BroadcastId,
        meta_data: String,
    },
    /// Known to the SDK, not built here: nothing happens.
    Unsupported {
        command: String,
    },
}

/// An attempt to publish. What the client leaves out is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) broadcast: BroadcastId,
    pub(crate) token: String,
    pub(crate) subscriber_id: String,
    pub(crate) subscriber_code: String,
    /// What the broadcast is called from now on.
    pub(crate) name: String,
    pub(crate) meta_data: String,
}

/// A wish to watch. What the client leaves out is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Play {
    pub(crate) broadcast: BroadcastId,
    pub(crate) token: String,
    /// For webhooks.
    pub(crate) subscriber_id: String,
}

/// A text that is no message. The client's fault; it is sent an error and may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// Not a JSON object with a `command`.
    NotAMessage,
    /// No `streamId` where one is needed.
    NoStreamName,
    /// A `streamId` with characters that are not allowed.
    InvalidStreamName {
        stream: String,
    },
    UnknownCommand {
        command: String,
    },
    /// A text that passes its limit.
    TooLong {
        stream: String,
        field: &'static str,
        bytes_max: usize,
    },
}

/// Commands of the SDK that have no effect here.
const UNSUPPORTED: [&str; 24] = [
    "enableTrack",
    "getTrackList",
    "joinRoom",
    "leaveFromRoom",
    "getRoomInfo",
    "getSubtracks",
    "getSubtracksCount",
    "getSubscribers",
    "getSubscriberCount",
    "getVideoTrackAssignmentsCommand",
    "assignVideoTrackCommand",
    "updateVideoTrackAssignmentsCommand",
    "setMaxVideoTrackCountCommand",
    "getDebugInfo",
    "join",
    "leave",
    "connectWithNewId",
    "peerMessageCommand",
    "registerPushNotificationToken",
    "sendPushNotification",
    "registerUserPushNotificationToken",
    "pong",
    "playPause",
    "updateParticipantRole",
];

/// Commands that name no stream.
const WITHOUT_STREAM: [&str; 5] = [
    "registerPushNotificationToken",
    "sendPushNotification",
    "registerUserPushNotificationToken",
    "pong",
    "joinRoom",
];

/// Reads one text frame of a socket of `application`.
pub(crate) fn parse(application: &str, text: &str) -> Result<ClientMessage, Malformed> {
    let Ok(Value::Object(object)) = serde_json::from_str(text) else {
        return Err(Malformed::NotAMessage);
    };
    let Some(command) = object.get("command").and_then(Value::as_str) else {
        return Err(Malformed::NotAMessage);
    };
    match command {
        "ping" => return Ok(ClientMessage::Ping),
        "getIceServerConfig" => return Ok(ClientMessage::GetIceServerConfig),
        _ if WITHOUT_STREAM.contains(&command) => {
            return Ok(ClientMessage::Unsupported {
                command: command.to_owned(),
            });
        }
        _ => {}
    }
    let stream = string(&object, "streamId");
    if stream.is_empty() {
        return Err(Malformed::NoStreamName);
    }
    let broadcast =
        BroadcastId::new(application, &stream).map_err(|_| Malformed::InvalidStreamName {
            stream: shorten(&stream),
        })?;
    of_stream(command, broadcast, &object)
}

fn of_stream(
    command: &str,
    broadcast: BroadcastId,
    object: &Map<String, Value>,
) -> Result<ClientMessage, Malformed> {
    Ok(match command {
        "publish" => ClientMessage::Publish(Publish {
            broadcast,
            token: short(object, "token")?,
            subscriber_id: short(object, "subscriberId")?,
            subscriber_code: short(object, "subscriberCode")?,
            name: short(object, "streamName")?,
            meta_data: text(object, "metaData")?,
        }),
        "takeConfiguration" => ClientMessage::TakeConfiguration {
            broadcast,
            is_offer: string(object, "type") == "offer",
            sdp: sdp(object)?,
        },
        "takeCandidate" => ClientMessage::TakeCandidate {
            broadcast,
            candidate: string(object, "candidate"),
        },
        "stop" => ClientMessage::Stop { broadcast },
        "play" => ClientMessage::Play(Play {
            broadcast,
            token: short(object, "token")?,
            subscriber_id: short(object, "subscriberId")?,
        }),
        // `trackId` would name one of several broadcasts in one session.
        "toggleVideo" => ClientMessage::Toggle {
            broadcast,
            video: object.get("enabled").and_then(Value::as_bool),
            audio: None,
        },
        "toggleAudio" => ClientMessage::Toggle {
            broadcast,
            video: None,
            audio: object.get("enabled").and_then(Value::as_bool),
        },
        "forceStreamQuality" => ClientMessage::ForceQuality {
            broadcast,
            height: stream_height(object),
        },
        "getStreamInfo" => ClientMessage::GetStreamInfo { broadcast },
        "getBroadcastObject" => ClientMessage::GetBroadcastObject { broadcast },
        "updateStreamMetaData" => ClientMessage::UpdateStreamMetaData {
            broadcast,
            meta_data: text(object, "metaData")?,
        },
        other if UNSUPPORTED.contains(&other) => ClientMessage::Unsupported {
            command: other.to_owned(),
        },
        other => {
            return Err(Malformed::UnknownCommand {
                command: shorten(other),
            });
        }
    })
}

fn string(object: &Map<String, Value>, key: &str) -> String {
    object
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// The same, bounded.
fn short(object: &Map<String, Value>, field: &'static str) -> Result<String, Malformed> {
    bounded(
        object,
        field,
        limits::CREDENTIAL_BYTES_MAX,
        string(object, field),
    )
}

/// `streamHeight`: a number, or a text that is one, as menus have it. 0 and everything else is no wish.
fn stream_height(object: &Map<String, Value>) -> Option<u32> {
    let height = match object.get("streamHeight")? {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_u64().and_then(|height| u32::try_from(height).ok()),
    };
    height.filter(|height| *height > 0)
}

fn sdp(object: &Map<String, Value>) -> Result<Option<String>, Malformed> {
    let sdp = object.get("sdp").and_then(Value::as_str);
    sdp.map(|sdp| bounded(object, "sdp", limits::SDP_BYTES_MAX, sdp.to_owned()))
        .transpose()
}

/// Free metadata: a string, or JSON that is kept as its text.
fn text(object: &Map<String, Value>, field: &'static str) -> Result<String, Malformed> {
    let text = match object.get(field) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    bounded(object, field, limits::TEXT_BYTES_MAX, text)
}

fn bounded(
    object: &Map<String, Value>,
    field: &'static str,
    bytes_max: usize,
    text: String,
) -> Result<String, Malformed> {
    if text.len() <= bytes_max {
        return Ok(text);
    }
    Err(Malformed::TooLong {
        stream: string(object, "streamId"),
        field,
        bytes_max,
    })
}

fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

impl Malformed {
    /// The error that the client is sent.
    pub(crate) fn answer(&self) -> ServerMessage {
        let error = |definition, message: String| ServerMessage::Error {
            stream: None,
            definition,
            message: Some(message),
        };
        match self {
            Self::NotAMessage => error(
                "invalid_message",
                "not a JSON object with a command".to_owned(),
            ),
            Self::NoStreamName => error("noStreamNameSpecified", "streamId is missing".to_owned()),
            Self::InvalidStreamName { stream } => error(
                "invalidStreamName",
                format!("'{stream}' is not letters, digits, '-', '_' and '.'"),
            ),
            Self::UnknownCommand { command } => error(
                "unknown_command",
                format!("there is no command '{command}'"),
            ),
            Self::TooLong {
                stream,
                field,
                bytes_max,
            } => ServerMessage::Error {
                stream: Some(stream.clone()),
                definition: "invalid_message",
                message: Some(format!("{field} is over {bytes_max} bytes")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_publish_of_the_sdk_is_read_whatever_fields_it_has() {
        let text = r#"{"command":"publish","streamId":"s1","subscriberId":"","subscriberCode":"",
            "streamName":"Mine","mainTrack":"","video":true,"audio":true,"metaData":{"a":1},
            "role":"","new":[1]}"#;
        let ClientMessage::Publish(publish) = parse("app", text).unwrap() else {
            panic!("not a publish");
        };
        assert_eq!(publish.broadcast.as_str(), "app/s1");
        assert_eq!(
            (publish.token.as_str(), publish.name.as_str()),
            ("", "Mine")
        );
        assert_eq!(publish.meta_data, r#"{"a":1}"#);
    }

    #[test]
    fn what_is_no_message_gets_its_exact_word() {
        let cases = [
            ("", "invalid_message"),
            ("[1]", "invalid_message"),
            (r#"{"streamId":"a"}"#, "invalid_message"),
            (r#"{"command":7}"#, "invalid_message"),
            (r#"{"command":"publish"}"#, "noStreamNameSpecified"),
            (
                r#"{"command":"publish","streamId":""}"#,
                "noStreamNameSpecified",
            ),
            (
                r#"{"command":"publish","streamId":"a b"}"#,
                "invalidStreamName",
            ),
            (
                r#"{"command":"publish","streamId":"../x"}"#,
                "invalidStreamName",
            ),
            (r#"{"command":"fly","streamId":"a"}"#, "unknown_command"),
        ];
        for (text, wanted) in cases {
            let answer = parse("app", text).unwrap_err().answer().to_text();
            assert!(
                answer.contains(&format!("\"definition\":\"{wanted}\"")),
                "{text}: {answer}"
            );
        }
    }

    #[test]
    fn a_text_that_is_too_long_is_named_and_goes_no_further() {
        for (command, field, bytes) in [
            ("publish", "streamName", limits::CREDENTIAL_BYTES_MAX + 1),
            ("publish", "metaData", limits::TEXT_BYTES_MAX + 1),
            ("publish", "token", limits::CREDENTIAL_BYTES_MAX + 1),
            ("publish", "subscriberId", limits::CREDENTIAL_BYTES_MAX + 1),
            (
                "publish",
                "subscriberCode",
                limits::CREDENTIAL_BYTES_MAX + 1,
            ),
            (
                "updateStreamMetaData",
                "metaData",
                limits::TEXT_BYTES_MAX + 1,
            ),
            ("takeConfiguration", "sdp", limits::SDP_BYTES_MAX + 1),
        ] {
            let text = json!({"command": command, "streamId": "a", field: "x".repeat(bytes)});
            let answer = parse("app", &text.to_string()).unwrap_err().answer();
            let answer = answer.to_text();
            assert!(
                answer.contains("invalid_message") && answer.contains(&format!("{field} is over")),
                "{answer}"
            );
        }
    }

    #[test]
    fn a_known_command_that_is_not_built_is_no_error() {
        let text = r#"{"command":"getTrackList","streamId":"a"}"#;
        let command = "getTrackList".to_owned();
        assert_eq!(
            parse("app", text),
            Ok(ClientMessage::Unsupported { command })
        );
    }
}
