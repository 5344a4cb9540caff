//! What both ends of a connection do alike: handshake, acknowledgements, pings.
//!
//! The handshake's random bytes are the `rml_rtmp` crate's own. Nothing depends on them: the peer's
//! answer to them is not checked, so a recorded connection replays.

use std::collections::VecDeque;
use std::fmt;

use bytes::{BufMut, Bytes};
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};

use super::body::{MessageHeader, encode};
use super::chunk::{ChunkError, ChunkReader};
use super::command::Command;
use super::cursor::Cursor;
use super::limits::CHUNK_BYTES_DEFAULT;
use super::message::{Message, csid, type_id};

/// User control events (RTMP specification 7.1.7).
const PING_REQUEST: u16 = 6;
const PING_RESPONSE: u16 = 7;

/// First byte of the TLS records with which a peer may answer C0 and C1, which it takes for a broken
/// ClientHello (RFC 8446, 5.1). S0 is never one of them.
const TLS_ALERT: u8 = 21;
const TLS_HANDSHAKE: u8 = 22;

/// The peer does not speak RTMP as it should; the connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The first bytes are a TLS record: the address says rtmp where the port speaks rtmps, or the reverse.
    #[error("this port speaks TLS: write rtmps:// in place of rtmp://")]
    SpeaksTls,
    /// The words of the handshake's reader.
    #[error("what answers there does not speak RTMP ({0})")]
    Handshake(String),
    /// The chunk stream breaks the specification or our limits.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
}

/// One end of an RTMP connection below the commands.
pub(crate) struct Connection {
    /// `None` once it is complete.
    handshake: Option<Handshake>,
    /// The peer has sent something.
    heard: bool,
    reader: ChunkReader,
    /// Payload bytes in a chunk that we send.
    chunk_bytes: usize,
    /// From the peer since the handshake.
    received_bytes: u64,
    /// `received_bytes` when we last told the peer.
    told_bytes: u64,
    /// After how many bytes the peer wants to hear from us.
    peer_window_bytes: Option<u32>,
    /// The window that we last told the peer.
    window_bytes: Option<u32>,
    acknowledged_bytes: u64,
    sends: VecDeque<Bytes>,
}

impl Connection {
    pub(crate) fn new(side: PeerType) -> Self {
        Self {
            handshake: Some(Handshake::new(side)),
            heard: false,
            reader: ChunkReader::default(),
            chunk_bytes: CHUNK_BYTES_DEFAULT,
            received_bytes: 0,
            told_bytes: 0,
            peer_window_bytes: None,
            window_bytes: None,
            acknowledged_bytes: 0,
            sends: VecDeque::new(),
        }
    }

    /// C0 and C1, with which the client begins.
    pub(crate) fn begin(&mut self) -> Bytes {
        let packet = self
            .handshake
            .as_mut()
            .map(Handshake::generate_outbound_p0_and_p1);
        packet
            .and_then(Result::ok)
            .map(Bytes::from)
            .unwrap_or_default()
    }

    /// Whether the peer has sent anything.
    pub(crate) fn has_heard(&self) -> bool {
        self.heard
    }

    pub(crate) fn is_open(&self) -> bool {
        self.handshake.is_none()
    }

    /// Takes bytes from the peer.
    pub(crate) fn handle(&mut self, input: &[u8]) -> Result<(), ConnectionError> {
        let Some(handshake) = &mut self.handshake else {
            self.receive(input);
            return Ok(());
        };
        if input.is_empty() {
            return Ok(());
        }
        let is_first = !std::mem::replace(&mut self.heard, true);
        if is_first && matches!(input, [TLS_ALERT | TLS_HANDSHAKE, ..]) {
            return Err(ConnectionError::SpeaksTls);
        }
        let result = handshake
            .process_bytes(input)
            .map_err(|error| ConnectionError::Handshake(error.to_string()))?;
        match result {
            HandshakeProcessResult::InProgress { response_bytes } => self.queue(response_bytes),
            HandshakeProcessResult::Completed {
                response_bytes,
                remaining_bytes,
            } => {
                self.queue(response_bytes);
                self.handshake = None;
                self.receive(&remaining_bytes);
            }
        }
        Ok(())
    }

    fn queue(&mut self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.sends.push_back(Bytes::from(bytes));
        }
    }

    fn receive(&mut self, input: &[u8]) {
        self.received_bytes += input.len() as u64;
        self.reader.push(input);
        let window_bytes = self.peer_window_bytes.filter(|bytes| *bytes > 0);
        let untold_bytes = self.received_bytes - self.told_bytes;
        if window_bytes.is_some_and(|window_bytes| untold_bytes >= u64::from(window_bytes)) {
            self.told_bytes = self.received_bytes;
            // "The sequence number is the number of bytes received so far" (5.4.3), in 32 bits.
            let [_, _, _, _, sequence @ ..] = self.received_bytes.to_be_bytes();
            self.send_control(type_id::ACKNOWLEDGEMENT, &sequence);
        }
    }

    /// The next message that is not about the connection itself.
    pub(crate) fn next_message(&mut self) -> Result<Option<Message>, ConnectionError> {
        while let Some(message) = self.reader.next_message()? {
            match message.type_id {
                type_id::ACKNOWLEDGEMENT => self.acknowledged(&message.payload),
                type_id::WINDOW_ACK_SIZE => {
                    self.peer_window_bytes = Cursor::new(&message.payload).u32();
                }
                type_id::SET_PEER_BANDWIDTH => self.set_window(&message.payload),
                type_id::USER_CONTROL => self.user_control(&message.payload),
                _ => return Ok(Some(message)),
            }
        }
        Ok(None)
    }

    /// Widens the 32 bits of the peer's count. A count that steps back is ignored.
    fn acknowledged(&mut self, payload: &[u8]) {
        let Some(sequence) = Cursor::new(payload).u32() else {
            return;
        };
        let [_, _, _, _, last @ ..] = self.acknowledged_bytes.to_be_bytes();
        let progress = sequence.wrapping_sub(u32::from_be_bytes(last));
        if progress < 1 << 31 {
            self.acknowledged_bytes += u64::from(progress);
        }
    }

    /// "The peer receiving this message SHOULD respond with a Window Acknowledgement Size message
    /// if the window size is different from the last one sent" (5.4.5).
    fn set_window(&mut self, payload: &[u8]) {
        let window_bytes = Cursor::new(payload).u32();
        if let Some(bytes) = window_bytes.filter(|_| window_bytes != self.window_bytes) {
            self.send_window(bytes);
        }
    }

    fn user_control(&mut self, payload: &[u8]) {
        let mut cursor = Cursor::new(payload);
        if let (Some(PING_REQUEST), Some(timestamp)) = (cursor.u16(), cursor.u32()) {
            let mut pong = Vec::with_capacity(6);
            pong.put_u16(PING_RESPONSE);
            pong.put_u32(timestamp);
            self.send_control(type_id::USER_CONTROL, &pong);
        }
    }

    /// Tells the peer the size of our chunks and uses it from here on.
    pub(crate) fn send_chunk_size(&mut self, chunk_bytes: u32) {
        self.send_control(type_id::SET_CHUNK_SIZE, &chunk_bytes.to_be_bytes());
        self.chunk_bytes = chunk_bytes as usize;
    }

    /// Tells the peer after how many bytes we want to hear from it.
    pub(crate) fn send_window(&mut self, window_bytes: u32) {
        self.window_bytes = Some(window_bytes);
        self.send_control(type_id::WINDOW_ACK_SIZE, &window_bytes.to_be_bytes());
    }

    pub(crate) fn send_control(&mut self, type_id: u8, payload: &[u8]) {
        let header = MessageHeader {
            csid: csid::CONTROL,
            timestamp_ms: 0,
            type_id,
            stream_id: 0,
        };
        self.sends
            .push_back(encode(header, payload, self.chunk_bytes));
    }

    pub(crate) fn send_command(&mut self, stream_id: u32, command: &Command) {
        let bytes = self.encode_command(stream_id, command);
        self.sends.push_back(bytes);
    }

    pub(crate) fn encode_command(&self, stream_id: u32, command: &Command) -> Bytes {
        let header = MessageHeader {
            csid: csid::COMMAND,
            timestamp_ms: 0,
            type_id: type_id::COMMAND_AMF0,
            stream_id,
        };
        encode(header, &command.encode(), self.chunk_bytes)
    }

    /// The next bytes for the peer.
    pub(crate) fn poll_send(&mut self) -> Option<Bytes> {
        self.sends.pop_front()
    }

    pub(crate) fn chunk_bytes(&self) -> usize {
        self.chunk_bytes
    }

    pub(crate) fn acknowledged_bytes(&self) -> u64 {
        self.acknowledged_bytes
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("open", &self.is_open())
            .field("received_bytes", &self.received_bytes)
            .field("acknowledged_bytes", &self.acknowledged_bytes)
            .field("sends", &self.sends.len())
            .finish_non_exhaustive()
    }
}
