//! The one simulated RTMP server: a real RTMP session, and what a fault mode makes of it. It knows no
//! time and no network; who runs it delivers bytes, answers and failures when they are due.

use std::time::Duration;

use bytes::Bytes;
use shardcast_core::rtmp::{
    Message, ServerConfig, ServerOutput, ServerSession, UnpublishedBy,
    amf::Value,
    body::{MessageHeader, encode},
    command::Command,
    message::{csid, type_id},
};

/// S0, S1 and S2 (RTMP specification 5.2).
const HANDSHAKE_BYTES: usize = 1 + 2 * 1536;
/// The basic and message header of a type 0 chunk on a chunk stream below 64.
const FIRST_HEADER_BYTES: usize = 12;
/// Ping Request (RTMP specification 7.1.7) at time 0.
const PING_REQUEST: [u8; 6] = [0, 6, 0, 0, 0, 0];
const CHUNK_BYTES_DEFAULT: usize = 128;
/// Bytes that are not RTMP.
const GARBAGE: &[u8] = &[0x48; 4_000];

/// What stands behind a name, and how it treats its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultMode {
    /// An RTMP server that takes everything.
    Well,
    /// The look-up fails.
    NoName,
    /// The look-up is answered after so many milliseconds, which may be too late.
    SlowName(u64),
    /// Refuses TCP connections.
    Refuses,
    /// Neither accepts nor refuses.
    Silent,
    /// Its certificate is not believed. Plain connections are refused.
    TlsFails,
    /// Accepts the connection and sends nothing.
    Mute,
    /// Answers with bytes that are not RTMP.
    Garbage,
    /// Closes right after the connection stands.
    HangsUp,
    /// Rejects the stream key.
    RejectsKey,
    /// Answers that the key is in use.
    KeyInUse,
    /// Each answer comes so many milliseconds late.
    Late(u64),
    /// Takes the stream, then resets after so many milliseconds.
    Resets(u64),
    /// Takes the stream, then ends the connection in order.
    Fins(u64),
    /// Takes the stream, then says that it is over.
    Unpublishes(u64),
    /// Takes the stream, then reads nothing more.
    StopsReading(u64),
    /// Takes the stream, then the cable is cut: nothing arrives, and no reset tells.
    Vanishes(u64),
    /// Takes so many bytes a second.
    Crawls(u64),
    /// Does not understand a `connect` of enhanced RTMP, and ends the connection.
    Stumbles,
}

/// Whether the message is a sequence header and holds no media.
pub fn is_sequence_header(message: &Message) -> bool {
    match message.payload[..] {
        // SoundFormat 9: the packet type stands in the other half of the byte.
        [first, ..] if message.type_id == type_id::AUDIO && first >> 4 == 9 => first & 0xf == 0,
        [_, packet_type, ..] => packet_type == 0,
        _ => false,
    }
}

/// How a TCP connection, and TLS on it where that is asked for, turns out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connecting {
    /// It stands.
    Stands,
    /// Nothing comes back.
    Hangs,
    /// It fails with this reason.
    Fails {
        /// As the engine words it.
        reason: &'static str,
        /// Another attempt may go better by itself.
        retryable: bool,
    },
}

impl FaultMode {
    /// What becomes of a connection.
    pub fn connecting(self, tls: bool) -> Connecting {
        match self {
            Self::Silent => Connecting::Hangs,
            Self::TlsFails if tls => Connecting::Fails {
                reason: "unknown issuer",
                retryable: false,
            },
            Self::Refuses | Self::TlsFails => Connecting::Fails {
                reason: "connection refused",
                retryable: true,
            },
            _ => Connecting::Stands,
        }
    }
}

/// How a connection ends or degrades by the server's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// TCP reset.
    Reset,
    /// TCP end of stream.
    Fin,
    /// The server ends the stream by a message.
    Unpublish,
    /// The server reads nothing more.
    StopReading,
    /// Nothing arrives in either direction.
    Cut,
}

/// Bytes that the server sends.
#[derive(Clone, Debug)]
pub struct Answer {
    /// In one piece, as the server writes it.
    pub bytes: Bytes,
    /// After this answer only a person can help.
    pub refuses: bool,
}

/// What came of bytes that the server has read.
#[derive(Debug)]
pub enum ServerEvent {
    /// The server answers.
    Answer(Answer),
    /// The shard asks to publish under this stream key. The answer follows.
    Key(String),
    /// `onMetaData`.
    Metadata,
    /// An audio or video message.
    Media(Message),
    /// The shard ends the stream.
    Ended(UnpublishedBy),
    /// The server ends the connection.
    HangsUp,
}

fn holds(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|at| at == word)
}

/// One connection at a server.
#[derive(Debug)]
pub struct RtmpServer {
    /// May change while the connection stands.
    pub mode: FaultMode,
    /// `publish` was accepted.
    pub publishing: bool,
    /// Pings in the middle of longer messages.
    pub interleaves: bool,
    session: ServerSession,
    chunk_bytes: usize,
    sent_bytes: usize,
    greeted: bool,
}

impl RtmpServer {
    /// A server to which nothing was sent yet.
    pub fn new(mode: FaultMode, config: ServerConfig, interleaves: bool) -> Self {
        Self {
            mode,
            publishing: false,
            interleaves,
            chunk_bytes: usize::try_from(config.chunk_bytes).unwrap(),
            session: ServerSession::new(config),
            sent_bytes: 0,
            greeted: false,
        }
    }

    /// How much later than at once the server answers.
    pub fn lateness(&self) -> Duration {
        Duration::from_millis(match self.mode {
            FaultMode::Late(ms) => ms,
            _ => 0,
        })
    }

    /// What befalls the stream after it was taken, and after how many milliseconds.
    pub fn failure(&self) -> Option<(u64, Failure)> {
        match self.mode {
            FaultMode::Resets(ms) => Some((ms, Failure::Reset)),
            FaultMode::Fins(ms) => Some((ms, Failure::Fin)),
            FaultMode::Unpublishes(ms) => Some((ms, Failure::Unpublish)),
            FaultMode::StopsReading(ms) => Some((ms, Failure::StopReading)),
            FaultMode::Vanishes(ms) => Some((ms, Failure::Cut)),
            _ => None,
        }
    }

    /// The server reads these bytes. An error if they are not RTMP.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Vec<ServerEvent>, String> {
        match self.mode {
            FaultMode::Mute => return Ok(Vec::new()),
            FaultMode::Garbage => {
                let first = !std::mem::replace(&mut self.greeted, true);
                let garbage = ServerEvent::Answer(Answer {
                    bytes: Bytes::from_static(GARBAGE),
                    refuses: true,
                });
                return Ok(first.then_some(garbage).into_iter().collect());
            }
            FaultMode::Stumbles if holds(bytes, b"audioFourCcInfoMap") => {
                return Ok(vec![ServerEvent::HangsUp]);
            }
            _ => {}
        }
        self.session
            .handle(bytes)
            .map_err(|error| format!("the shard does not speak RTMP: {error}"))?;
        let mut events = Vec::new();
        let mut refuses = false;
        while let Some(output) = self.session.poll() {
            events.push(match output {
                ServerOutput::Send(bytes) => {
                    let bytes = self.interleaved(bytes);
                    ServerEvent::Answer(Answer { bytes, refuses })
                }
                ServerOutput::Publish { stream_key } => {
                    refuses = self.publish();
                    ServerEvent::Key(stream_key)
                }
                ServerOutput::Metadata(_) => ServerEvent::Metadata,
                ServerOutput::Media(message) => ServerEvent::Media(message),
                ServerOutput::Unpublish { by } => ServerEvent::Ended(by),
                _ => continue,
            });
        }
        Ok(events)
    }

    /// Answers `publish`; true if only a person can help after the answer.
    fn publish(&mut self) -> bool {
        match self.mode {
            FaultMode::RejectsKey => {
                self.session
                    .reject_publish("NetStream.Publish.BadName", "no such key");
                true
            }
            FaultMode::KeyInUse => {
                self.session
                    .reject_publish("NetStream.Publish.BadName", "already publishing");
                false
            }
            _ => {
                self.session.accept_publish();
                self.publishing = true;
                false
            }
        }
    }

    /// A message long enough is cut after its first chunk, with a ping between, as servers do that
    /// send on several chunk streams at once.
    fn interleaved(&mut self, bytes: Bytes) -> Bytes {
        let before = self.sent_bytes;
        self.sent_bytes += bytes.len();
        let cut = FIRST_HEADER_BYTES + self.chunk_bytes;
        let is_command = bytes.first() == Some(&csid::COMMAND);
        if !self.interleaves || before < HANDSHAKE_BYTES || !is_command || bytes.len() <= cut {
            return bytes;
        }
        let header = MessageHeader {
            csid: csid::CONTROL,
            timestamp_ms: 0,
            type_id: type_id::USER_CONTROL,
            stream_id: 0,
        };
        let ping = encode(header, &PING_REQUEST, CHUNK_BYTES_DEFAULT);
        [&bytes[..cut], &ping[..], &bytes[cut..]].concat().into()
    }

    /// The message with which the server ends a running stream.
    pub fn unpublish(&self) -> Bytes {
        let info = Value::object([
            ("level", "status".into()),
            ("code", "NetStream.Unpublish.Success".into()),
            ("description", "the event is over".into()),
        ]);
        let status = Command::new("onStatus", 0.0, vec![Value::Null, info]);
        let header = MessageHeader {
            csid: csid::COMMAND,
            timestamp_ms: 0,
            type_id: type_id::COMMAND_AMF0,
            stream_id: 1,
        };
        encode(header, &status.encode(), self.chunk_bytes)
    }
}
