//! What a message is, and the numbers that name kinds of messages and chunk streams.

use bytes::Bytes;

/// A whole RTMP message, put together from its chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Chunk stream it came on, `2..=65_599`.
    pub csid: u32,
    /// Milliseconds on the sender's clock; wraps at 2^32.
    pub timestamp_ms: u32,
    /// One of [`type_id`], or unknown.
    pub type_id: u8,
    /// Message stream: 0 for the connection itself, else what `createStream` answered.
    pub stream_id: u32,
    /// The message without any chunk header.
    pub payload: Bytes,
}

/// Message types (RTMP specification 5.4, 6.2, 7.1).
pub mod type_id {
    /// RTMP specification 5.4.1.
    pub const SET_CHUNK_SIZE: u8 = 1;
    /// 5.4.2.
    pub const ABORT: u8 = 2;
    /// 5.4.3.
    pub const ACKNOWLEDGEMENT: u8 = 3;
    /// 6.2.
    pub const USER_CONTROL: u8 = 4;
    /// 5.4.4.
    pub const WINDOW_ACK_SIZE: u8 = 5;
    /// 5.4.5.
    pub const SET_PEER_BANDWIDTH: u8 = 6;
    /// 7.1.4.
    pub const AUDIO: u8 = 8;
    /// 7.1.5.
    pub const VIDEO: u8 = 9;
    /// 7.1.2.
    pub const DATA_AMF3: u8 = 15;
    /// 7.1.1.
    pub const COMMAND_AMF3: u8 = 17;
    /// 7.1.2.
    pub const DATA_AMF0: u8 = 18;
    /// 7.1.1.
    pub const COMMAND_AMF0: u8 = 20;
    /// 7.1.6.
    pub const AGGREGATE: u8 = 22;
}

/// Chunk streams that we send on. Only 2 is fixed by the specification; one per kind keeps kinds
/// apart in captures.
pub mod csid {
    /// Protocol control messages, which have to use it (5.4).
    pub const CONTROL: u8 = 2;
    /// Commands; a custom of all encoders, as what follows.
    pub const COMMAND: u8 = 3;
    /// Audio.
    pub const AUDIO: u8 = 4;
    /// Metadata.
    pub const DATA: u8 = 5;
    /// Video.
    pub const VIDEO: u8 = 6;
}

/// What a media message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// An FLV audio tag (7.1.4).
    Audio,
    /// An FLV video tag (7.1.5).
    Video,
    /// Metadata and other AMF0 data.
    Data,
}

impl MediaKind {
    /// The message type that carries it.
    pub fn type_id(self) -> u8 {
        match self {
            Self::Audio => type_id::AUDIO,
            Self::Video => type_id::VIDEO,
            Self::Data => type_id::DATA_AMF0,
        }
    }

    /// The chunk stream on which we send it.
    pub fn csid(self) -> u8 {
        match self {
            Self::Audio => csid::AUDIO,
            Self::Video => csid::VIDEO,
            Self::Data => csid::DATA,
        }
    }
}
