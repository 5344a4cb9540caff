//! Rewrites what the sink sends into forms that are valid but rare: messages interleaved chunk by
//! chunk, and acknowledgements that count from the last one.
//!
//! The input is the output of [`shardcast_core::rtmp::ServerSession`]: after the handshake each
//! piece is one whole message with a header of twelve bytes.

use bytes::{BufMut, Bytes};
use shardcast_core::rtmp::{
    amf,
    body::{MessageHeader, encode},
    limits::CHUNK_BYTES_DEFAULT,
    message::type_id,
};

/// S0, S1 and S2 (RTMP specification 5.2).
const HANDSHAKE_BYTES: usize = 1 + 2 * 1_536;
/// Type 0 without extended timestamp; a server's answers are at time 0.
const HEADER_BYTES: usize = 12;
/// A chunk stream that the session's answers do not use.
const OTHER_CSID: u8 = 6;
/// Characters in the other message: several chunks of every size at which interleaving matters.
const OTHER_CHARS: usize = 1_000;

#[derive(Debug)]
pub(super) struct Outbound {
    interleaves: bool,
    acknowledges_growth: bool,
    handshake_left: usize,
    chunk_bytes: usize,
    acknowledged: u32,
}

impl Outbound {
    pub(super) fn new(interleaves: bool, acknowledges_growth: bool) -> Self {
        Self {
            interleaves,
            acknowledges_growth,
            handshake_left: HANDSHAKE_BYTES,
            chunk_bytes: CHUNK_BYTES_DEFAULT,
            acknowledged: 0,
        }
    }

    /// The bytes to send for one piece of the session's output.
    pub(super) fn send(&mut self, piece: &Bytes) -> Bytes {
        if self.handshake_left > 0 {
            self.handshake_left = self.handshake_left.saturating_sub(piece.len());
            return piece.clone();
        }
        let kind = piece.get(7).copied().unwrap_or_default();
        let number = piece.get(HEADER_BYTES..).and_then(<[u8]>::first_chunk);
        let number = number.map(|bytes| u32::from_be_bytes(*bytes));
        match (kind, number) {
            (type_id::SET_CHUNK_SIZE, Some(bytes)) => {
                self.chunk_bytes = bytes.max(1) as usize;
                piece.clone()
            }
            (type_id::ACKNOWLEDGEMENT, Some(sum)) if self.acknowledges_growth => {
                let growth = sum.wrapping_sub(self.acknowledged);
                self.acknowledged = sum;
                let mut message = piece.to_vec();
                message.truncate(HEADER_BYTES);
                message.put_u32(growth);
                Bytes::from(message)
            }
            (type_id::COMMAND_AMF0, _) if self.interleaves => self.interleave(piece),
            _ => piece.clone(),
        }
    }

    /// Puts one chunk of another message before each chunk of this one.
    fn interleave(&self, piece: &[u8]) -> Bytes {
        let header = MessageHeader {
            csid: OTHER_CSID,
            timestamp_ms: 0,
            type_id: type_id::DATA_AMF0,
            stream_id: 0,
        };
        let payload = amf::encode(&["onTextData".into(), "x".repeat(OTHER_CHARS).into()]);
        let other = encode(header, &payload, self.chunk_bytes);
        let (mut ours, mut others) = (self.chunks(piece), self.chunks(&other));
        let mut mixed = Vec::with_capacity(piece.len() + other.len());
        loop {
            let pair = (others.next(), ours.next());
            if pair == (None, None) {
                return Bytes::from(mixed);
            }
            mixed.extend_from_slice(pair.0.unwrap_or_default());
            mixed.extend_from_slice(pair.1.unwrap_or_default());
        }
    }

    fn chunks<'a>(&self, message: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (first, rest) = message.split_at(message.len().min(HEADER_BYTES + self.chunk_bytes));
        std::iter::once(first).chain(rest.chunks(1 + self.chunk_bytes))
    }
}

#[cfg(test)]
mod tests {
    use shardcast_core::rtmp::ChunkReader;

    use super::*;

    fn after_handshake(interleaves: bool, acknowledges_growth: bool) -> Outbound {
        let mut outbound = Outbound::new(interleaves, acknowledges_growth);
        let handshake = Bytes::from(vec![3; HANDSHAKE_BYTES]);
        assert_eq!(outbound.send(&handshake), handshake);
        outbound
    }

    fn message(kind: u8, payload: &[u8], chunk_bytes: usize) -> Bytes {
        let header = MessageHeader {
            csid: 3,
            timestamp_ms: 0,
            type_id: kind,
            stream_id: 0,
        };
        encode(header, payload, chunk_bytes)
    }

    #[test]
    fn an_interleaved_message_is_whole_again_at_a_reader() {
        let answer: Vec<u8> = (0..500).map(|n| n as u8).collect();
        for chunk_bytes in [1_u32, 64, 128, 4_096] {
            let mut outbound = after_handshake(true, false);
            let mut reader = ChunkReader::default();
            let size = message(type_id::SET_CHUNK_SIZE, &chunk_bytes.to_be_bytes(), 128);
            reader.push(&outbound.send(&size));
            let piece = message(type_id::COMMAND_AMF0, &answer, chunk_bytes as usize);
            reader.push(&outbound.send(&piece));
            let mut kinds = Vec::new();
            while let Some(message) = reader.next_message().unwrap() {
                if message.type_id == type_id::COMMAND_AMF0 {
                    assert_eq!(message.payload, answer);
                }
                kinds.push(message.type_id);
            }
            kinds.sort_unstable();
            assert_eq!(
                kinds,
                [type_id::DATA_AMF0, type_id::COMMAND_AMF0],
                "{chunk_bytes}"
            );
        }
    }

    #[test]
    fn acknowledgements_tell_the_growth() {
        let mut outbound = after_handshake(false, true);
        for (sum, growth) in [(1_000_u32, 1_000_u32), (2_500, 1_500), (2_500, 0)] {
            let piece = message(type_id::ACKNOWLEDGEMENT, &sum.to_be_bytes(), 128);
            let sent = outbound.send(&piece);
            assert_eq!(sent.get(HEADER_BYTES..), Some(&growth.to_be_bytes()[..]));
        }
    }
}
