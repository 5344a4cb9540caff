//! A browser that sends its picture in two sizes: destinations get the larger one while it is alive,
//! and the change from one to the other is no step in time.

use shardcast_core::rtmp::message::type_id;

use crate::sim::{
    FaultMode, World,
    client::{Client, Sends},
};

const LARGE: usize = 1;

fn live() -> World {
    let mut world = World::new();
    world.want(&[("one", FaultMode::Well)]);
    let sends = Sends {
        layers: true,
        ..Sends::default()
    };
    let client = Client::new(world.now, 4000, sends);
    world.publish("first", client);
    world
}

/// Pixels of the publisher's picture, as the status has it.
fn height(world: &mut World) -> u32 {
    let publisher = world.latest().broadcasts.remove(0).publisher;
    publisher.unwrap().video.unwrap().height
}

/// Pictures come in step, with none missing: times rise by about a picture.
fn assert_no_step(world: &World, gap_ms: u32) {
    let times: Vec<u32> = world
        .server("one", 0)
        .video()
        .iter()
        .map(|message| message.timestamp_ms)
        .collect();
    for pair in times.windows(2) {
        let distance = pair[1].checked_sub(pair[0]);
        assert!(
            distance.is_some_and(|ms| ms <= gap_ms),
            "{} ms after {} ms",
            pair[1],
            pair[0]
        );
    }
    // Sound and picture end together, as they are sent.
    let sound = world.server("one", 0).audio().last().unwrap().timestamp_ms;
    let apart = i64::from(sound) - i64::from(*times.last().unwrap());
    assert!(apart.abs() <= 200, "sound is {apart} ms off the picture");
}

#[test]
fn the_larger_picture_is_sent_although_the_smaller_is_named_first() {
    let mut world = live();
    world.run_ms(4_000);
    assert_eq!(height(&mut world), 720);
    let pictures = world.server("one", 0).pictures().len();
    world.run_ms(10_000);
    assert_eq!(height(&mut world), 720);
    let more = world.server("one", 0).pictures().len() - pictures;
    assert!((320..=345).contains(&more), "{more} pictures in 11 s");
    assert_no_step(&world, 70);
    // The layer that is not used is asked for nothing.
    let small = world.clients[0].layers[0].keyframes_sent;
    assert!(
        small <= 3,
        "{small} keyframes of the layer that is not used"
    );
}

#[test]
fn the_smaller_picture_is_sent_while_the_larger_is_gone_and_no_longer() {
    let mut world = live();
    world.run_ms(5_000);
    world.clients[0].layers[LARGE].alive = false;
    world.run_ms(4_000);
    assert_eq!(height(&mut world), 360);
    world.clients[0].layers[LARGE].alive = true;
    world.run_ms(1_000);
    assert_eq!(height(&mut world), 360, "it has not stayed yet");
    world.run_ms(5_000);
    assert_eq!(height(&mut world), 720);
    // One absence of the picture, which is noticed after 0.8 s.
    assert_no_step(&world, 1_300);
    let server = world.server("one", 0);
    server.assert_well_formed();
    assert_eq!(world.connections("one"), 1);
    // Small before large at the start, then large, small, large.
    let headers = server.sequence_headers(type_id::VIDEO);
    assert!((3..=4).contains(&headers), "{headers} sequence headers");
}

#[test]
fn frames_that_cannot_be_read_in_the_layer_that_is_not_used_freeze_nothing() {
    let mut world = live();
    world.run_ms(4_000);
    world.clients[0].layers[0].unreadable = true;
    let damaged = |world: &mut World| {
        let publisher = world.latest().broadcasts.remove(0).publisher;
        publisher.unwrap().video.unwrap().frames_damaged
    };
    let before = damaged(&mut world);
    world.run_ms(4_000);
    assert_eq!(damaged(&mut world), before);
    assert_no_step(&world, 70);
    // In the layer that is used they are missed, and a keyframe mends that.
    world.clients[0].layers[LARGE].unreadable = true;
    world.run_ms(100);
    world.clients[0].layers[LARGE].unreadable = false;
    world.run_ms(2_000);
    assert!(damaged(&mut world) > before);
    let pictures = world.server("one", 0).pictures().len();
    world.run_ms(2_000);
    let more = world.server("one", 0).pictures().len() - pictures;
    assert!(more >= 55, "{more} pictures in 2 s");
}

#[test]
fn the_bit_rate_and_the_losses_of_a_publisher_are_those_of_all_its_layers() {
    let mut world = live();
    world.run_ms(4_000);
    for second in 0..5 {
        let publisher = world.latest().broadcasts.remove(0).publisher.unwrap();
        // Two layers of 30 pictures of 5,000 bytes a second, and audio.
        let kbps = publisher.bitrate_bps / 1_000;
        assert!(
            (2_300..=3_200).contains(&kbps),
            "{kbps} kbit/s in second {second}"
        );
        assert_eq!(publisher.packets_lost, 0, "in second {second}");
    }
}
