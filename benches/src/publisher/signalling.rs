//! The client side of Ant Media's signalling: JSON messages on a WebSocket.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use crate::BenchError;
use crate::limits::SIGNALLING_TIMEOUT;

/// A message of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerMessage {
    /// `start`: the client has to send its offer.
    Start,
    /// The SDP answer.
    Answer(String),
    /// The SDP offer to a viewer.
    Offer(String),
    /// A candidate of the server, `candidate:…`.
    Candidate(String),
    /// The definition of a notification: `publish_started`, `publish_finished` and others.
    Notification(String),
    /// `resolutionChangeInfo`: a viewer is sent video of this height, in pixels.
    Height(u32),
    /// `bitrateMeasurement`: what a viewer's network is taken to carry, in bits a second.
    Target(u64),
    /// The definition of an error.
    Error(String),
    /// Answer to a `ping`.
    Pong,
    /// Any other message, unparsed.
    Other(String),
    /// The server closed the socket.
    Closed,
}

/// One signalling connection.
#[derive(Debug)]
pub struct Signalling {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Signalling {
    /// Opens the socket at `ws://host:port/app/websocket`.
    ///
    /// # Errors
    /// When the server is not reachable or does not answer in time.
    pub async fn connect(url: &str) -> Result<Self, BenchError> {
        let url = format!(
            "{url}{}target=origin",
            if url.contains('?') { '&' } else { '?' }
        );
        let connecting = tokio::time::timeout(SIGNALLING_TIMEOUT, connect_async(url)).await;
        let late = |_| BenchError::Late {
            what: "WebSocket".to_owned(),
            waited: SIGNALLING_TIMEOUT,
        };
        let (socket, _) = connecting
            .map_err(late)?
            .map_err(|e| BenchError::network("signalling", e))?;
        Ok(Self { socket })
    }

    /// Sends `publish` with the fields and types of the SDK 2.9 to 2.17.
    ///
    /// # Errors
    /// When the socket is closed.
    pub async fn publish(
        &mut self,
        stream_id: &str,
        token: Option<&str>,
        (video, audio): (bool, bool),
    ) -> Result<(), BenchError> {
        let mut message = json!({
            "command": "publish", "streamId": stream_id, "subscriberId": "", "subscriberCode": "",
            "streamName": stream_id, "mainTrack": "", "metaData": "", "role": "",
            "video": video, "audio": audio,
        });
        if let (Some(token), Some(object)) = (token, message.as_object_mut()) {
            object.insert("token".to_owned(), Value::from(token));
        }
        self.send(&message).await
    }

    /// Sends the offer.
    ///
    /// # Errors
    /// When the socket is closed.
    pub async fn offer(&mut self, stream_id: &str, sdp: &str) -> Result<(), BenchError> {
        self.send(&json!({
            "command": "takeConfiguration", "streamId": stream_id, "type": "offer", "sdp": sdp,
        }))
        .await
    }

    /// Sends a local candidate for the first media section.
    ///
    /// # Errors
    /// When the socket is closed.
    pub async fn candidate(
        &mut self,
        stream_id: &str,
        mid: &str,
        candidate: &str,
    ) -> Result<(), BenchError> {
        self.send(&json!({
            "command": "takeCandidate", "streamId": stream_id, "label": 0, "id": mid,
            "candidate": candidate,
        }))
        .await
    }

    /// Sends `stop`.
    ///
    /// # Errors
    /// When the socket is closed.
    pub async fn stop(&mut self, stream_id: &str) -> Result<(), BenchError> {
        self.send(&json!({"command": "stop", "streamId": stream_id}))
            .await
    }

    /// Sends `ping`; the SDK does every three seconds.
    ///
    /// # Errors
    /// When the socket is closed.
    pub async fn ping(&mut self) -> Result<(), BenchError> {
        self.send(&json!({"command": "ping"})).await
    }

    /// Sends any message.
    ///
    /// # Errors
    /// When the socket is closed.
    pub async fn send(&mut self, message: &Value) -> Result<(), BenchError> {
        let text = Message::text(message.to_string());
        self.socket
            .send(text)
            .await
            .map_err(|e| BenchError::network("signalling", e))
    }

    /// Sends any WebSocket frame, for tests with invalid input.
    ///
    /// # Errors
    /// When the socket is closed.
    pub async fn send_raw(&mut self, message: Message) -> Result<(), BenchError> {
        self.socket
            .send(message)
            .await
            .map_err(|e| BenchError::network("signalling", e))
    }

    /// Waits for the next message. Safe to cancel.
    pub async fn next(&mut self) -> ServerMessage {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return parse(&text),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return ServerMessage::Closed,
                Some(Ok(_)) => {}
            }
        }
    }
}

fn notification(definition: &str, message: &Value) -> ServerMessage {
    let number = |name: &str| message.get(name).and_then(Value::as_u64);
    match definition {
        "resolutionChangeInfo" => {
            let height = number("streamHeight").and_then(|height| u32::try_from(height).ok());
            ServerMessage::Height(height.unwrap_or_default())
        }
        "bitrateMeasurement" => ServerMessage::Target(number("targetBitrate").unwrap_or_default()),
        _ => ServerMessage::Notification(definition.to_owned()),
    }
}

fn parse(text: &str) -> ServerMessage {
    let message: Value = serde_json::from_str(text).unwrap_or_default();
    let field = |name: &str| {
        message
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    match field("command") {
        "start" => ServerMessage::Start,
        "takeConfiguration" if field("type") == "answer" => {
            ServerMessage::Answer(field("sdp").to_owned())
        }
        "takeConfiguration" if field("type") == "offer" => {
            ServerMessage::Offer(field("sdp").to_owned())
        }
        "takeCandidate" => ServerMessage::Candidate(field("candidate").to_owned()),
        "notification" => notification(field("definition"), &message),
        "error" => ServerMessage::Error(field("definition").to_owned()),
        "pong" => ServerMessage::Pong,
        _ => ServerMessage::Other(text.to_owned()),
    }
}
