//! Proves: a broadcast keeps no more media than somebody may read, once for all who read it.

use crate::sim::{
    FaultMode, World,
    client::{Client, Sends},
};

/// With keyframes of six times the size, and one keyframe in two seconds.
const BYTES_A_SECOND: u64 = FRAME_BYTES as u64 * (30 * 2 + 5) / 2 + 47 * AAC_BYTES_MAX;
const FRAME_BYTES: usize = 10_000;
/// Of the simulated transcoder.
const AAC_BYTES_MAX: u64 = 400;

fn ring_bytes(destinations: &[(&str, FaultMode)]) -> u64 {
    let mut world = World::new();
    world.want(destinations);
    let sends = Sends {
        frame_bytes: FRAME_BYTES,
        ..Sends::default()
    };
    let client = Client::new(world.now, 4_000, sends);
    world.publish("first", client);
    world.run_ms(10_000);
    let at_most = (0..4).map(|_| world.latest().broadcasts[0].ring_bytes);
    at_most.max().unwrap()
}

#[test]
fn a_broadcast_keeps_three_and_a_half_seconds_however_many_take_it() {
    let one = ring_bytes(&[("one", FaultMode::Well)]);
    let names = ["one", "two", "three", "four", "five"];
    let five = ring_bytes(&names.map(|name| (name, FaultMode::Well)));
    assert_eq!(one, five);
    let bound = BYTES_A_SECOND * 7 / 2 + 6 * FRAME_BYTES as u64;
    assert!(one <= bound, "{one} bytes of {bound}");
    assert!(one >= BYTES_A_SECOND * 3, "{one} bytes of {bound}");
}
