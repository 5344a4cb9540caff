//! What a peer on TCP may hold, and whom it cannot harm.

use super::*;
use crate::ids::BroadcastKey;

const DATAGRAM: [u8; 1_198] = [0; 1_198];
const FRAME_BYTES: usize = 1_200;

fn address(number: usize) -> SocketAddr {
    let [.., high, low] = number.to_be_bytes();
    SocketAddr::from(([198, 51, high, low], 40_000))
}

fn shard() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 50_000))
}

fn session(number: u64) -> SessionKey {
    SessionKey {
        broadcast: BroadcastKey(1),
        number,
    }
}

fn conn(number: usize) -> ConnId {
    ConnId::of_peer(number as u64)
}

/// Connections 0 to `count`, each from an address of its own.
fn connected(now: Instant, count: usize) -> TcpPeers {
    let mut peers = TcpPeers::default();
    for number in 0..count {
        assert!(peers.admit(now, conn(number), address(number), shard()));
    }
    peers
}

#[test]
fn a_peer_that_reads_nothing_holds_so_many_bytes_and_no_more() {
    let now = Instant::now();
    let mut peers = connected(now, 2);
    let mut held = 0;
    for _ in 0..10_000 {
        match peers.send(now, address(0), &DATAGRAM) {
            Sending::Write(to, frame) => {
                assert_eq!(to, conn(0));
                held += frame.len();
            }
            other => assert_eq!(other, Sending::Dropped),
        }
    }
    assert!(held <= PEER_OUTSTANDING_BYTES_MAX && held + FRAME_BYTES > PEER_OUTSTANDING_BYTES_MAX);
    assert_eq!(peers.dropped, 10_000 - (held / FRAME_BYTES) as u64);
    let other = peers.send(now, address(1), &DATAGRAM);
    assert!(matches!(other, Sending::Write(..)), "{other:?}");
}

#[test]
fn a_slow_peer_is_sent_to_again_when_half_of_what_waited_is_gone() {
    let now = Instant::now();
    let mut peers = connected(now, 1);
    let send =
        |peers: &mut TcpPeers| matches!(peers.send(now, address(0), &DATAGRAM), Sending::Write(..));
    while send(&mut peers) {}
    peers.accepted(now, conn(0), FRAME_BYTES);
    assert!(!send(&mut peers), "one gap and not one for each frame");
    peers.accepted(now, conn(0), PEER_OUTSTANDING_BYTES_MAX / 2);
    assert!(send(&mut peers));
}

#[test]
fn a_peer_that_has_taken_nothing_for_long_is_given_up() {
    let mut now = Instant::now();
    let mut peers = connected(now, 1);
    while peers.send(now, address(0), &DATAGRAM) != Sending::Dropped {}
    now += Duration::from_millis(PEER_STALL_MS - 1);
    assert_eq!(peers.send(now, address(0), &DATAGRAM), Sending::Dropped);
    now += Duration::from_millis(1);
    let stalled = Sending::Stalled(conn(0));
    assert_eq!(peers.send(now, address(0), &DATAGRAM), stalled);
}

#[test]
fn strangers_push_one_another_out_and_nobody_who_has_proved_whose_it_is() {
    let now = Instant::now();
    let mut peers = connected(now, 1);
    assert_eq!(peers.prove(conn(0), session(1)), None);
    for number in 1..=PEER_UNPROVEN_CONNECTIONS_MAX {
        assert!(peers.admit(now, conn(number), address(number), shard()));
        assert_eq!(peers.surplus(), None);
    }
    let number = PEER_UNPROVEN_CONNECTIONS_MAX + 1;
    assert!(peers.admit(now, conn(number), address(number), shard()));
    assert_eq!(peers.surplus(), Some(conn(1)));
    assert!(peers.remove(conn(1)) && !peers.remove(conn(1)));
    assert_eq!(peers.surplus(), None);
    assert_eq!(peers.of_session(session(1)), [conn(0)]);
}

#[test]
fn connections_are_bounded_for_the_shard_and_for_a_session() {
    let now = Instant::now();
    let mut peers = connected(now, PEER_CONNECTIONS_MAX);
    let more = PEER_CONNECTIONS_MAX;
    assert!(!peers.admit(now, conn(more), address(more), shard()));
    assert_eq!(peers.refused, 1);
    for number in 0..SESSION_ADDRESSES_MAX {
        assert_eq!(peers.prove(conn(number), session(7)), None);
    }
    let last = conn(SESSION_ADDRESSES_MAX);
    assert_eq!(peers.prove(last, session(7)), Some(conn(0)));
    assert!(peers.remove(conn(0)));
    assert_eq!(peers.of_session(session(7)).len(), SESSION_ADDRESSES_MAX);
}

#[test]
fn a_connection_that_is_gone_leaves_nothing_behind() {
    let now = Instant::now();
    let mut peers = connected(now, 3);
    assert!(
        !peers.admit(now, conn(9), address(0), shard()),
        "the address is in use"
    );
    peers.prove(conn(0), session(1));
    peers.prove(conn(0), session(2));
    assert!(peers.of_session(session(1)).is_empty());
    for number in 0..3 {
        peers.remove(conn(number));
    }
    assert_eq!(peers.len(), 0);
    assert!(peers.by_address.is_empty() && peers.by_session.is_empty());
    assert!(peers.unproven.is_empty());
    assert_eq!(peers.send(now, address(0), &DATAGRAM), Sending::Dropped);
    assert!(peers.admit(now, conn(9), address(0), shard()));
}
