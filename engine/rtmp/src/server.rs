//! The server that takes one published stream on one connection, or sends one ([`play`]).
//!
//! Small on purpose: it answers what FFmpeg, OBS and our own client ask, and leaves to the caller
//! who may publish or play. The order of events: `Connect` (answered by itself unless
//! [`ServerConfig::asks_on_connect`]), `Publish` (answered by [`ServerSession::accept_publish`] or
//! [`ServerSession::reject_publish`]), `Metadata` and `Media`, `Unpublish`.

mod play;

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;
use rml_rtmp::handshake::PeerType;

use super::amf::{self, Value};
use super::command::Command;
use super::enhanced;
use super::limits::{CHUNK_BYTES_SENT, MESSAGE_STREAMS_MAX, WINDOW_ACK_BYTES};
use super::message::{Message, type_id};
use super::wire::aggregate;
use super::wire::connection::{Connection, ConnectionError};

/// How a server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Payload bytes in our chunks, `1..=16_777_215`.
    pub chunk_bytes: u32,
    /// After how many bytes the client shall acknowledge, and how many it may have under way.
    pub window_ack_bytes: u32,
    /// What the server says it is (`fmsVer`).
    pub version: &'static str,
    /// The caller answers `connect`, by [`ServerSession::accept_connect`] or
    /// [`ServerSession::reject_connect`].
    pub asks_on_connect: bool,
    /// The answer to `connect` says that the server takes Opus, as enhanced RTMP has it.
    pub takes_opus: bool,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            chunk_bytes: CHUNK_BYTES_SENT,
            window_ack_bytes: WINDOW_ACK_BYTES,
            version: "FMS/3,5,7,7009",
            asks_on_connect: false,
            takes_opus: false,
        }
    }
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnpublishedBy {
    /// `FCUnpublish`: the stream ends, and the connection stays.
    FcUnpublish,
    /// `deleteStream` (RTMP specification 7.2.2.3).
    DeleteStream,
    /// `closeStream`.
    CloseStream,
}

/// What a session wants or has learnt. `Debug` shows neither keys nor bytes.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum ServerOutput {
    /// Bytes for the client, behind all earlier ones.
    Send(Bytes),
    /// The client connected to an application; it has been accepted, or waits for an answer
    /// ([`ServerConfig::asks_on_connect`]).
    Connect {
        /// `app` of the command object (RTMP specification 7.2.1.1).
        application: String,
        /// `tcUrl` of the command object.
        tc_url: String,
    },
    /// The client wants to publish under this key, which is secret, and empty where the
    /// application names the stream. It waits for an answer.
    Publish {
        /// Publishing name (7.2.2.6).
        stream_key: String,
    },
    /// The client wants to play this stream; the name may hold a token. It waits for an answer.
    Play {
        /// Stream name (7.2.2.1).
        stream_key: String,
    },
    /// The client that plays, or waits to, wants no more of it.
    StopPlaying,
    /// What `onMetaData` says.
    Metadata(Vec<(String, Value)>),
    /// An audio or video message of the accepted stream.
    Media(Message),
    /// The client ended the stream by a command. A clean end is `FCUnpublish` and then
    /// `deleteStream`, each told when it comes. Closing the connection without a command is the
    /// other way to end, which the caller sees for itself.
    Unpublish {
        /// How the client said it.
        by: UnpublishedBy,
    },
}

impl fmt::Debug for ServerOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(bytes) => write!(f, "Send({} bytes)", bytes.len()),
            Self::Connect { application, .. } => write!(f, "Connect({application})"),
            Self::Publish { .. } => f.write_str("Publish"),
            Self::Play { .. } => f.write_str("Play"),
            Self::StopPlaying => f.write_str("StopPlaying"),
            Self::Metadata(properties) => write!(f, "Metadata({} keys)", properties.len()),
            Self::Media(message) => {
                let (type_id, timestamp_ms) = (message.type_id, message.timestamp_ms);
                let len = message.payload.len();
                write!(f, "Media(type {type_id} at {timestamp_ms} ms, {len} bytes)")
            }
            Self::Unpublish { by } => write!(f, "Unpublish({by:?})"),
        }
    }
}

#[derive(Clone, PartialEq, Eq)]
enum Stage {
    Idle,
    /// Waits for the caller's answer.
    Asked {
        stream_id: u32,
        stream_key: String,
    },
    Publishing {
        stream_id: u32,
    },
    /// `FCUnpublish` came; `deleteStream` should follow.
    Unpublished,
    /// Waits for the caller's answer to `play`.
    AskedToPlay {
        stream_id: u32,
    },
    Playing {
        stream_id: u32,
    },
}

/// The server's end of one connection.
pub struct ServerSession {
    connection: Connection,
    config: ServerConfig,
    stage: Stage,
    /// The transaction of a `connect` that the caller has not answered.
    connect_asked: Option<f64>,
    streams_created: u32,
    outputs: VecDeque<ServerOutput>,
}

impl ServerSession {
    /// A session for a client that has just connected.
    pub fn new(config: ServerConfig) -> Self {
        Self {
            connection: Connection::new(PeerType::Server),
            config,
            stage: Stage::Idle,
            connect_asked: None,
            streams_created: 0,
            outputs: VecDeque::new(),
        }
    }

    /// Takes bytes from the client.
    ///
    /// # Errors
    /// When the client breaks the protocol: close the connection.
    pub fn handle(&mut self, input: &[u8]) -> Result<(), ConnectionError> {
        self.connection.handle(input)?;
        while let Some(message) = self.connection.next_message()? {
            self.on_message(message);
        }
        Ok(())
    }

    /// What is to be done; ask until `None` after every other call.
    pub fn poll(&mut self) -> Option<ServerOutput> {
        match self.connection.poll_send() {
            Some(bytes) => Some(ServerOutput::Send(bytes)),
            None => self.outputs.pop_front(),
        }
    }

    /// Lets the client into its application. Without effect when it is not waiting.
    pub fn accept_connect(&mut self) {
        let Some(transaction) = self.connect_asked.take() else {
            return;
        };
        self.connection.send_window(self.config.window_ack_bytes);
        // Limit type 2, dynamic (RTMP specification 5.4.5).
        let mut bandwidth = self.config.window_ack_bytes.to_be_bytes().to_vec();
        bandwidth.push(2);
        self.connection
            .send_control(type_id::SET_PEER_BANDWIDTH, &bandwidth);
        self.connection
            .send_chunk_size(self.config.chunk_bytes.clamp(1, 0xFF_FFFF));
        let server = Value::object([
            ("fmsVer", self.config.version.into()),
            ("capabilities", 31_u32.into()),
            ("mode", 1_u32.into()),
        ]);
        let mut info = vec![
            ("level".to_owned(), "status".into()),
            ("code".to_owned(), "NetConnection.Connect.Success".into()),
            ("description".to_owned(), "Connection accepted".into()),
            ("objectEncoding".to_owned(), 0_u32.into()),
        ];
        if self.config.takes_opus {
            info.extend(enhanced::answer_properties());
        }
        let arguments = vec![server, Value::Object(info)];
        let answer = Command::new("_result", transaction, arguments);
        self.connection.send_command(0, &answer);
    }

    /// Refuses the application with a code such as `NetConnection.Connect.Rejected` and words.
    /// Without effect when the client is not waiting.
    pub fn reject_connect(&mut self, code: &str, description: &str) {
        if let Some(transaction) = self.connect_asked.take() {
            let info = status("error", code, description);
            let answer = Command::new("_error", transaction, vec![Value::Null, info]);
            self.connection.send_command(0, &answer);
        }
    }

    /// Lets the client send media. Without effect when it is not waiting.
    pub fn accept_publish(&mut self) {
        let stage = std::mem::replace(&mut self.stage, Stage::Idle);
        let Stage::Asked {
            stream_id,
            stream_key,
        } = stage
        else {
            self.stage = stage;
            return;
        };
        self.stage = Stage::Publishing { stream_id };
        self.send_status(stream_id, "status", "NetStream.Publish.Start", "Publishing");
        let info = Value::object([
            ("code", "NetStream.Publish.Start".into()),
            ("description", stream_key.into()),
        ]);
        let on_fc_publish = Command::new("onFCPublish", 0.0, vec![Value::Null, info]);
        self.connection.send_command(0, &on_fc_publish);
    }

    /// Refuses the stream with a code such as `NetStream.Publish.BadName` and words. Without
    /// effect when the client is not waiting.
    pub fn reject_publish(&mut self, code: &str, description: &str) {
        if let Stage::Asked { stream_id, .. } = self.stage {
            self.stage = Stage::Idle;
            self.send_status(stream_id, "error", code, description);
        }
    }

    /// Tells the client of an accepted stream why it is ended, with a code such as
    /// `NetStream.Publish.Failed` and words. Without effect when there is none.
    pub fn end_publish(&mut self, code: &str, description: &str) {
        if let Stage::Publishing { stream_id } = self.stage {
            self.stage = Stage::Idle;
            self.send_status(stream_id, "error", code, description);
        }
    }

    /// Whether a stream has been accepted and not ended.
    pub fn is_publishing(&self) -> bool {
        matches!(self.stage, Stage::Publishing { .. })
    }

    fn on_message(&mut self, message: Message) {
        match message.type_id {
            type_id::AUDIO | type_id::VIDEO => {
                if self.stage
                    == (Stage::Publishing {
                        stream_id: message.stream_id,
                    })
                {
                    self.outputs.push_back(ServerOutput::Media(message));
                }
            }
            type_id::AGGREGATE => {
                for message in aggregate::messages(&message) {
                    self.on_message(message);
                }
            }
            type_id::DATA_AMF0 => self.on_data(&message.payload),
            // AMF0 behind one byte that says so.
            type_id::DATA_AMF3 => self.on_data(message.payload.get(1..).unwrap_or(&[])),
            _ => {
                if let Some(Ok(command)) = Command::from_message(&message) {
                    self.on_command(message.stream_id, &command);
                }
            }
        }
    }

    fn on_data(&mut self, payload: &[u8]) {
        if !self.is_publishing() {
            return;
        }
        let (values, _) = amf::decode_prefix(payload);
        let names_metadata = values.iter().any(|v| v.as_str() == Some("onMetaData"));
        if let (true, Some(properties)) =
            (names_metadata, values.iter().find_map(Value::properties))
        {
            self.outputs
                .push_back(ServerOutput::Metadata(properties.to_vec()));
        }
    }

    fn on_command(&mut self, stream_id: u32, command: &Command) {
        match command.name.as_str() {
            "connect" => self.on_connect(command),
            "createStream" => self.on_create_stream(command),
            "publish" => self.on_publish(stream_id, command),
            "play" => self.on_play(stream_id, command),
            "releaseStream" | "FCPublish" | "_checkbw" => {
                self.answer("_result", command, vec![Value::Null, Value::Undefined]);
            }
            "FCUnpublish" => self.on_end(UnpublishedBy::FcUnpublish),
            "deleteStream" | "closeStream" if self.on_stop_playing() => {}
            "deleteStream" => self.on_end(UnpublishedBy::DeleteStream),
            "closeStream" => self.on_end(UnpublishedBy::CloseStream),
            _ => {}
        }
    }

    fn on_connect(&mut self, command: &Command) {
        self.connect_asked = Some(command.transaction);
        if !self.config.asks_on_connect {
            self.accept_connect();
        }
        let text = |key: &str| command.text(key).unwrap_or_default().to_owned();
        let (application, tc_url) = (text("app"), text("tcUrl"));
        self.outputs.push_back(ServerOutput::Connect {
            application,
            tc_url,
        });
    }

    fn on_create_stream(&mut self, command: &Command) {
        if self.streams_created >= MESSAGE_STREAMS_MAX {
            let info = status("error", "NetConnection.Call.Failed", "too many streams");
            self.answer("_error", command, vec![Value::Null, info]);
            return;
        }
        self.streams_created += 1;
        let stream_id = Value::from(self.streams_created);
        self.answer("_result", command, vec![Value::Null, stream_id]);
    }

    fn on_publish(&mut self, stream_id: u32, command: &Command) {
        let is_free = matches!(self.stage, Stage::Idle | Stage::Unpublished);
        let stream_key = match command.first_text() {
            Some(stream_key) if is_free => stream_key.to_owned(),
            other => {
                let description = match other {
                    Some(_) => "this connection already publishes",
                    None => "publish names no stream",
                };
                self.send_status(stream_id, "error", "NetStream.Publish.BadName", description);
                return;
            }
        };
        self.stage = Stage::Asked {
            stream_id,
            stream_key: stream_key.clone(),
        };
        self.outputs.push_back(ServerOutput::Publish { stream_key });
    }

    fn on_end(&mut self, by: UnpublishedBy) {
        match self.stage {
            Stage::Publishing { stream_id } => {
                self.stage = match by {
                    UnpublishedBy::FcUnpublish => Stage::Unpublished,
                    UnpublishedBy::DeleteStream | UnpublishedBy::CloseStream => Stage::Idle,
                };
                self.send_status(stream_id, "status", "NetStream.Unpublish.Success", "Ended");
            }
            Stage::Unpublished if by != UnpublishedBy::FcUnpublish => self.stage = Stage::Idle,
            _ => return,
        }
        self.outputs.push_back(ServerOutput::Unpublish { by });
    }

    fn answer(&mut self, name: &str, question: &Command, arguments: Vec<Value>) {
        let command = Command::new(name, question.transaction, arguments);
        self.connection.send_command(0, &command);
    }

    fn send_status(&mut self, stream_id: u32, level: &str, code: &str, description: &str) {
        let info = status(level, code, description);
        let command = Command::new("onStatus", 0.0, vec![Value::Null, info]);
        self.connection.send_command(stream_id, &command);
    }
}

fn status(level: &str, code: &str, description: &str) -> Value {
    Value::object([
        ("level", level.into()),
        ("code", code.into()),
        ("description", description.into()),
    ])
}

impl fmt::Debug for ServerSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSession")
            .field("publishing", &self.is_publishing())
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}
