//! Messages to chunks without copying the payload.
//!
//! A message is one type 0 chunk and as many type 3 chunks as it takes (RTMP specification
//! 5.3.1.2). Type 0 carries the whole header, so a message leans on nothing sent before it: the
//! same payload goes to any number of destinations, and whole messages can be dropped anywhere.
//!
//! ```text
//!  own header │ payload[..chunk] │ type 3 │ payload[chunk..2·chunk] │ type 3 │ …
//!  12 or 16 B │ shared           │ 1 or 5 │ shared                  │        │
//! ```

use bytes::{BufMut, Bytes};

use super::limits::MESSAGE_BYTES_ON_WIRE_MAX;

/// From this timestamp on the 24 bits of the header do not hold it and four bytes follow, also
/// after each type 3 header (RTMP specification 5.3.1.3).
const EXTENDED_TIMESTAMP: u32 = 0xFF_FFFF;

/// Everything in front of a message's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageHeader {
    /// Chunk stream, `2..=63` (the one-byte form).
    pub csid: u8,
    /// Wraps at 2^32.
    pub timestamp_ms: u32,
    /// Message type (RTMP specification 7.1).
    pub type_id: u8,
    /// Message stream; 0 is the connection itself.
    pub stream_id: u32,
}

impl MessageHeader {
    fn is_extended(&self) -> bool {
        self.timestamp_ms >= EXTENDED_TIMESTAMP
    }

    fn first_len(&self) -> usize {
        if self.is_extended() { 16 } else { 12 }
    }

    fn next_len(&self) -> usize {
        if self.is_extended() { 5 } else { 1 }
    }

    fn put_first(&self, out: &mut Vec<u8>, payload_len: usize) {
        let timestamp = self.timestamp_ms.min(EXTENDED_TIMESTAMP);
        out.put_u8(self.csid.clamp(2, 63));
        out.put_uint(u64::from(timestamp), 3);
        out.put_uint(payload_len as u64, 3);
        out.put_u8(self.type_id);
        out.put_u32_le(self.stream_id);
        if self.is_extended() {
            out.put_u32(self.timestamp_ms);
        }
    }

    fn put_next(&self, out: &mut Vec<u8>) {
        out.put_u8(0xC0 | self.csid.clamp(2, 63));
        if self.is_extended() {
            out.put_u32(self.timestamp_ms);
        }
    }
}

/// The slices of a message for one gathering write. The payload is shared, never copied; all
/// headers together are one allocation of at most 21 bytes, since every type 3 header of a message
/// is the same.
///
/// `chunk_bytes` is what the peer was told by Set Chunk Size; 0 counts as 1. A payload longer than
/// [`MESSAGE_BYTES_ON_WIRE_MAX`] cannot be expressed and gives no slices.
pub fn gather(header: MessageHeader, payload: &Bytes, chunk_bytes: usize) -> Vec<Bytes> {
    gather_behind(header, &[], payload, chunk_bytes)
}

/// The same for a message that begins with `head`, which is copied behind the header of the first
/// chunk: what a container puts before a payload that is shared.
pub fn gather_behind(
    header: MessageHeader,
    head: &[u8],
    payload: &Bytes,
    chunk_bytes: usize,
) -> Vec<Bytes> {
    let message_len = head.len() + payload.len();
    if message_len > MESSAGE_BYTES_ON_WIRE_MAX {
        return Vec::new();
    }
    let chunk_bytes = chunk_bytes.max(1);
    if head.len() > chunk_bytes {
        // No server asks for such chunks; the payload may be copied for one that does.
        let message = Bytes::from([head, payload].concat());
        return gather_behind(header, &[], &message, chunk_bytes);
    }
    let chunks = message_len.div_ceil(chunk_bytes).max(1);
    let first_len = header.first_len() + head.len();
    let next_len = if chunks > 1 { header.next_len() } else { 0 };
    // Exactly what is put in: a vector with room to spare costs `Bytes` another allocation.
    let mut headers = Vec::with_capacity(first_len + next_len);
    header.put_first(&mut headers, message_len);
    headers.put_slice(head);
    if chunks > 1 {
        header.put_next(&mut headers);
    }
    let mut first = Bytes::from(headers);
    let next = first.split_off(first_len);
    let mut slices = Vec::with_capacity(2 * chunks);
    slices.push(first);
    let mut end = payload.len().min(chunk_bytes - head.len());
    if end > 0 {
        slices.push(payload.slice(..end));
    }
    while end < payload.len() {
        let start = end;
        end = payload.len().min(start + chunk_bytes);
        slices.push(next.clone());
        slices.push(payload.slice(start..end));
    }
    slices
}

/// The same bytes as [`gather`] in one piece, for messages too small to be worth sharing.
pub fn encode(header: MessageHeader, payload: &[u8], chunk_bytes: usize) -> Bytes {
    if payload.len() > MESSAGE_BYTES_ON_WIRE_MAX {
        return Bytes::new();
    }
    let chunk_bytes = chunk_bytes.max(1);
    let chunks = payload.len().div_ceil(chunk_bytes).max(1);
    let headers_len = header.first_len() + (chunks - 1) * header.next_len();
    let mut out = Vec::with_capacity(headers_len + payload.len());
    header.put_first(&mut out, payload.len());
    for (index, chunk) in payload.chunks(chunk_bytes).enumerate() {
        if index > 0 {
            header.put_next(&mut out);
        }
        out.extend_from_slice(chunk);
    }
    Bytes::from(out)
}
