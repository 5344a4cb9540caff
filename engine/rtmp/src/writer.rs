//! Media messages of one stream on one connection, whichever end sends them.

use bytes::Bytes;

use super::body::{MessageHeader, gather_behind};
use super::message::MediaKind;

/// What a media message needs to know of its connection.
#[derive(Clone, Copy, Debug)]
pub struct MediaWriter {
    pub(crate) stream_id: u32,
    pub(crate) chunk_bytes: usize,
}

impl MediaWriter {
    /// A message in slices for a gathering write; see [`gather_behind`] for what is shared. Times are the
    /// receiver's own: milliseconds from its first message, wrapping at 2^32.
    pub fn media(&self, kind: MediaKind, timestamp_ms: u32, payload: &Bytes) -> Vec<Bytes> {
        self.media_behind(kind, timestamp_ms, &[], payload)
    }

    /// The same for a message that begins with `head`: the header of an FLV tag before a payload that is
    /// shared.
    pub fn media_behind(
        &self,
        kind: MediaKind,
        timestamp_ms: u32,
        head: &[u8],
        payload: &Bytes,
    ) -> Vec<Bytes> {
        let header = MessageHeader {
            csid: kind.csid(),
            timestamp_ms,
            type_id: kind.type_id(),
            stream_id: self.stream_id,
        };
        gather_behind(header, head, payload, self.chunk_bytes)
    }
}
