//! The client that publishes one stream to one RTMP server.
//!
//! ```text
//!  start ── C0C1 ──► │ handle: S0S1S2 ► C2, Set Chunk Size, Window Ack, connect
//!                    │ handle: _result ► Connected; releaseStream, FCPublish, createStream
//!                    │ handle: _result ► publish
//!                    │ handle: onStatus NetStream.Publish.Start ► Publishing
//!  media … media ──► │ (acknowledgements and pings answered meanwhile)
//!  finish ─────────► │ FCUnpublish, deleteStream
//! ```
//!
//! Timeouts belong to the caller: the client says nothing about a server that says nothing.

mod error;
mod login;
mod secrets;

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;
use rml_rtmp::handshake::PeerType;

pub use error::{PublishError, Step};
pub use login::{Challenge, Login};
use secrets::Secrets;

use super::amf::Value;
use super::command::Command;
use super::enhanced;
use super::limits::{CHUNK_BYTES_SENT, WINDOW_ACK_BYTES};
use super::message::{MediaKind, Message};
use super::url::RtmpUrl;
use super::wire::connection::Connection;
use super::writer::MediaWriter;

/// Transactions, by which answers find their questions. `publish` has none by the specification,
/// but servers that refuse it with `_error` repeat the one given.
mod transaction {
    pub(super) const CONNECT: f64 = 1.0;
    pub(super) const RELEASE_STREAM: f64 = 2.0;
    pub(super) const FC_PUBLISH: f64 = 3.0;
    pub(super) const CREATE_STREAM: f64 = 4.0;
    pub(super) const PUBLISH: f64 = 5.0;
    pub(super) const FC_UNPUBLISH: f64 = 6.0;
    pub(super) const DELETE_STREAM: f64 = 7.0;
}

/// How a client behaves. The default suits every server known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishConfig {
    /// Payload bytes in our chunks, `1..=16_777_215`.
    pub chunk_bytes: u32,
    /// After how many bytes the server shall acknowledge.
    pub window_ack_bytes: u32,
    /// What we say we are. Some servers look for `FMLE/` before they take a stream.
    pub flash_version: String,
    /// `connect` says that we can send Opus, as enhanced RTMP has it. A few servers stumble over what
    /// they do not know.
    pub offers_opus: bool,
}

impl Default for PublishConfig {
    fn default() -> Self {
        Self {
            chunk_bytes: CHUNK_BYTES_SENT,
            window_ack_bytes: WINDOW_ACK_BYTES,
            flash_version: concat!(
                "FMLE/3.0 (compatible; Shardcast/",
                env!("CARGO_PKG_VERSION"),
                ")"
            )
            .to_owned(),
            offers_opus: false,
        }
    }
}

/// What a client wants or has reached. `Debug` shows no bytes, since they hold the key.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishOutput {
    /// Bytes for the server, behind all earlier ones.
    Send(Bytes),
    /// The server took the connection and the application.
    Connected,
    /// The server took the stream: media may be sent, metadata and sequence headers first.
    Publishing {
        /// Message stream that the server has given (RTMP specification 7.2.1.3).
        stream_id: u32,
    },
    /// The server wants user and password, on another connection: close this one, and go on with
    /// [`PublishClient::logging_in`].
    LogIn(Challenge),
    /// The server sends the client on to another, by its `tcUrl`: close this connection. The text is
    /// the server's own and unread.
    Redirected {
        /// Where to, as the server wrote it.
        tc_url: String,
    },
}

impl fmt::Debug for PublishOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(bytes) => write!(f, "Send({} bytes)", bytes.len()),
            Self::Connected => f.write_str("Connected"),
            Self::Publishing { stream_id } => write!(f, "Publishing {{ stream_id: {stream_id} }}"),
            Self::LogIn(challenge) => write!(f, "LogIn({challenge:?})"),
            Self::Redirected { .. } => f.write_str("Redirected"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Handshake,
    Connecting,
    CreatingStream,
    StartingPublish,
    Publishing,
    Finished,
    Failed,
}

/// One attempt to publish to one server; not used again after an error or the end.
pub struct PublishClient {
    connection: Connection,
    config: PublishConfig,
    url: RtmpUrl,
    login: Login,
    stage: Stage,
    stream_id: u32,
    /// The server took `connect`.
    connect_taken: bool,
    takes_opus: bool,
    reached: VecDeque<PublishOutput>,
}

impl PublishClient {
    /// A client for a server that asks for no user.
    pub fn new(url: &RtmpUrl, config: PublishConfig) -> Self {
        Self::logging_in(url, config, Login::default())
    }

    /// A client that says this of user and password.
    pub fn logging_in(url: &RtmpUrl, config: PublishConfig, login: Login) -> Self {
        Self {
            connection: Connection::new(PeerType::Client),
            config,
            url: url.clone(),
            login,
            stage: Stage::Handshake,
            stream_id: 0,
            connect_taken: false,
            takes_opus: false,
            reached: VecDeque::new(),
        }
    }

    /// The first bytes for the server, once it is connected.
    #[must_use]
    pub fn start(&mut self) -> Bytes {
        self.connection.begin()
    }

    /// Takes bytes from the server.
    ///
    /// # Errors
    /// When the server refuses, ends the stream or breaks the protocol: close the connection.
    /// [`PublishError::retryable`] says whether another attempt can go better.
    pub fn handle(&mut self, input: &[u8]) -> Result<(), PublishError> {
        if self.stage == Stage::Failed {
            return Err(PublishError::AlreadyFailed);
        }
        self.advance(input)
            .inspect_err(|_| self.stage = Stage::Failed)
    }

    /// What is to be done; ask until `None` after every [`PublishClient::handle`].
    pub fn poll(&mut self) -> Option<PublishOutput> {
        // Bytes first: whoever learns that it may send media has sent what goes before.
        match self.connection.poll_send() {
            Some(bytes) => Some(PublishOutput::Send(bytes)),
            None => self.reached.pop_front(),
        }
    }

    /// A message in slices for a gathering write; see [`gather_behind`](super::body::gather_behind) for what is shared. Times are
    /// the destination's own: milliseconds from its first message, wrapping at 2^32.
    pub fn media(&self, kind: MediaKind, timestamp_ms: u32, payload: &Bytes) -> Vec<Bytes> {
        self.media_behind(kind, timestamp_ms, &[], payload)
    }

    /// The same for a message that begins with `head`: the header of an FLV tag before a payload that
    /// is shared.
    pub fn media_behind(
        &self,
        kind: MediaKind,
        timestamp_ms: u32,
        head: &[u8],
        payload: &Bytes,
    ) -> Vec<Bytes> {
        let writer = self.writer();
        writer.media_behind(kind, timestamp_ms, head, payload)
    }

    /// What writes media on this connection.
    pub fn writer(&self) -> MediaWriter {
        MediaWriter {
            stream_id: self.stream_id,
            chunk_bytes: self.connection.chunk_bytes(),
        }
    }

    /// Ends the stream as wished: the bytes to be sent before the connection is closed. Empty when
    /// the server has nothing to be told yet.
    #[must_use]
    pub fn finish(&mut self) -> Bytes {
        let stage = std::mem::replace(&mut self.stage, Stage::Finished);
        if !matches!(stage, Stage::StartingPublish | Stage::Publishing) {
            return Bytes::new();
        }
        let key = Value::from(self.url.stream_key());
        let unpublish = Command::new(
            "FCUnpublish",
            transaction::FC_UNPUBLISH,
            vec![Value::Null, key],
        );
        let delete = Command::new(
            "deleteStream",
            transaction::DELETE_STREAM,
            vec![Value::Null, self.stream_id.into()],
        );
        let mut bytes = self.connection.encode_command(0, &unpublish).to_vec();
        bytes.extend_from_slice(&self.connection.encode_command(0, &delete));
        Bytes::from(bytes)
    }

    /// Whether media may be sent.
    pub fn is_publishing(&self) -> bool {
        self.stage == Stage::Publishing
    }

    /// Whether the server has answered our offer of Opus and takes it.
    pub fn takes_opus(&self) -> bool {
        self.takes_opus
    }

    /// Whether the server has not taken `connect`: it refused, or what it said since the handshake is no
    /// answer.
    pub fn connect_failed(&self) -> bool {
        self.connection.is_open() && !self.connect_taken
    }

    /// Whether the server has said anything at all.
    pub fn has_heard(&self) -> bool {
        self.connection.has_heard()
    }

    /// How many bytes the server says it has received. Servers count from different points and
    /// some never say: compare growth, not the value.
    pub fn acknowledged_bytes(&self) -> u64 {
        self.connection.acknowledged_bytes()
    }

    /// What the client is waiting for, in words for a status.
    pub fn step(&self) -> Step {
        match self.stage {
            Stage::Handshake => Step::Handshake,
            Stage::Connecting => Step::Connect,
            Stage::CreatingStream => Step::CreateStream,
            Stage::StartingPublish => Step::Publish,
            Stage::Publishing | Stage::Finished | Stage::Failed => Step::Live,
        }
    }

    fn advance(&mut self, input: &[u8]) -> Result<(), PublishError> {
        self.connection.handle(input)?;
        if self.stage == Stage::Handshake && self.connection.is_open() {
            self.connect();
        }
        while let Some(message) = self.connection.next_message()? {
            self.on_message(&message)?;
        }
        Ok(())
    }

    fn connect(&mut self) {
        self.stage = Stage::Connecting;
        self.connection
            .send_chunk_size(self.config.chunk_bytes.clamp(1, 0xFF_FFFF));
        self.connection.send_window(self.config.window_ack_bytes);
        let login = self.login.parameters();
        let application = format!("{}{login}", self.url.application());
        let tc_url = format!("{}{login}", self.url.tc_url());
        let mut object = vec![
            ("app".to_owned(), Value::from(application)),
            ("type".to_owned(), "nonprivate".into()),
            (
                "flashVer".to_owned(),
                self.config.flash_version.as_str().into(),
            ),
            ("tcUrl".to_owned(), tc_url.into()),
        ];
        if self.config.offers_opus {
            object.extend(enhanced::connect_properties());
        }
        let connect = Command::new("connect", transaction::CONNECT, vec![Value::Object(object)]);
        self.connection.send_command(0, &connect);
    }

    fn on_message(&mut self, message: &Message) -> Result<(), PublishError> {
        // Servers add commands of their own; those that cannot be read are none we wait for.
        let Some(Ok(command)) = Command::from_message(message) else {
            return Ok(());
        };
        match command.name.as_str() {
            "_result" => self.on_result(&command),
            "_error" => self.on_error(&command),
            "onStatus" => self.on_status(&command),
            "close" => Err(self.refused(&command)),
            _ => Ok(()),
        }
    }

    fn on_result(&mut self, command: &Command) -> Result<(), PublishError> {
        if self.stage == Stage::Connecting && command.transaction == transaction::CONNECT {
            self.stage = Stage::CreatingStream;
            self.connect_taken = true;
            self.takes_opus = self.config.offers_opus && enhanced::takes_opus(&command.arguments);
            self.reached.push_back(PublishOutput::Connected);
            self.create_stream();
        } else if self.stage == Stage::CreatingStream
            && command.transaction == transaction::CREATE_STREAM
        {
            self.stream_id = stream_id(command).ok_or(PublishError::BadStreamId)?;
            self.stage = Stage::StartingPublish;
            let key = Value::from(self.url.stream_key());
            let arguments = vec![Value::Null, key, "live".into()];
            let publish = Command::new("publish", transaction::PUBLISH, arguments);
            self.connection.send_command(self.stream_id, &publish);
        }
        Ok(())
    }

    /// `releaseStream` and `FCPublish` are Adobe's customs, which Akamai and Wowza wait for and
    /// others refuse without harm.
    fn create_stream(&mut self) {
        for (name, transaction) in [
            ("releaseStream", transaction::RELEASE_STREAM),
            ("FCPublish", transaction::FC_PUBLISH),
        ] {
            let arguments = vec![Value::Null, self.url.stream_key().into()];
            self.connection
                .send_command(0, &Command::new(name, transaction, arguments));
        }
        let create = Command::new(
            "createStream",
            transaction::CREATE_STREAM,
            vec![Value::Null],
        );
        self.connection.send_command(0, &create);
    }

    fn on_error(&mut self, command: &Command) -> Result<(), PublishError> {
        let awaited = match self.stage {
            Stage::Connecting => transaction::CONNECT,
            Stage::CreatingStream => transaction::CREATE_STREAM,
            Stage::StartingPublish => transaction::PUBLISH,
            _ => return Ok(()),
        };
        if command.transaction != awaited {
            return Ok(());
        }
        if self.stage == Stage::Connecting {
            return self.on_connect_refused(command);
        }
        Err(self.refused(command))
    }

    /// A refusal of `connect` may be the question for user and password, or the way to another
    /// server (`ex` with code 302, as Flash Media Server has it).
    fn on_connect_refused(&mut self, command: &Command) -> Result<(), PublishError> {
        let extra = command.arguments.iter().find_map(|info| info.get("ex"));
        let redirect = extra.and_then(|extra| extra.get("redirect")?.as_str());
        let description = command.text("description").unwrap_or_default();
        let next = if let Some(tc_url) = redirect {
            let tc_url = tc_url.to_owned();
            PublishOutput::Redirected { tc_url }
        } else {
            match self.login.read(&self.url, description) {
                Some(challenge) => PublishOutput::LogIn(challenge?),
                None => return Err(self.refused(command)),
            }
        };
        self.stage = Stage::Finished;
        self.reached.push_back(next);
        Ok(())
    }

    fn on_status(&mut self, command: &Command) -> Result<(), PublishError> {
        let code = command.text("code").unwrap_or_default();
        let is_error = command.text("level").is_some_and(|level| level == "error");
        match (self.stage, code) {
            (Stage::StartingPublish, "NetStream.Publish.Start") => {
                self.stage = Stage::Publishing;
                let stream_id = self.stream_id;
                self.reached
                    .push_back(PublishOutput::Publishing { stream_id });
                Ok(())
            }
            (Stage::Finished, _) => Ok(()),
            (Stage::Connecting, "NetConnection.Connect.Rejected") => {
                self.on_connect_refused(command)
            }
            (
                _,
                "NetStream.Unpublish.Success"
                | "NetStream.Failed"
                | "NetConnection.Connect.Closed"
                | "NetConnection.Connect.AppShutdown"
                | "NetConnection.Connect.Rejected",
            ) => Err(self.refused(command)),
            _ if is_error => Err(self.refused(command)),
            _ => Ok(()),
        }
    }

    fn refused(&self, command: &Command) -> PublishError {
        PublishError::from_server(
            self.step(),
            command.text("code").unwrap_or_default(),
            command.text("description").unwrap_or_default(),
            &Secrets::of(&self.url),
        )
    }
}

/// The message stream that `createStream` answered, behind a null command object.
fn stream_id(command: &Command) -> Option<u32> {
    let number = command.first_number()?;
    let id = number as u32;
    (f64::from(id) == number).then_some(id)
}

impl fmt::Debug for PublishClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishClient")
            .field("stage", &self.stage)
            .field("stream_id", &self.stream_id)
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}
