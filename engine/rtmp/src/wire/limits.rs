//! Every limit of the RTMP rooms, each with its reason.

/// Longest audio, video or aggregate message taken from a peer, in bytes. A keyframe of 4K at
/// 50 Mbit/s is about 1 MiB; four times that is never a frame.
pub const MEDIA_MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Longest control, command or data message taken from a peer, in bytes. Commands are a few
/// hundred bytes; metadata with many keys a few thousand.
pub const COMMAND_MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Chunk streams one peer may open. Software in the field uses at most eight; the specification
/// allows 65 597, each of which costs memory.
pub const CHUNK_STREAMS_MAX: usize = 64;

/// Bytes held for one peer: unread input and unfinished messages. Two of the longest messages, so
/// that a long audio and a long video message may interleave.
pub const BUFFERED_BYTES_MAX: usize = 2 * MEDIA_MESSAGE_BYTES_MAX;

/// Longest message that the 24 bits of the length field can announce, in bytes.
pub const MESSAGE_BYTES_ON_WIRE_MAX: usize = 0xFF_FFFF;

/// Chunk size that both sides assume until told otherwise, in bytes (RTMP specification 5.4.1).
pub const CHUNK_BYTES_DEFAULT: usize = 128;

/// Chunk size that we announce, in bytes. Most frames then fit one chunk, and it stays below
/// 65 536, the largest that every server we know takes.
pub const CHUNK_BYTES_SENT: u32 = 60_000;

/// How many bytes the peer may send before it hears an acknowledgement. The customary value.
pub const WINDOW_ACK_BYTES: u32 = 2_500_000;

/// Deepest nesting of AMF0 values. Metadata nests two deep, enhanced RTMP three; each level is a
/// stack frame.
pub const AMF_DEPTH_MAX: usize = 16;

/// AMF0 values in one message, counting every element. Far above any metadata seen; each costs
/// about 50 bytes where the wire needs one.
pub const AMF_VALUES_MAX: usize = 2_048;

/// Longest text of a server that is repeated in an error, in characters.
pub const SERVER_TEXT_CHARS_MAX: usize = 200;

/// Text of a server that is searched for what must not be repeated, in characters: an address of
/// the largest size four times. A hostile server may send 64 KB, and an address holds hundreds of
/// values to search it for.
pub(crate) const SERVER_TEXT_CHARS_SEARCHED: usize = 8_192;

/// Longest refusal that is read as a question for user and password, in bytes. Salt, challenge and
/// opaque are some twenty characters each; FFmpeg reads 300.
pub(crate) const LOGIN_TEXT_BYTES_MAX: usize = 1_024;

/// Messages within an aggregate. Encoders that use them gather a second or two, of some hundred messages; empty
/// ones would take 15 bytes each.
pub(crate) const AGGREGATE_PARTS_MAX: usize = 1_024;

/// Message streams one client may create on one connection; publishers need one.
pub const MESSAGE_STREAMS_MAX: u32 = 8;
