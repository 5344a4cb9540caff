use std::{sync::Arc, time::Duration};

use shardcast_link::{ShardHello, ShardStatus};
use tokio::sync::{Notify, mpsc};

use super::*;
use crate::shards::Commands;

fn id(n: usize) -> BroadcastId {
    BroadcastId::new("app", &format!("stream-{n}")).unwrap()
}

/// Shards of these weights that can be reached. The receivers keep them so.
fn shards(weights: &[u32]) -> (Shards, Vec<mpsc::Receiver<shardcast_link::Command>>) {
    let shards = Shards::default();
    let mut queues = Vec::new();
    for (shard, weight) in (0..).zip(weights) {
        let hello = ShardHello {
            version: shardcast_link::VERSION,
            engine: "engine".into(),
            shard,
            shards: weights.len() as u16,
            udp_port: 50_000 + shard,
            capacity: *weight,
        };
        let (queue, receiver) = mpsc::channel(2_000);
        let broken = Arc::new(Notify::new());
        shards.connected(hello, None, Commands { queue, broken });
        shards.status(shard, ShardStatus::default());
        queues.push(receiver);
    }
    (shards, queues)
}

const HOLD: Duration = Duration::from_secs(60);

fn reserve(shards: &Shards, now: Instant, n: usize) -> Result<Placed, PlacementRefusal> {
    let load = ExpectedLoad::default();
    let reserved = shards.reserve(now, &id(n), load, HOLD);
    reserved.map(|(placed, _)| placed)
}

#[test]
fn a_reservation_holds_its_room_until_its_time_and_not_after() {
    let (shards, _queues) = shards(&[100]);
    let now = Instant::now();
    // 80 % of a core, each about 1.2 %.
    let mut taken = 0;
    let refusal = loop {
        match reserve(&shards, now, taken) {
            Ok(_) => taken += 1,
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refusal, PlacementRefusal::Full);
    assert!((60..70).contains(&taken), "{taken}");
    let last = now + HOLD - Duration::from_millis(1);
    assert_eq!(reserve(&shards, last, taken), Err(PlacementRefusal::Full));
    assert!(reserve(&shards, now + HOLD, taken).is_ok());
    assert_eq!(shards.reservations(now + HOLD, 0, 0).1, 1);
}

#[test]
fn a_publish_goes_where_it_was_promised_and_without_a_promise_where_the_hash_says() {
    let (shards, _queues) = shards(&[100, 100, 50, 200]);
    let now = Instant::now();
    for n in 0..100 {
        let promised = (n % 2 == 0).then(|| reserve(&shards, now, n));
        let would = shards.would_take(&id(n));
        let placed = shards.place(&id(n));
        assert_eq!(would, placed);
        if let Some(Ok(promised)) = promised {
            assert_eq!(Some(promised.reservation.shard), placed);
        }
        // Sticky.
        assert_eq!(shards.place(&id(n)), placed);
        let again = reserve(&shards, now, n).unwrap();
        assert_eq!(Some(again.reservation.shard), placed);
        assert!(again.is_assigned);
    }
}

#[test]
fn a_draining_shard_is_given_nothing_new_and_keeps_what_it_has() {
    let (shards, _queues) = shards(&[100, 100]);
    let here: Vec<_> = (0..20).map(|n| shards.place(&id(n)).unwrap()).collect();
    assert!(here.contains(&0) && here.contains(&1));
    let drain = |shard, draining| {
        let changed = shards.change_policy(shard, |policy| policy.draining = draining, |_| ());
        assert_eq!(changed, Some(()));
    };
    drain(0, true);
    for n in 20..40 {
        assert_eq!(shards.place(&id(n)), Some(1));
    }
    for (n, shard) in here.iter().enumerate() {
        assert_eq!(shards.place(&id(n)), Some(*shard));
        assert!(!shards.refuse(&id(n)));
    }
    drain(1, true);
    assert!(shards.refuse(&id(99)));
    assert_eq!(
        reserve(&shards, Instant::now(), 99),
        Err(PlacementRefusal::ShardsDraining)
    );
    drain(0, false);
    assert!(!shards.refuse(&id(99)));
    assert_eq!(shards.place(&id(99)), Some(0));
}

#[test]
fn a_shard_that_goes_moves_only_what_was_promised_there() {
    let (shards, _queues) = shards(&[100, 100, 100]);
    let now = Instant::now();
    let before: Vec<u16> = (0..60)
        .map(|n| reserve(&shards, now, n).unwrap().reservation.shard)
        .collect();
    shards.disconnected(2);
    for (n, shard) in before.iter().enumerate() {
        let placed = shards.place(&id(n)).unwrap();
        if *shard == 2 {
            assert_ne!(placed, 2);
        } else {
            assert_eq!(placed, *shard);
        }
    }
}

#[test]
fn a_reservation_and_a_publish_that_race_agree() {
    let (shards, _queues) = shards(&[100, 70, 130]);
    for n in 0..1_000 {
        let (reserved, placed) = std::thread::scope(|scope| {
            let reserved = scope.spawn(|| reserve(&shards, Instant::now(), n).unwrap());
            let placed = scope.spawn(|| shards.place(&id(n)).unwrap());
            (reserved.join().unwrap(), placed.join().unwrap())
        });
        assert_eq!(reserved.reservation.shard, placed);
        assert_eq!(shards.assignment(&id(n)), Some(placed));
        shards.forget(&id(n));
        assert_eq!(shards.reservations(Instant::now(), 0, 0).1, 0);
    }
}

#[test]
fn there_are_only_so_many_and_the_refusal_says_when_the_next_ends() {
    let (shards, _queues) = shards(&[u32::MAX / 1_000]);
    let now = Instant::now();
    let tiny = ExpectedLoad {
        bitrate_bps: 0,
        destinations: 0,
        rendition_heights: Vec::new(),
    };
    // Memory would be the limit on a small machine; the count is tried on the room itself.
    let mut all = crate::shards::reservations::Reservations::default();
    for n in 0..limits::RESERVATIONS_MAX {
        assert!(!all.is_full());
        all.put(Reservation {
            id: n.to_string(),
            broadcast: id(n),
            shard: 0,
            load: tiny.clone(),
            until: now + HOLD,
            until_unix_ms: 0,
        });
    }
    assert!(all.is_full());
    shards.lock().reservations = all;
    let refused = shards.reserve(now + HOLD / 2, &id(usize::MAX), tiny.clone(), HOLD);
    assert_eq!(refused, Err(PlacementRefusal::TooMany(HOLD / 2)));
    // One that is known is renewed.
    assert!(shards.reserve(now, &id(7), tiny, HOLD).is_ok());
}
