//! Proves: messages cut into chunks are read back whole by our reader and by rml_rtmp's, and the
//! payload is shared, never copied.

use bytes::Bytes;
use proptest::prelude::*;
use rml_rtmp::chunk_io::ChunkDeserializer;
use shardcast_core::rtmp::ChunkReader;
use shardcast_core::rtmp::body::{MessageHeader, encode, gather, gather_behind};
use shardcast_core::rtmp::limits::MESSAGE_BYTES_ON_WIRE_MAX;

const VIDEO: MessageHeader = MessageHeader {
    csid: 6,
    timestamp_ms: 1_000,
    type_id: 9,
    stream_id: 1,
};

#[test]
fn a_frame_in_one_chunk_is_a_header_and_the_shared_payload() {
    let payload = Bytes::from(vec![7; 5_000]);
    let slices = gather(VIDEO, &payload, 60_000);
    assert_eq!(slices.len(), 2);
    assert_eq!(slices[0][..], [6, 0, 3, 0xE8, 0, 0x13, 0x88, 9, 1, 0, 0, 0]);
    assert_eq!(slices[1].as_ptr(), payload.as_ptr());
}

#[test]
fn every_piece_of_a_long_frame_lies_in_the_payload() {
    let payload = Bytes::from(vec![7; 150_000]);
    for timestamp_ms in [0, 0xFF_FFFE, 0xFF_FFFF, u32::MAX] {
        let slices = gather(
            MessageHeader {
                timestamp_ms,
                ..VIDEO
            },
            &payload,
            60_000,
        );
        assert_eq!(slices.len(), 6);
        for (chunk, slice) in slices.iter().skip(1).step_by(2).enumerate() {
            assert_eq!(
                slice.as_ptr() as usize,
                payload.as_ptr() as usize + chunk * 60_000
            );
        }
        assert_eq!(
            slices[2].as_ptr(),
            slices[4].as_ptr(),
            "type 3 headers are one allocation"
        );
        let header_lens = if timestamp_ms < 0xFF_FFFF {
            (12, 1)
        } else {
            (16, 5)
        };
        assert_eq!((slices[0].len(), slices[2].len()), header_lens);
    }
}

#[test]
fn an_empty_message_is_only_a_header() {
    assert_eq!(gather(VIDEO, &Bytes::new(), 128).concat().len(), 12);
    assert_eq!(encode(VIDEO, &[], 128).len(), 12);
}

#[test]
fn what_no_header_can_announce_is_not_sent() {
    let payload = Bytes::from(vec![0; MESSAGE_BYTES_ON_WIRE_MAX + 1]);
    assert!(gather(VIDEO, &payload, 60_000).is_empty());
    assert!(encode(VIDEO, &payload, 60_000).is_empty());
}

proptest! {
    #[test]
    fn both_readers_put_it_together_again(
        len in 1_usize..70_000,
        chunk_bytes in prop::sample::select(vec![1_usize, 127, 128, 129, 4_096, 60_000, 65_536]),
        timestamp_ms in prop_oneof![
            0..1_000_u32,
            0xFF_FFF0..0x100_0010_u32,
            0xFFFF_FFF0..=u32::MAX,
        ],
        type_id in prop::sample::select(vec![8_u8, 9]),
    ) {
        let header = MessageHeader { csid: 4, timestamp_ms, type_id, stream_id: 1 };
        let payload: Bytes = (0..len).map(|at| (at * 31 % 251) as u8).collect();
        let wire = gather(header, &payload, chunk_bytes).concat();
        prop_assert_eq!(&wire[..], &encode(header, &payload, chunk_bytes)[..]);
        let (head, shared) = (payload.slice(..len.min(5)), payload.slice(len.min(5)..));
        let behind = gather_behind(header, &head, &shared, chunk_bytes).concat();
        prop_assert_eq!(&behind, &wire);

        let mut ours = ChunkReader::default();
        ours.push(&set_chunk_size(chunk_bytes));
        ours.push(&wire);
        let message = ours.next_message().unwrap().unwrap();
        prop_assert_eq!(message.payload, payload.clone());
        prop_assert_eq!((message.timestamp_ms, message.type_id), (timestamp_ms, type_id));
        prop_assert_eq!((message.csid, message.stream_id), (4, 1));

        let mut theirs = ChunkDeserializer::new();
        theirs.set_max_chunk_size(chunk_bytes).unwrap();
        let message = theirs.get_next_message(&wire).unwrap().unwrap();
        prop_assert_eq!(message.data, payload);
        prop_assert_eq!(message.timestamp.value, timestamp_ms);
    }
}

fn set_chunk_size(bytes: usize) -> Bytes {
    let header = MessageHeader {
        csid: 2,
        timestamp_ms: 0,
        type_id: 1,
        stream_id: 0,
    };
    encode(header, &(bytes as u32).to_be_bytes(), 128)
}
