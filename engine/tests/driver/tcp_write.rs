//! What is written arrives byte for byte and in order, however slowly it is read, and a slow
//! reader holds up nobody else.

use std::{
    io::Read,
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use bytes::Bytes;
use shardcast_core::io::{ConnId, Output};

use crate::rig::{PATIENCE, Rig, Seen};

const SLOW: ConnId = ConnId::numbered(1);
const QUICK: ConnId = ConnId::numbered(2);
const TOTAL: usize = 24 << 20;

fn connect(rig: &Rig, conn: ConnId) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rig.connect(conn, listener.local_addr().unwrap());
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn byte_at(at: usize) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16)) as u8
}

/// The whole of it in slices of many sizes, empty ones too.
fn slices() -> Vec<Bytes> {
    let body = Bytes::from((0..TOTAL).map(byte_at).collect::<Vec<_>>());
    let mut slices = Vec::new();
    let mut at = 0;
    while at < TOTAL {
        let size = [0, 12, 1, 60_000, 4_096, 7, 20_000][slices.len() % 7].min(TOTAL - at);
        slices.push(body.slice(at..at + size));
        at += size;
    }
    slices
}

/// Sums up what the kernel took of a connection until nothing new comes for a while.
fn accepted(rig: &Rig, conn: ConnId) -> usize {
    let mut sum = 0;
    while let Some(seen) = rig.next_within(Duration::from_millis(300)) {
        match seen {
            Seen::Accepted(seen, bytes) if seen == conn => sum += bytes,
            other => panic!("{other:?}"),
        }
    }
    sum
}

#[test]
fn a_reader_that_stalls_gets_every_byte_in_order_once_it_reads() {
    let rig = Rig::new();
    let mut stream = connect(&rig, SLOW);
    for batch in slices().chunks(97) {
        rig.write(SLOW, batch.to_vec());
    }
    let before = accepted(&rig, SLOW);
    assert!(
        before > 0 && before < TOTAL,
        "the kernel took {before} bytes of a stalled reader"
    );

    let mut buffer = vec![0; 50_000];
    let mut read = 0;
    while read < TOTAL {
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0, "closed after {read} bytes");
        for (n, byte) in buffer[..length].iter().enumerate() {
            assert_eq!(*byte, byte_at(read + n), "at {}", read + n);
        }
        read += length;
    }
    assert_eq!(before + accepted(&rig, SLOW), TOTAL);
}

#[test]
fn a_reader_that_stalls_does_not_hold_up_another() {
    let rig = Rig::new();
    let _slow = connect(&rig, SLOW);
    rig.write(SLOW, slices());
    let taken = accepted(&rig, SLOW);
    assert!(taken < TOTAL);

    let mut quick = connect(&rig, QUICK);
    let mut buffer = [0; 1_000];
    for n in 0..50_u8 {
        rig.write(
            QUICK,
            vec![Bytes::from(vec![n; 600]), Bytes::from(vec![n; 400])],
        );
        quick.read_exact(&mut buffer).unwrap();
        assert!(buffer.iter().all(|byte| *byte == n));
        assert_eq!(rig.next(), Seen::Accepted(QUICK, 1_000));
    }
}

#[test]
fn the_kernel_holds_little_so_that_slowness_shows_early() {
    let rig = Rig::new();
    let _stalled = connect(&rig, SLOW);
    // Ask again for a small piece until it is not taken: what the kernels of both sides hold is
    // the receiver's window and a fraction of a second unsent.
    let start = Instant::now();
    let mut sum = 0;
    loop {
        rig.write(SLOW, vec![Bytes::from(vec![0; 32 << 10])]);
        match rig.next_within(Duration::from_millis(300)) {
            Some(Seen::Accepted(SLOW, bytes)) => sum += bytes,
            None => break,
            other => panic!("{other:?}"),
        }
        assert!(
            start.elapsed() < PATIENCE,
            "{sum} bytes were taken of a stalled reader"
        );
    }
    assert!(sum < 16 << 20, "{sum} bytes");
}

#[test]
fn a_server_that_pings_without_reading_is_given_up_with_a_reason() {
    let rig = Rig::new();
    let _stalled = connect(&rig, SLOW);
    rig.write(SLOW, vec![Bytes::from(vec![0; TOTAL])]);
    assert!(accepted(&rig, SLOW) < TOTAL);
    let pong = Bytes::from_static(&[0; 18]);
    for _ in 0..5_000 {
        rig.write(SLOW, vec![pong.clone()]);
    }
    match rig.next() {
        Seen::Closed(SLOW, reason, _) => assert!(reason.contains("does not read"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(rig.next_within(Duration::from_millis(300)), None);
}

#[test]
fn many_writes_before_the_connection_is_made_leave_in_order_afterwards() {
    let rig = Rig::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let mut orders = vec![Output::Connect {
        conn: QUICK,
        addr,
        tls: None,
    }];
    orders.extend((0..100_u8).map(|n| Output::Write {
        conn: QUICK,
        slices: vec![Bytes::copy_from_slice(&[n])],
    }));
    rig.ask(orders);
    let (mut stream, _) = listener.accept().unwrap();
    assert_eq!(rig.next(), Seen::Connected(QUICK));
    rig.write(QUICK, vec![Bytes::from_static(&[100])]);
    let mut buffer = [0; 101];
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.read_exact(&mut buffer).unwrap();
    assert!(
        buffer
            .iter()
            .enumerate()
            .all(|(n, byte)| usize::from(*byte) == n)
    );
}
