//! Chunks to messages (RTMP specification 5.3).
//!
//! Chunk streams may interleave, so each has its own unfinished message. Memory grows with what
//! has arrived, never with what is announced, and everything is capped. Set Chunk Size and Abort
//! act here, in order with the chunks around them, and are not handed on.

use bytes::{Buf, Bytes, BytesMut};

use super::cursor::Cursor;
use super::limits::{
    BUFFERED_BYTES_MAX, CHUNK_BYTES_DEFAULT, CHUNK_STREAMS_MAX, COMMAND_MESSAGE_BYTES_MAX,
    MEDIA_MESSAGE_BYTES_MAX, MESSAGE_BYTES_ON_WIRE_MAX,
};
use super::message::{Message, type_id};

const EXTENDED_TIMESTAMP: u32 = 0xFF_FFFF;

/// What one peer may make us hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkLimits {
    /// Longest audio, video or aggregate message, in bytes.
    pub media_message_bytes_max: usize,
    /// Longest message of any other type, in bytes.
    pub command_message_bytes_max: usize,
    /// Chunk streams that the peer may use.
    pub chunk_streams_max: usize,
    /// Unread input and unfinished messages together, in bytes.
    pub buffered_bytes_max: usize,
}

impl Default for ChunkLimits {
    fn default() -> Self {
        Self {
            media_message_bytes_max: MEDIA_MESSAGE_BYTES_MAX,
            command_message_bytes_max: COMMAND_MESSAGE_BYTES_MAX,
            chunk_streams_max: CHUNK_STREAMS_MAX,
            buffered_bytes_max: BUFFERED_BYTES_MAX,
        }
    }
}

/// The peer broke the chunk protocol or a limit; the connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// Set Chunk Size with a value that 5.4.1 does not allow.
    #[error("the peer set a chunk size of {bytes} bytes; 1 to 2147483647 are allowed")]
    ChunkSize {
        /// The value.
        bytes: u32,
    },
    /// The length field announces more than is taken.
    #[error("the peer announced a message of type {type_id} with {bytes} bytes, above {bytes_max}")]
    MessageTooLong {
        /// Type of the message.
        type_id: u8,
        /// Its length as announced.
        bytes: usize,
        /// What is taken of this type.
        bytes_max: usize,
    },
    /// The peer opens one chunk stream after another.
    #[error("the peer uses more than {chunk_streams_max} chunk streams")]
    TooManyChunkStreams {
        /// How many it may open.
        chunk_streams_max: usize,
    },
    /// A header of type 1 to 3 leans on one that never came (5.3.1.2).
    #[error("the peer left out a header on chunk stream {csid} that it never sent")]
    NoPreviousHeader {
        /// The chunk stream.
        csid: u32,
    },
    /// A new message begins where one is not complete.
    #[error("the peer began a message on chunk stream {csid} before the last one was complete")]
    UnfinishedMessage {
        /// The chunk stream.
        csid: u32,
    },
    /// Unread input and unfinished messages together are too much.
    #[error("the peer has more than {bytes_max} bytes under way in unfinished messages")]
    TooMuchBuffered {
        /// How much is held for a peer.
        bytes_max: usize,
    },
}

/// Puts messages together from the bytes of one direction of one connection, as they arrive.
#[derive(Debug)]
pub struct ChunkReader {
    limits: ChunkLimits,
    /// Payload bytes in a full chunk, as the peer last set.
    chunk_bytes: usize,
    /// Not understood yet. Once all messages are taken this is less than one chunk header.
    input: BytesMut,
    streams: Vec<ChunkStream>,
    current: Option<CurrentChunk>,
    /// Payload in unfinished messages.
    partial_bytes: usize,
    failed: Option<ChunkError>,
}

#[derive(Debug)]
struct ChunkStream {
    csid: u32,
    header: Header,
    payload: Vec<u8>,
    /// Whether `payload` belongs to a message that has begun and not ended.
    unfinished: bool,
}

/// The chunk whose payload is being read.
#[derive(Clone, Copy, Debug)]
struct CurrentChunk {
    stream_index: usize,
    bytes_left: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Header {
    timestamp_ms: u32,
    /// The timestamp field as sent: absolute in type 0, else the distance to the last message.
    timestamp_field: u32,
    extended: bool,
    len: usize,
    type_id: u8,
    stream_id: u32,
}

impl ChunkReader {
    /// A reader within other limits than the default ones.
    pub fn new(limits: ChunkLimits) -> Self {
        Self {
            limits,
            chunk_bytes: CHUNK_BYTES_DEFAULT,
            input: BytesMut::new(),
            streams: Vec::new(),
            current: None,
            partial_bytes: 0,
            failed: None,
        }
    }

    /// Adds bytes from the peer. Take the messages before the next push.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        if self.buffered_bytes().saturating_add(bytes.len()) > self.limits.buffered_bytes_max {
            self.fail(ChunkError::TooMuchBuffered {
                bytes_max: self.limits.buffered_bytes_max,
            });
        } else {
            self.input.extend_from_slice(bytes);
        }
    }

    /// The next whole message, or `None` until more bytes come.
    ///
    /// # Errors
    /// When the peer broke the protocol or a limit; every later call answers the same.
    pub fn next_message(&mut self) -> Result<Option<Message>, ChunkError> {
        match self.failed {
            Some(error) => Err(error),
            None => self.advance().inspect_err(|error| self.fail(*error)),
        }
    }

    /// Bytes held: unread input and unfinished messages.
    pub fn buffered_bytes(&self) -> usize {
        self.input.len() + self.partial_bytes
    }

    /// Bytes allocated for what is held.
    pub fn allocated_bytes(&self) -> usize {
        self.input.capacity()
            + self
                .streams
                .iter()
                .map(|s| s.payload.capacity())
                .sum::<usize>()
    }

    fn fail(&mut self, error: ChunkError) {
        self.failed = Some(error);
        self.input = BytesMut::new();
        self.streams = Vec::new();
        self.current = None;
        self.partial_bytes = 0;
    }

    fn advance(&mut self) -> Result<Option<Message>, ChunkError> {
        loop {
            if self.current.is_none() && !self.read_header()? {
                return Ok(None);
            }
            match self.read_payload() {
                Some(message) => {
                    if let Some(message) = self.apply(message)? {
                        return Ok(Some(message));
                    }
                }
                None if self.current.is_some() => return Ok(None),
                None => {}
            }
        }
    }

    /// Reads a chunk's header; false when it is not there in full.
    fn read_header(&mut self) -> Result<bool, ChunkError> {
        let mut cursor = Cursor::new(&self.input);
        let Some((format, csid)) = basic_header(&mut cursor) else {
            return Ok(false);
        };
        let known = self.streams.iter().position(|stream| stream.csid == csid);
        let previous = known.and_then(|index| self.streams.get(index));
        if format != 3 && previous.is_some_and(|stream| stream.unfinished) {
            return Err(ChunkError::UnfinishedMessage { csid });
        }
        let Some(header) = message_header(format, csid, previous, &mut cursor)? else {
            return Ok(false);
        };
        let header_len = self.input.len() - cursor.remaining();
        self.check_len(&header)?;
        let stream_index = self.stream_index(known, csid)?;
        self.input.advance(header_len);
        let chunk_bytes = self.chunk_bytes;
        if let Some(stream) = self.streams.get_mut(stream_index) {
            stream.header = header;
            stream.unfinished = true;
            let bytes_left = chunk_bytes.min(header.len - stream.payload.len());
            self.current = Some(CurrentChunk {
                stream_index,
                bytes_left,
            });
        }
        Ok(true)
    }

    fn check_len(&self, header: &Header) -> Result<(), ChunkError> {
        let bytes_max = match header.type_id {
            type_id::AUDIO | type_id::VIDEO | type_id::AGGREGATE => {
                self.limits.media_message_bytes_max
            }
            _ => self.limits.command_message_bytes_max,
        };
        if header.len > bytes_max {
            let (type_id, bytes) = (header.type_id, header.len);
            return Err(ChunkError::MessageTooLong {
                type_id,
                bytes,
                bytes_max,
            });
        }
        Ok(())
    }

    fn stream_index(&mut self, known: Option<usize>, csid: u32) -> Result<usize, ChunkError> {
        if let Some(index) = known {
            return Ok(index);
        }
        let chunk_streams_max = self.limits.chunk_streams_max;
        if self.streams.len() >= chunk_streams_max {
            return Err(ChunkError::TooManyChunkStreams { chunk_streams_max });
        }
        self.streams.push(ChunkStream {
            csid,
            header: Header::default(),
            payload: Vec::new(),
            unfinished: false,
        });
        Ok(self.streams.len() - 1)
    }

    /// Moves what has arrived of the current chunk into its message, and hands out the message
    /// when that completes it. `current` stays set while the chunk misses bytes.
    fn read_payload(&mut self) -> Option<Message> {
        let CurrentChunk {
            stream_index,
            bytes_left,
        } = self.current?;
        let stream = self.streams.get_mut(stream_index)?;
        let arrived = bytes_left.min(self.input.len());
        grow(&mut stream.payload, arrived, stream.header.len);
        stream.payload.extend_from_slice(self.input.get(..arrived)?);
        self.input.advance(arrived);
        self.partial_bytes += arrived;
        if arrived < bytes_left {
            self.current = Some(CurrentChunk {
                stream_index,
                bytes_left: bytes_left - arrived,
            });
            return None;
        }
        self.current = None;
        if stream.payload.len() < stream.header.len {
            return None;
        }
        stream.unfinished = false;
        self.partial_bytes -= stream.payload.len();
        Some(Message {
            csid: stream.csid,
            timestamp_ms: stream.header.timestamp_ms,
            type_id: stream.header.type_id,
            stream_id: stream.header.stream_id,
            payload: Bytes::from(std::mem::take(&mut stream.payload)),
        })
    }

    /// Obeys the messages that are about chunks; hands on all others.
    fn apply(&mut self, message: Message) -> Result<Option<Message>, ChunkError> {
        match message.type_id {
            type_id::SET_CHUNK_SIZE => {
                let bytes = Cursor::new(&message.payload).u32().unwrap_or(0);
                if !(1..=0x7FFF_FFFF).contains(&bytes) {
                    return Err(ChunkError::ChunkSize { bytes });
                }
                // "Messages are not larger than 16777215 bytes, so all sizes from there on are
                // equivalent" (5.4.1).
                self.chunk_bytes = (bytes as usize).min(MESSAGE_BYTES_ON_WIRE_MAX);
                Ok(None)
            }
            type_id::ABORT => {
                let csid = Cursor::new(&message.payload).u32();
                if let Some(stream) = self.streams.iter_mut().find(|s| Some(s.csid) == csid) {
                    self.partial_bytes -= stream.payload.len();
                    stream.payload = Vec::new();
                    stream.unfinished = false;
                }
                Ok(None)
            }
            _ => Ok(Some(message)),
        }
    }
}

impl Default for ChunkReader {
    fn default() -> Self {
        Self::new(ChunkLimits::default())
    }
}

/// Makes room for `arrived` bytes: at most twice what has come, never above what was announced.
fn grow(payload: &mut Vec<u8>, arrived: usize, announced: usize) {
    if payload.capacity() - payload.len() < arrived {
        let doubled = payload.len().min(announced.saturating_sub(payload.len()));
        payload.reserve_exact(arrived.max(doubled));
    }
}

/// Format and chunk stream (5.3.1.1); `None` when bytes are missing.
fn basic_header(cursor: &mut Cursor<'_>) -> Option<(u8, u32)> {
    let first = cursor.u8()?;
    let csid = match first & 0x3F {
        0 => 64 + u32::from(cursor.u8()?),
        1 => {
            let (low, high) = (cursor.u8()?, cursor.u8()?);
            64 + u32::from(low) + 256 * u32::from(high)
        }
        csid => u32::from(csid),
    };
    Some((first >> 6, csid))
}

/// The header in force for this chunk (5.3.1.2); `Ok(None)` when bytes are missing.
fn message_header(
    format: u8,
    csid: u32,
    previous: Option<&ChunkStream>,
    cursor: &mut Cursor<'_>,
) -> Result<Option<Header>, ChunkError> {
    let base = match previous {
        Some(stream) => stream.header,
        // Some clients begin a chunk stream with type 1, as if after a message at time 0.
        None if format <= 1 => Header::default(),
        None => return Err(ChunkError::NoPreviousHeader { csid }),
    };
    if format == 3 {
        let unfinished = previous.is_some_and(|stream| stream.unfinished);
        return Ok(repeated_header(base, unfinished, cursor));
    }
    Ok(new_header(format, base, cursor))
}

fn new_header(format: u8, base: Header, cursor: &mut Cursor<'_>) -> Option<Header> {
    let mut header = base;
    header.timestamp_field = cursor.u24()?;
    if format <= 1 {
        header.len = cursor.u24()? as usize;
        header.type_id = cursor.u8()?;
    }
    if format == 0 {
        header.stream_id = cursor.u32_le()?;
    }
    header.extended = header.timestamp_field == EXTENDED_TIMESTAMP;
    if header.extended {
        header.timestamp_field = cursor.u32()?;
    }
    header.timestamp_ms = match format {
        0 => header.timestamp_field,
        _ => base.timestamp_ms.wrapping_add(header.timestamp_field),
    };
    Some(header)
}

/// A type 3 header: more of the unfinished message, or a new one like the last.
fn repeated_header(base: Header, unfinished: bool, cursor: &mut Cursor<'_>) -> Option<Header> {
    if base.extended {
        // 5.3.1.3 has the extended timestamp repeated here, and old clients leave it out. Whoever
        // repeats it sends the field or the absolute time; anything else is payload already.
        let mut ahead = *cursor;
        let repeated = ahead.u32()?;
        if repeated == base.timestamp_field || repeated == base.timestamp_ms {
            *cursor = ahead;
        }
    }
    if unfinished {
        return Some(base);
    }
    let timestamp_ms = base.timestamp_ms.wrapping_add(base.timestamp_field);
    Some(Header {
        timestamp_ms,
        ..base
    })
}
