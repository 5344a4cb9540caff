//! The one timer of a shard: timeouts come when they are due, also when they move, a machine that asks for the
//! past does not spin, and one that was interrupted goes on at once.

use std::{
    net::UdpSocket,
    time::{Duration, Instant},
};

use crate::rig::{Order, PATIENCE, Rig, Seen};

fn timeout(rig: &Rig) -> Instant {
    match rig.next() {
        Seen::Timeout(now) => now,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_timeout_comes_and_not_before_its_time() {
    let rig = Rig::new();
    let due = Instant::now() + Duration::from_millis(80);
    rig.order([Order::Timeout(Some(due))]);
    assert!(timeout(&rig) >= due);
}

#[test]
fn a_timeout_that_moves_nearer_comes_at_its_new_time() {
    let rig = Rig::new();
    rig.order([Order::Timeout(Some(Instant::now() + 2 * PATIENCE))]);
    assert_eq!(rig.next_within(Duration::from_millis(100)), None);
    let due = Instant::now() + Duration::from_millis(20);
    rig.order([Order::Timeout(Some(due))]);
    assert!(timeout(&rig) >= due);
}

#[test]
fn a_timeout_that_moves_away_does_not_come() {
    let rig = Rig::new();
    rig.order([Order::Timeout(Some(
        Instant::now() + Duration::from_secs(1),
    ))]);
    rig.order([Order::Timeout(Some(Instant::now() + 2 * PATIENCE))]);
    assert_eq!(rig.next_within(Duration::from_millis(3_500)), None);
    rig.order([Order::Timeout(None)]);
    assert_eq!(rig.next_within(Duration::from_millis(100)), None);
}

#[test]
fn a_timeout_that_stays_in_the_past_comes_at_most_once_a_millisecond() {
    let rig = Rig::new();
    let start = Instant::now();
    rig.order([Order::Timeout(Some(start))]);
    let mut count = 0_u32;
    while start.elapsed() < Duration::from_millis(300) {
        if rig.next_within(Duration::from_millis(50)).is_some() {
            count += 1;
        }
    }
    let bound = u32::try_from(start.elapsed().as_millis()).unwrap() + 2;
    assert!(
        count > 0 && count <= bound,
        "{count} timeouts, at most {bound} expected"
    );
}

#[test]
fn an_interrupted_timeout_goes_on_at_once_and_datagrams_come_in_between() {
    const PARTS: u32 = 20_000;
    let rig = Rig::new();
    let start = Instant::now();
    rig.order([Order::Timeout(Some(start)), Order::Interrupted(PARTS)]);
    timeout(&rig);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"a datagram", rig.udp).unwrap();
    let (mut parts, mut before) = (1, None);
    while parts < PARTS {
        match rig.next() {
            Seen::Timeout(_) => parts += 1,
            Seen::Datagram { .. } => before = Some(parts),
            other => panic!("{other:?}"),
        }
    }
    let before = before.expect("it came before the last part");
    assert!(before < PARTS, "{before}");
    // What is due by itself comes once a millisecond.
    let passed = start.elapsed().as_millis();
    assert!(passed < u128::from(PARTS), "{passed} ms for {PARTS} parts");
}
