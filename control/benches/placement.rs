//! What a placement over eight weighted shards costs: the choice alone, of an idle machine and of one whose
//! shards are so full that the first choice is often passed over.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench stops at the first surprise"
)]

#[path = "../../engine/core/benches/allocations/mod.rs"]
mod allocations;

use criterion::{Criterion, criterion_group, criterion_main};
use shardcast_link::BroadcastId;

// The file is pure and knows nobody of control, so it is built again here rather than shown to the world.
#[allow(dead_code, reason = "its own tests, which are not run here")]
#[path = "../src/shards/placement.rs"]
mod placement;

use placement::{Member, choose, order};

const WEIGHTS: [u32; 8] = [100, 100, 100, 50, 200, 100, 25, 75];
/// A usual broadcast, in millionths of a core.
const COST_PPM: u64 = 12_000;
const PLACED: usize = 10_000;

fn ids() -> Vec<BroadcastId> {
    let id = |n| BroadcastId::new("StreamLick", &format!("stream-{n}")).unwrap();
    (0..PLACED).map(id).collect()
}

fn idle() -> Vec<Member> {
    let member = |(n, weight): (usize, &u32)| Member {
        name: n.to_string(),
        weight: *weight,
        load: 0,
        has_room: true,
    };
    WEIGHTS.iter().enumerate().map(member).collect()
}

/// Places `ids`, one after the other.
fn place(members: &mut [Member], ids: &[BroadcastId]) {
    for id in ids {
        let chosen = choose(id, COST_PPM, members).unwrap();
        members[chosen].load += COST_PPM;
    }
}

fn placement(criterion: &mut Criterion) {
    let ids = ids();
    let mut group = criterion.benchmark_group("placement_8_shards");
    let idle = idle();
    let mut full = idle.clone();
    place(&mut full, &ids);
    for (name, members) in [("idle", &idle), ("ten_thousand_placed", &full)] {
        let mut next = ids.iter().cycle();
        allocations::report(&format!("placement, choose, {name}"), || {
            choose(next.next().unwrap(), COST_PPM, members);
        });
        group.bench_function(format!("choose/{name}"), |bencher| {
            bencher.iter(|| choose(next.next().unwrap(), COST_PPM, members));
        });
    }
    let mut next = ids.iter().cycle();
    group.bench_function("order", |bencher| {
        bencher.iter(|| order(next.next().unwrap(), &idle));
    });
    group.sample_size(20);
    group.bench_function("place_ten_thousand", |bencher| {
        bencher.iter(|| {
            let mut members = idle.clone();
            place(&mut members, &ids);
            members
        });
    });
    group.finish();
}

criterion_group!(benches, placement);
criterion_main!(benches);
