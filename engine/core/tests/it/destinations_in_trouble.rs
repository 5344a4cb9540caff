//! One destination's trouble is its own: its siblings get what they would have got without it,
//! and its status says in words what happened.

use crate::sim::{
    Site, World,
    client::{Client, Sends},
};
use shardcast_link::DestinationState;

/// Ten seconds with a well destination beside one that is not.
fn beside(bad: Site) -> World {
    let mut world = World::new();
    world.want(&[("well", Site::Well), ("bad", bad)]);
    let client = Client::new(world.now, 4000, Sends::default());
    world.publish("first", client);
    world.run_ms(10_000);
    let server = world.server("well", 0);
    server.assert_sound();
    assert_eq!(world.connections("well"), 1);
    // The first frame may be older than the connection; every later one has arrived.
    let sent = world.clients[0].frames_sent;
    let received = server.video().len() as u64;
    assert!(
        received + 3 >= sent,
        "{received} of {sent} frames reached the sibling"
    );
    world
}

fn says(world: &mut World, state: DestinationState, words: &str) {
    let status = world.destination("bad");
    assert_eq!(status.state, state, "{status:?}");
    let message = status.last_problem.expect("a problem in words").message;
    assert!(
        message.contains(words),
        "{message:?} does not say {words:?}"
    );
}

#[test]
fn one_that_refuses_is_tried_again_and_again() {
    let mut world = beside(Site::Refuses);
    says(&mut world, DestinationState::BackingOff, "refused");
    assert!(
        world.connections("bad") >= 4,
        "{} attempts",
        world.connections("bad")
    );
    world.replace("bad", Site::Well);
    assert!(world.run_until(12_000, |world| {
        let last = world.connections("bad") - 1;
        !world.server("bad", last).video().is_empty()
    }));
}

#[test]
fn one_whose_name_does_not_resolve_says_so() {
    let mut world = World::new();
    world.want(&[("well", Site::Well)]);
    let mut wanted = shardcast_link::WantedBroadcast::new(crate::sim::broadcast());
    for name in ["well", "nowhere"] {
        wanted
            .destinations
            .push(shardcast_link::WantedDestination::new(
                shardcast_link::DestinationId(if name == "well" { "well" } else { "bad" }.into()),
                format!("rtmp://{name}/app/key-of-{name}"),
            ));
    }
    world.command(shardcast_link::Command::Want { broadcast: wanted });
    let client = Client::new(world.now, 4000, Sends::default());
    world.publish("first", client);
    world.run_ms(5_000);
    world.server("well", 0).assert_sound();
    says(&mut world, DestinationState::BackingOff, "does not resolve");
}

#[test]
fn a_black_hole_is_given_up_after_a_while_and_tried_again() {
    let mut world = beside(Site::BlackHole);
    assert!(world.connections("bad") >= 2);
    world.run_ms(3_000);
    let status = world.destination("bad");
    let message = status.last_problem.expect("a problem in words").message;
    assert!(message.contains("no answer"), "{message:?}");
}

#[test]
fn one_that_accepts_and_says_nothing_is_told_apart() {
    let mut world = beside(Site::Mute);
    world.run_ms(1_000);
    let message = world
        .destination("bad")
        .last_problem
        .expect("a problem in words")
        .message;
    assert!(
        message.contains("did not answer as an RTMP server"),
        "{message:?}"
    );
}

#[test]
fn one_that_answers_garbage_is_closed() {
    let mut world = beside(Site::Garbage);
    says(
        &mut world,
        DestinationState::BackingOff,
        "does not speak RTMP",
    );
}

#[test]
fn one_that_refuses_the_key_is_tried_seldom() {
    let mut world = beside(Site::RejectsKey);
    says(&mut world, DestinationState::BackingOff, "no such key");
    assert_eq!(
        world.connections("bad"),
        1,
        "tried again within ten seconds"
    );
}

#[test]
fn one_that_resets_is_on_air_again_at_a_keyframe() {
    let world = beside(Site::ResetsAfterMs(2_000));
    assert!(world.connections("bad") >= 3);
    for n in 0..world.connections("bad") - 1 {
        world.server("bad", n).assert_sound();
    }
}

#[test]
fn one_that_is_too_slow_gets_whole_keyframes_and_is_told_so() {
    // 60 bytes a millisecond of the 190 that the stream needs.
    let mut world = beside(Site::Slow(60));
    world.run_ms(20_000);
    let status = world.destination("bad");
    assert!(status.frames_dropped > 100, "{status:?}");
    assert!(
        status
            .last_problem
            .is_some_and(|problem| problem.message.contains("slower"))
    );
    let server = world.server("bad", 0);
    server.assert_sound();
    let received = server.video();
    for pair in received.windows(2) {
        let number = |message: &shardcast_core::rtmp::Message| {
            let at = message
                .payload
                .windows(2)
                .position(|two| two == [0x9a, 4000_u16.rem_euclid(251) as u8]);
            let from = at.unwrap() + 2;
            message.payload[from..from + 8]
                .iter()
                .fold(0_u64, |n, byte| n << 7 | u64::from(byte & 0x7f))
        };
        let follows = number(pair[1]) == number(pair[0]) + 1;
        assert!(
            follows || pair[1].payload[0] == 0x17,
            "a gap is not closed by a keyframe"
        );
    }
}
