//! Aggregate messages: several audio and video messages in one (RTMP specification 7.1.6).

use super::cursor::Cursor;
use super::limits::AGGREGATE_PARTS_MAX as PARTS_MAX;
use super::message::{Message, type_id};

/// The messages within, with their own times. Aggregates within are left out, and so is what is cut off.
pub(crate) fn messages(aggregate: &Message) -> impl Iterator<Item = Message> {
    let mut at = 0;
    let mut first_ms = None;
    std::iter::from_fn(move || {
        let mut cursor = Cursor::new(aggregate.payload.get(at..)?);
        let type_id = cursor.u8()?;
        let length = usize::try_from(cursor.u24()?).ok()?;
        let low = cursor.u24()?;
        let timestamp_ms = u32::from(cursor.u8()?) << 24 | low;
        let _stream_id = cursor.u24()?;
        let from = aggregate.payload.len() - cursor.remaining();
        cursor.take(length)?;
        // Behind each message stands how long it was.
        at = from + length + 4;
        // The time of the aggregate is that of the first message, and the others keep their distance to it.
        let first_ms = *first_ms.get_or_insert(timestamp_ms);
        let since_ms = timestamp_ms.wrapping_sub(first_ms);
        Some(Message {
            csid: aggregate.csid,
            timestamp_ms: aggregate.timestamp_ms.wrapping_add(since_ms),
            type_id,
            stream_id: aggregate.stream_id,
            payload: aggregate.payload.slice(from..from + length),
        })
    })
    .take(PARTS_MAX)
    .filter(|message| message.type_id != type_id::AGGREGATE)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn of(payload: Vec<u8>) -> Message {
        Message {
            csid: 4,
            timestamp_ms: 1_000,
            type_id: type_id::AGGREGATE,
            stream_id: 1,
            payload: Bytes::from(payload),
        }
    }

    fn part(type_id: u8, timestamp_ms: u32, body: &[u8]) -> Vec<u8> {
        let [high, time @ ..] = timestamp_ms.to_be_bytes();
        let [_, length @ ..] = u32::try_from(body.len()).unwrap().to_be_bytes();
        let head = [&[type_id][..], &length, &time, &[high, 0, 0, 0]].concat();
        let back = u32::try_from(head.len() + body.len()).unwrap();
        [&head[..], body, &back.to_be_bytes()].concat()
    }

    #[test]
    fn messages_within_keep_their_distance_and_what_is_cut_off_ends_it() {
        let parts = [
            part(type_id::VIDEO, 77_000_000, b"one"),
            part(type_id::AGGREGATE, 77_000_001, b"within"),
            part(type_id::AUDIO, 77_000_023, b"three"),
        ]
        .concat();
        let whole: Vec<_> = messages(&of(parts.clone()))
            .map(|m| (m.type_id, m.timestamp_ms, m.payload))
            .collect();
        let expected = [
            (type_id::VIDEO, 1_000, Bytes::from_static(b"one")),
            (type_id::AUDIO, 1_023, Bytes::from_static(b"three")),
        ];
        assert_eq!(whole, expected);
        for end in 0..parts.len() - 4 {
            assert!(messages(&of(parts[..end].to_vec())).count() < 2);
        }
    }
}
