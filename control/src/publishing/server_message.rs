//! What the server says on the signalling socket: one JSON object each.

use serde_json::{Value, json};

/// What the server says. Stream ids are without their application.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ServerMessage {
    Pong,
    IceServerConfig {
        uri: String,
        username: String,
        credential: String,
        /// All of them, each as an `RTCIceServer` (W3C webrtc, 4.2.4), for pages that set their own.
        servers: Vec<Value>,
    },
    Start {
        stream: String,
    },
    /// `idMapping` would name the tracks that the server sends, by their `mid`: it sends none, and
    /// the SDK reads the field of each remote track without asking whether it is there.
    Answer {
        stream: String,
        sdp: String,
    },
    /// To a viewer. `idMapping` names the tracks by their `mid`.
    Offer {
        stream: String,
        sdp: String,
    },
    /// `mid` names the m-line of index 0.
    Candidate {
        stream: String,
        mid: String,
        candidate: String,
    },
    Notification {
        stream: String,
        definition: &'static str,
    },
    /// A viewer is sent video of this height from now on, in pixels.
    ResolutionChange {
        stream: String,
        height: u32,
    },
    /// To a viewer, in bit/s: what its way is estimated to carry, and what it is sent.
    BitrateMeasurement {
        stream: String,
        target_bps: u64,
        video_bps: u64,
        audio_bps: u64,
    },
    /// The client closes its peer connection and does not come back by itself.
    Stop {
        stream: String,
    },
    /// `broadcast` is JSON inside a string.
    BroadcastObject {
        stream: String,
        broadcast: String,
    },
    StreamInformation {
        stream: String,
        info: Value,
    },
    /// `definition` is for programs, `message` for people.
    Error {
        stream: Option<String>,
        definition: &'static str,
        message: Option<String>,
    },
    /// `no_stream_exist` carries its code as a string.
    NoStream {
        stream: String,
    },
    /// The media server went away under this socket: come back on a new one.
    ServerWillStop,
}

impl ServerMessage {
    pub(crate) fn error(stream: &str, definition: &'static str) -> Self {
        Self::Error {
            stream: Some(stream.to_owned()),
            definition,
            message: None,
        }
    }

    pub(crate) fn to_text(&self) -> String {
        let value = match self {
            Self::Pong => json!({"command": "pong"}),
            Self::IceServerConfig {
                uri,
                username,
                credential,
                servers,
            } => json!({
                "command": "iceServerConfig", "stunServerUri": uri,
                "turnServerUsername": username, "turnServerCredential": credential,
                "iceServers": servers}),
            Self::Start { stream } => {
                json!({"command": "start", "streamId": stream, "subscriberId": ""})
            }
            Self::Answer { stream, sdp } => json!({
                "command": "takeConfiguration", "streamId": stream, "type": "answer", "sdp": sdp,
                "idMapping": {}, "linkSession": null, "subscriberId": ""}),
            Self::Offer { stream, sdp } => json!({
                "command": "takeConfiguration", "streamId": stream, "type": "offer", "sdp": sdp,
                "idMapping": id_mapping(stream, sdp), "subscriberId": ""}),
            Self::Candidate {
                stream,
                mid,
                candidate,
            } => json!({
                "command": "takeCandidate", "streamId": stream, "label": 0, "id": mid,
                "candidate": candidate}),
            Self::Notification { stream, definition } => json!({
                "command": "notification", "definition": definition, "streamId": stream,
                "subscriberId": ""}),
            Self::ResolutionChange { stream, height } => json!({
                "command": "notification", "definition": "resolutionChangeInfo",
                "streamId": stream, "subscriberId": "", "streamHeight": height}),
            Self::BitrateMeasurement {
                stream,
                target_bps,
                video_bps,
                audio_bps,
            } => json!({
                "command": "notification", "definition": "bitrateMeasurement", "streamId": stream,
                "targetBitrate": target_bps, "videoBitrate": video_bps, "audioBitrate": audio_bps}),
            Self::Stop { stream } => json!({"command": "stop", "streamId": stream}),
            Self::BroadcastObject { stream, broadcast } => json!({
                "command": "notification", "definition": "broadcastObject", "streamId": stream,
                "broadcast": broadcast}),
            Self::StreamInformation { stream, info } => json!({
                "command": "streamInformation", "streamId": stream, "streamInfo": info}),
            Self::Error {
                stream,
                definition,
                message,
            } => error(stream, definition, message),
            Self::NoStream { stream } => json!({
                "command": "error", "definition": "no_stream_exist", "error_code": "404",
                "streamId": stream, "information": "no such stream is live"}),
            Self::ServerWillStop => {
                json!({"command": "notification", "definition": "server_will_stop"})
            }
        };
        value.to_string()
    }
}

/// All tracks are of one stream.
fn id_mapping(stream: &str, sdp: &str) -> Value {
    let mids = sdp
        .lines()
        .filter_map(|line| line.trim().strip_prefix("a=mid:"));
    mids.map(|mid| (mid.to_owned(), json!(stream))).collect()
}

fn error(stream: &Option<String>, definition: &str, message: &Option<String>) -> Value {
    let mut value = json!({"command": "error", "definition": definition});
    if let Some(object) = value.as_object_mut() {
        if let Some(stream) = stream {
            object.insert("streamId".to_owned(), json!(stream));
        }
        if let Some(message) = message {
            object.insert("message".to_owned(), json!(message));
        }
    }
    value
}
