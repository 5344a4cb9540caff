//! What one client may send, and the large messages of Ant Media's SDK: a header of two little-endian `i32`, token
//! and total length, then chunks that begin with the token.

use std::{collections::VecDeque, time::Instant};

use crate::{
    bucket::Bucket,
    limits::{DATA_LARGE_AT_ONCE_MAX, DATA_OF_PUBLISHER, DATA_OF_VIEWER},
};

/// What a message is by the format of the SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    /// A large message of so many bytes begins.
    Head {
        token: i32,
        bytes: u32,
    },
    /// More of the large message with this number; `None`: of one that was refused.
    Chunk(Option<u64>),
}

/// A large message under way.
#[derive(Debug)]
struct Large {
    token: i32,
    bytes_left: u32,
    head: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Sender {
    messages: Bucket,
    /// At most [`DATA_LARGE_AT_ONCE_MAX`]; the oldest gives way.
    large: VecDeque<Large>,
}

impl Sender {
    pub(super) fn new(is_publisher: bool) -> Self {
        let rate = match is_publisher {
            true => DATA_OF_PUBLISHER,
            false => DATA_OF_VIEWER,
        };
        Self {
            messages: Bucket::new(rate),
            large: VecDeque::new(),
        }
    }

    /// Whether one message more may begin now.
    pub(super) fn may_send(&mut self, now: Instant) -> bool {
        self.messages.take(now, 1)
    }

    pub(super) fn part(&mut self, binary: bool, payload: &[u8]) -> Part {
        let Some((token, rest)) = number(payload).filter(|_| binary) else {
            return Part::Whole;
        };
        if let Some(large) = self.large.iter_mut().find(|large| large.token == token) {
            let bytes = u32::try_from(rest.len()).unwrap_or(u32::MAX);
            large.bytes_left = large.bytes_left.saturating_sub(bytes);
            let head = large.head;
            self.large.retain(|large| large.bytes_left > 0);
            return Part::Chunk(head);
        }
        match number(rest) {
            Some((bytes, [])) if bytes > 0 => Part::Head {
                token,
                bytes: bytes.unsigned_abs(),
            },
            _ => Part::Whole,
        }
    }

    /// A large message has begun; `head` is its number, or `None` when it was refused.
    pub(super) fn begin(&mut self, token: i32, bytes: u32, head: Option<u64>) {
        if self.large.len() >= DATA_LARGE_AT_ONCE_MAX {
            self.large.pop_front();
        }
        self.large.push_back(Large {
            token,
            bytes_left: bytes,
            head,
        });
    }
}

fn number(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((i32::from_le_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(token: i32, bytes: i32) -> Vec<u8> {
        [token.to_le_bytes(), bytes.to_le_bytes()].concat()
    }

    fn chunk(token: i32, bytes: usize) -> Vec<u8> {
        [token.to_le_bytes().as_slice(), &vec![7; bytes]].concat()
    }

    #[test]
    fn a_large_message_is_its_header_and_chunks_until_all_bytes_have_come() {
        let mut sender = Sender::new(false);
        let (token, bytes) = (9, 20_000);
        let began = Part::Head { token, bytes };
        assert_eq!(sender.part(true, &head(9, 20_000)), began);
        sender.begin(9, 20_000, Some(5));
        assert_eq!(sender.part(true, &chunk(9, 16_000)), Part::Chunk(Some(5)));
        assert_eq!(sender.part(false, b"a text between"), Part::Whole);
        assert_eq!(sender.part(true, &chunk(9, 4_000)), Part::Chunk(Some(5)));
        // A chunk of four bytes looks like a header, and is one now.
        assert!(matches!(sender.part(true, &chunk(9, 4)), Part::Head { .. }));
    }

    #[test]
    fn the_chunks_of_a_refused_message_are_known_as_such() {
        let mut sender = Sender::new(false);
        sender.begin(9, 20_000, None);
        assert_eq!(sender.part(true, &chunk(9, 4)), Part::Chunk(None));
    }

    #[test]
    fn other_binary_messages_and_nonsense_are_whole() {
        let mut sender = Sender::new(true);
        for payload in [
            vec![],
            vec![1; 3],
            vec![1; 7],
            vec![1; 9],
            head(1, 0),
            head(1, -5),
        ] {
            assert_eq!(sender.part(true, &payload), Part::Whole, "{payload:?}");
        }
    }

    #[test]
    fn large_messages_under_way_are_bounded() {
        let mut sender = Sender::new(true);
        for token in 0..100 {
            sender.begin(token, 20_000, Some(1));
        }
        assert_eq!(sender.large.len(), DATA_LARGE_AT_ONCE_MAX);
        assert_eq!(sender.part(true, &chunk(99, 9)), Part::Chunk(Some(1)));
    }
}
