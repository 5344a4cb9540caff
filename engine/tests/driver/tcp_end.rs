//! The end of a connection is reported once, with a reason for people, and only while the machine has
//! not closed it.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use bytes::Bytes;
use shardcast_core::io::{Close, ConnId, Output};

use crate::rig::{PATIENCE, Rig, Seen};

const CONN: ConnId = ConnId::numbered(1);

fn server() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn closed(rig: &Rig) -> String {
    loop {
        match rig.next() {
            Seen::Closed(CONN, reason, _) => return reason,
            Seen::Accepted(..) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_server_that_refuses_is_reported_to_refuse() {
    let rig = Rig::new();
    let (listener, address) = server();
    drop(listener);
    rig.ask([Output::Connect {
        conn: CONN,
        addr: address,
        tls: None,
    }]);
    let reason = closed(&rig);
    assert!(reason.contains("refused"), "{reason}");
}

#[test]
fn a_connection_that_swallows_what_it_is_sent_is_left_while_another_stands() {
    // A listener whose backlog is full drops SYNs.
    let dark = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
    dark.bind(&loopback.into()).unwrap();
    dark.listen(0).unwrap();
    let hole = dark.local_addr().unwrap().as_socket().unwrap();
    let patience = Duration::from_millis(300);
    let fill = || TcpStream::connect_timeout(&hole, patience);
    let held: Vec<TcpStream> = std::iter::from_fn(|| fill().ok()).collect();

    let rig = Rig::new();
    let to = |conn, addr| Output::Connect {
        conn,
        addr,
        tls: None,
    };
    let (listener, address) = server();
    rig.ask([
        to(ConnId::numbered(2), hole),
        to(ConnId::numbered(3), hole),
        to(CONN, address),
    ]);
    assert_eq!(rig.next(), Seen::Connected(CONN));
    let how = Close::Abort;
    rig.ask(
        [2, 3]
            .map(ConnId::numbered)
            .map(|conn| Output::Close { conn, how }),
    );
    let mut stream = accept(&listener);
    stream.write_all(b"hello").unwrap();
    assert_eq!(rig.next(), Seen::Received(CONN, b"hello".to_vec()));
    drop((stream, held));
    closed(&rig);
    // Nothing of the two is left that the shard would have to wait for.
    rig.stop();
    assert!(rig.ended().result.is_ok());
}

#[test]
fn a_server_that_closes_is_reported_to_close_after_all_its_bytes() {
    let rig = Rig::new();
    let (listener, address) = server();
    rig.connect(CONN, address);
    let mut stream = accept(&listener);
    stream.write_all(b"last words").unwrap();
    drop(stream);
    assert_eq!(rig.next(), Seen::Received(CONN, b"last words".to_vec()));
    let reason = closed(&rig);
    assert!(reason.contains("closed"), "{reason}");
}

#[test]
fn a_server_that_resets_is_reported_to_reset() {
    let rig = Rig::new();
    let (listener, address) = server();
    rig.connect(CONN, address);
    let stream = accept(&listener);
    rig.write(CONN, vec![Bytes::from_static(b"unread")]);
    assert_eq!(rig.next(), Seen::Accepted(CONN, 6));
    // Closing with unread bytes is a reset.
    std::thread::sleep(Duration::from_millis(50));
    drop(stream);
    let reason = closed(&rig);
    assert!(reason.contains("reset"), "{reason}");
}

#[test]
fn writing_to_a_server_that_has_gone_ends_in_one_closed() {
    let rig = Rig::new();
    let (listener, address) = server();
    rig.connect(CONN, address);
    drop(accept(&listener));
    rig.write(CONN, vec![Bytes::from(vec![0; 1 << 20])]);
    closed(&rig);
    rig.write(CONN, vec![Bytes::from_static(b"more")]);
    assert_eq!(rig.next_within(Duration::from_millis(200)), None);
}

#[test]
fn a_flushed_close_writes_everything_and_then_ends_properly() {
    let rig = Rig::new();
    let (listener, address) = server();
    rig.connect(CONN, address);
    let mut stream = accept(&listener);
    // Bytes that nobody reads must not turn the end into a reset.
    stream.write_all(b"a reply that is not read").unwrap();
    let body = Bytes::from(vec![7; 3 << 20]);
    rig.ask([
        Output::Write {
            conn: CONN,
            slices: vec![body.clone()],
        },
        Output::Close {
            conn: CONN,
            how: Close::Flush,
        },
    ]);
    let mut read = Vec::new();
    stream.read_to_end(&mut read).unwrap();
    assert!(read == body, "{} of {} bytes", read.len(), body.len());
}

#[test]
fn an_aborted_close_ends_at_once_with_a_reset() {
    let rig = Rig::new();
    let (listener, address) = server();
    rig.connect(CONN, address);
    let mut stream = accept(&listener);
    rig.ask([
        Output::Write {
            conn: CONN,
            slices: vec![Bytes::from(vec![7; 32 << 20])],
        },
        Output::Close {
            conn: CONN,
            how: Close::Abort,
        },
    ]);
    let error = stream.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    while let Some(seen) = rig.next_within(Duration::from_millis(200)) {
        assert!(
            matches!(seen, Seen::Accepted(..) | Seen::Received(..)),
            "{seen:?}"
        );
    }
}

#[test]
fn a_connection_that_is_never_made_can_be_given_up() {
    let rig = Rig::new();
    // A full backlog answers nothing, like a host behind a firewall.
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener
        .bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into())
        .unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let _full: Vec<_> = (0..2)
        .map(|_| {
            let socket =
                socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&address.into());
            socket
        })
        .collect();
    rig.ask([Output::Connect {
        conn: CONN,
        addr: address,
        tls: None,
    }]);
    assert_eq!(rig.next_within(Duration::from_millis(300)), None);
    rig.ask([Output::Close {
        conn: CONN,
        how: Close::Abort,
    }]);
    assert_eq!(rig.next_within(Duration::from_millis(300)), None);
    rig.stop();
    assert!(rig.ended().result.is_ok());
}

#[test]
fn an_aborted_connection_is_gone_before_the_next_one_is_made() {
    let rig = Rig::new();
    let (listener, address) = server();
    rig.connect(CONN, address);
    let mut first = accept(&listener);
    let next = ConnId::numbered(CONN.number() + 1);
    // Both in one breath, as a destination does whose first retry is immediate.
    rig.ask([
        Output::Close {
            conn: CONN,
            how: Close::Abort,
        },
        Output::Connect {
            conn: next,
            addr: address,
            tls: None,
        },
    ]);
    let second = accept(&listener);
    first.set_nonblocking(true).unwrap();
    let error = first.read(&mut [0; 10]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(rig.next(), Seen::Connected(next));
    drop(second);
}
