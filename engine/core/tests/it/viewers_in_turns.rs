//! Many viewers of one broadcast are fed in turns: what is made for some of them leaves before more is made, and each of
//! them gets every packet all the same.

use crate::sim::{
    FaultMode, World,
    client::{Client, Sends},
    viewer::Viewer,
};

const VIEWERS: u16 = 40;
/// What one turn may put out: what it takes, and the first 64 KiB of a keyframe behind it, in packets.
const DATAGRAMS_MAX: usize = 64 + 64;

#[test]
fn viewers_are_fed_in_turns_and_miss_nothing() {
    let mut world = World::with_codecs(1_000);
    world.want(&[("one", FaultMode::Well)]);
    let client = Client::new(world.now, 4000, Sends::default());
    world.publish("first", client);
    world.run_ms(3_000);
    for port in 6000..6000 + VIEWERS {
        let viewer = Viewer::new(world.now, port);
        world.watch(&format!("viewer-{port}"), viewer);
        world.run_ms(20);
    }
    world.run_ms(1_000);
    let pictures = |world: &World, place: usize| {
        let packets = world.viewers[place].video();
        packets.filter(|packet| packet.marker).count()
    };
    let everybody = || 0..usize::from(VIEWERS);
    let before: Vec<usize> = everybody().map(|place| pictures(&world, place)).collect();
    world.datagrams_at_once_max = 0;
    world.run_ms(5_000);

    let at_once = world.datagrams_at_once_max;
    assert!((32..DATAGRAMS_MAX).contains(&at_once), "{at_once} at once");
    for place in everybody() {
        let count = pictures(&world, place) - before[place];
        assert!((148..=152).contains(&count), "{count} pictures in 5 s");
        let numbers: Vec<u64> = world.viewers[place].video().map(|it| it.sequence).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
    }
}
