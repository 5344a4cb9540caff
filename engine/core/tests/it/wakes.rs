//! Proves: while media flows the shard does what is due when media comes, and not on wakes of its own.

use crate::sim::{
    FaultMode, World,
    client::{Client, Sends},
};

const SECONDS: u64 = 5;

/// A show that has begun, and then what `of` counts in a second of it.
fn a_second(sends: Sends, of: fn(&World) -> u64) -> u64 {
    let mut world = World::new();
    world.want(&[("one", FaultMode::Well)]);
    let client = Client::new(world.now, 4_000, sends);
    world.publish("first", client);
    world.run_ms(5_000);
    let before = of(&world);
    world.run_ms(SECONDS * 1_000);
    (of(&world) - before) / SECONDS
}

#[test]
fn while_media_flows_few_deadlines_wake_the_shard() {
    let wakes = a_second(Sends::default(), |world| world.timer_wakes);
    assert!(wakes <= 5, "{wakes} wakes a second");
}

#[test]
fn audio_is_written_with_the_picture_that_is_about_to_come() {
    let writes = a_second(Sends::default(), |world| world.tcp_writes);
    // 30 pictures and 47 AAC frames.
    assert!(writes <= 33, "{writes} writes a second");
    let alone = Sends {
        video: false,
        ..Sends::default()
    };
    let writes = a_second(alone, |world| world.tcp_writes);
    assert!(
        (45..=48).contains(&writes),
        "{writes} writes of audio alone"
    );
}
