//! Proves: messages come out whole however their chunks interleave and wherever the bytes are cut,
//! every header form is understood, and a hostile peer gets an error within the limits.

use bytes::Bytes;
use proptest::prelude::*;
use rml_rtmp::chunk_io::ChunkSerializer;
use rml_rtmp::messages::MessagePayload;
use rml_rtmp::time::RtmpTimestamp;
use shardcast_core::rtmp::body::{MessageHeader, encode, gather};
use shardcast_core::rtmp::chunk::ChunkLimits;
use shardcast_core::rtmp::{ChunkError, ChunkReader, Message};

#[test]
fn audio_between_the_chunks_of_a_frame_is_read() {
    let video = chunks(6, 9, 40, &[7; 300], 128);
    let audio = chunks(4, 8, 41, &[8; 200], 128);
    let wire = [&video[0], &audio[0], &video[1], &audio[1], &video[2]]
        .map(|c| &c[..])
        .concat();
    let messages = read_all(&mut ChunkReader::default(), &wire).unwrap();
    let seen: Vec<_> = messages
        .iter()
        .map(|m| (m.type_id, m.timestamp_ms, m.payload.len()))
        .collect();
    assert_eq!(seen, [(8, 41, 200), (9, 40, 300)]);
}

#[test]
fn shorter_headers_lean_on_the_last_message() {
    let mut wire = vec![4, 0, 0, 100, 0, 0, 1, 8, 1, 0, 0, 0, 0xA0]; // type 0: 100 ms
    wire.extend([0x44, 0, 0, 20, 0, 0, 2, 9, 0xB0, 0xB1]); // type 1: +20 ms, two bytes, video
    wire.extend([0x84, 0, 0, 30, 0xC0, 0xC1]); // type 2: +30 ms
    wire.extend([0xC4, 0xD0, 0xD1]); // type 3: +30 ms again
    let messages = read_all(&mut ChunkReader::default(), &wire).unwrap();
    let seen: Vec<_> = messages
        .iter()
        .map(|m| (m.timestamp_ms, m.type_id, &m.payload[..]))
        .collect();
    assert_eq!(
        seen,
        [
            (100, 8, &[0xA0][..]),
            (120, 9, &[0xB0, 0xB1]),
            (150, 9, &[0xC0, 0xC1]),
            (180, 9, &[0xD0, 0xD1])
        ]
    );
    assert!(messages.iter().all(|m| m.stream_id == 1 && m.csid == 4));
}

#[test]
fn extended_timestamps_may_be_repeated_or_left_out_on_type_3() {
    let payload: Vec<u8> = (0..200).collect();
    let first = [
        &[4, 0xFF, 0xFF, 0xFF, 0, 0, 200, 8, 1, 0, 0, 0, 1, 2, 3, 4][..],
        &payload[..128],
    ];
    let repeated = [&[0xC4, 1, 2, 3, 4][..], &payload[128..]];
    let left_out = [&[0xC4][..], &payload[128..]];
    for rest in [repeated, left_out] {
        let wire = [first.concat(), rest.concat()].concat();
        let messages = read_all(&mut ChunkReader::default(), &wire).unwrap();
        assert_eq!(messages[0].timestamp_ms, 0x0102_0304);
        assert_eq!(messages[0].payload, payload);
    }
}

#[test]
fn chunk_streams_beyond_63_are_read() {
    for (basic, csid) in [
        (&[0, 0][..], 64),
        (&[0, 255], 319),
        (&[1, 0, 1], 320),
        (&[1, 255, 255], 65_599),
    ] {
        let wire = [basic, &[0, 0, 1, 0, 0, 1, 8, 0, 0, 0, 0, 0xEE]].concat();
        let messages = read_all(&mut ChunkReader::default(), &wire).unwrap();
        assert_eq!(
            (messages[0].csid, &messages[0].payload[..]),
            (csid, &[0xEE][..])
        );
    }
}

#[test]
fn an_aborted_message_is_forgotten() {
    let video = chunks(6, 9, 40, &[7; 300], 128);
    let abort = one(2, 2, &6_u32.to_be_bytes());
    let again = one(6, 9, &[9; 100]);
    let mut reader = ChunkReader::default();
    let messages = read_all(&mut reader, &[&video[0][..], &abort, &again].concat()).unwrap();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].payload[..], [9; 100]);
    assert_eq!(reader.buffered_bytes(), 0);
}

#[test]
fn an_empty_message_is_a_message() {
    let messages = read_all(&mut ChunkReader::default(), &one(4, 8, &[])).unwrap();
    assert!(messages[0].payload.is_empty());
}

#[test]
fn an_announced_length_allocates_nothing() {
    let mut reader = ChunkReader::default();
    reader.push(&[6, 0, 0, 0, 0x3F, 0xFF, 0xFF, 9, 1, 0, 0, 0, 1, 2, 3]);
    assert_eq!(reader.next_message(), Ok(None));
    assert!(
        reader.allocated_bytes() < 1_024,
        "{} bytes",
        reader.allocated_bytes()
    );
}

#[test]
fn each_limit_has_its_error() {
    let set_size = |bytes: u32| one(2, 1, &bytes.to_be_bytes()).to_vec();
    let fresh: Vec<u8> = (0..65)
        .flat_map(|id| [0, id, 0, 0, 0, 0, 0, 1, 8, 0, 0, 0, 0, 7])
        .collect();
    let video = chunks(6, 9, 0, &[0; 200], 128);
    for (wire, error) in [
        (set_size(0), ChunkError::ChunkSize { bytes: 0 }),
        (set_size(1 << 31), ChunkError::ChunkSize { bytes: 1 << 31 }),
        (
            vec![3, 0, 0, 0, 1, 0, 1, 20, 0, 0, 0, 0],
            ChunkError::MessageTooLong {
                type_id: 20,
                bytes: 65_537,
                bytes_max: 65_536,
            },
        ),
        (
            vec![6, 0, 0, 0, 0xFF, 0xFF, 0xFF, 9, 0, 0, 0, 0],
            ChunkError::MessageTooLong {
                type_id: 9,
                bytes: 16_777_215,
                bytes_max: 4 << 20,
            },
        ),
        (
            fresh,
            ChunkError::TooManyChunkStreams {
                chunk_streams_max: 64,
            },
        ),
        (vec![0xC5, 0], ChunkError::NoPreviousHeader { csid: 5 }),
        (
            vec![0x85, 0, 0, 0],
            ChunkError::NoPreviousHeader { csid: 5 },
        ),
        (
            [&video[0][..], &video[0]].concat(),
            ChunkError::UnfinishedMessage { csid: 6 },
        ),
    ] {
        let mut reader = ChunkReader::default();
        assert_eq!(read_all(&mut reader, &wire), Err(error));
        assert_eq!(reader.next_message(), Err(error), "an error stays");
        reader.push(&one(4, 8, &[1]));
        assert_eq!(
            (reader.next_message(), reader.buffered_bytes()),
            (Err(error), 0)
        );
    }
}

#[test]
fn unfinished_messages_together_stay_within_the_limit() {
    let limits = ChunkLimits {
        buffered_bytes_max: 10_000,
        ..ChunkLimits::default()
    };
    let mut reader = ChunkReader::new(limits);
    let error = ChunkError::TooMuchBuffered { bytes_max: 10_000 };
    let result: Result<(), ChunkError> = (4..60).try_for_each(|csid| {
        let first = &chunks(csid, 9, 0, &[0; 4_096], 128)[0];
        read_all(&mut reader, first).map(|messages| assert!(messages.is_empty()))?;
        assert!(reader.buffered_bytes() <= 10_000);
        Ok(())
    });
    assert_eq!(result, Ok(()), "56 first chunks of 128 bytes fit");
    reader.push(&[0xC4; 3_000]);
    assert_eq!(reader.next_message(), Err(error));
}

proptest! {
    #[test]
    fn interleaved_messages_come_out_whole_wherever_they_are_cut(
        messages in prop::collection::vec(
            (0_u8..5, prop::collection::vec(any::<u8>(), 0..700), any::<u32>()), 1..20),
        chunk_bytes in prop::sample::select(vec![1_usize, 100, 128, 300, 4_096]),
        order in prop::collection::vec(any::<prop::sample::Index>(), 1..200),
        cuts in prop::collection::vec(1_usize..300, 1..50),
    ) {
        // One queue of chunks for each chunk stream, drained in the order drawn.
        let mut queues: Vec<Vec<Bytes>> = vec![Vec::new(); 5];
        let mut wanted: Vec<Vec<(u32, Vec<u8>)>> = vec![Vec::new(); 5];
        for (stream, payload, timestamp) in messages {
            let at = usize::from(stream);
            queues[at].extend(chunks(stream + 4, 9, timestamp, &payload, chunk_bytes));
            wanted[at].push((timestamp, payload));
        }
        let mut wire = one(2, 1, &(chunk_bytes as u32).to_be_bytes()).to_vec();
        let mut order = order.iter().cycle();
        while queues.iter().any(|queue| !queue.is_empty()) {
            let full: Vec<_> = (0..5).filter(|at| !queues[*at].is_empty()).collect();
            let at = *order.next().unwrap().get(&full);
            wire.extend(queues[at].remove(0));
        }
        let mut reader = ChunkReader::default();
        let mut seen: Vec<Vec<(u32, Vec<u8>)>> = vec![Vec::new(); 5];
        let mut rest = &wire[..];
        for cut in cuts.iter().cycle() {
            let (now, later) = rest.split_at(rest.len().min(*cut));
            for message in read_all(&mut reader, now).unwrap() {
                seen[message.csid as usize - 4].push((message.timestamp_ms, message.payload.to_vec()));
            }
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(seen, wanted);
        prop_assert_eq!(reader.buffered_bytes(), 0);
    }

    #[test]
    fn what_rml_rtmp_writes_is_read(
        messages in prop::collection::vec(
            (prop::sample::select(vec![8_u8, 9]), 1_usize..3_000, 1_u32..70_000), 1..30),
        start in prop::sample::select(vec![0_u32, 0xFF_FF00, 0xFFFF_0000]),
        chunk_bytes in prop::sample::select(vec![128_u32, 4_096]),
    ) {
        let mut serializer = ChunkSerializer::new();
        let mut wire =
            serializer.set_max_chunk_size(chunk_bytes, RtmpTimestamp::new(0)).unwrap().bytes;
        let mut wanted = Vec::new();
        let mut timestamp = start;
        for (type_id, len, step_ms) in messages {
            // Odd lengths and steps: its type 3 after type 0 means another time than ours.
            timestamp = timestamp.wrapping_add(step_ms);
            let data: Bytes = (0..len).map(|at| at as u8).collect();
            let mut message = MessagePayload::new();
            message.timestamp = RtmpTimestamp::new(timestamp);
            message.type_id = type_id;
            message.message_stream_id = 1;
            message.data = data.clone();
            wire.extend(serializer.serialize(&message, false, false).unwrap().bytes);
            wanted.push((type_id, timestamp, data));
        }
        let seen: Vec<_> = read_all(&mut ChunkReader::default(), &wire)
            .unwrap()
            .into_iter()
            .map(|m| (m.type_id, m.timestamp_ms, m.payload))
            .collect();
        prop_assert_eq!(seen, wanted);
    }

    #[test]
    fn no_garbage_passes_the_limits(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0_u8..8], 0..2_000),
    ) {
        let mut reader = ChunkReader::default();
        for piece in bytes.chunks(97) {
            let result = read_all(&mut reader, piece);
            prop_assert!(reader.allocated_bytes() < 3 * bytes.len() + 4_096);
            if result.is_err() {
                break;
            }
        }
    }
}

fn read_all(reader: &mut ChunkReader, bytes: &[u8]) -> Result<Vec<Message>, ChunkError> {
    reader.push(bytes);
    let mut messages = Vec::new();
    while let Some(message) = reader.next_message()? {
        messages.push(message);
    }
    Ok(messages)
}

/// The chunks of one message, one slice each.
fn chunks(
    csid: u8,
    type_id: u8,
    timestamp_ms: u32,
    payload: &[u8],
    chunk_bytes: usize,
) -> Vec<Bytes> {
    let header = MessageHeader {
        csid,
        timestamp_ms,
        type_id,
        stream_id: 1,
    };
    let slices = gather(header, &Bytes::copy_from_slice(payload), chunk_bytes);
    slices
        .chunks(2)
        .map(|pair| Bytes::from(pair.concat()))
        .collect()
}

/// A message in one chunk of at most 128 bytes.
fn one(csid: u8, type_id: u8, payload: &[u8]) -> Bytes {
    encode(
        MessageHeader {
            csid,
            timestamp_ms: 0,
            type_id,
            stream_id: 0,
        },
        payload,
        128,
    )
}
