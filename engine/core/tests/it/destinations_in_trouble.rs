//! One destination's trouble is its own: its siblings get what they would have got without it,
//! and its status says in words what happened.

use crate::sim::{
    FaultMode, World,
    client::{Client, Sends},
};
use shardcast_link::DestinationState;
use shardcast_sim::picture::{Picture, Shows};

/// Ten seconds with a well destination beside one that is not.
fn beside(bad: FaultMode) -> World {
    let mut world = World::new();
    world.want(&[("well", FaultMode::Well), ("bad", bad)]);
    let client = Client::new(world.now, 4000, Sends::default());
    world.publish("first", client);
    world.run_ms(10_000);
    let server = world.server("well", 0);
    server.assert_well_formed();
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
    let mut world = beside(FaultMode::Refuses);
    says(&mut world, DestinationState::BackingOff, "refused");
    assert!(
        world.connections("bad") >= 4,
        "{} attempts",
        world.connections("bad")
    );
    world.set_mode("bad", FaultMode::Well);
    assert!(world.run_until(12_000, |world| {
        let last = world.connections("bad") - 1;
        !world.server("bad", last).video().is_empty()
    }));
}

#[test]
fn one_whose_name_does_not_resolve_says_so() {
    let mut world = World::new();
    world.want(&[("well", FaultMode::Well)]);
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
    world.server("well", 0).assert_well_formed();
    says(&mut world, DestinationState::BackingOff, "does not resolve");
}

#[test]
fn a_black_hole_is_given_up_after_a_while_and_tried_again() {
    let mut world = beside(FaultMode::Silent);
    assert!(world.connections("bad") >= 2);
    world.run_ms(3_000);
    let status = world.destination("bad");
    let message = status.last_problem.expect("a problem in words").message;
    assert!(message.contains("no answer"), "{message:?}");
}

#[test]
fn one_that_accepts_and_says_nothing_is_told_apart() {
    let mut world = beside(FaultMode::Mute);
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
    let mut world = beside(FaultMode::Garbage);
    says(
        &mut world,
        DestinationState::BackingOff,
        "does not speak RTMP",
    );
}

#[test]
fn one_that_refuses_the_key_is_tried_seldom() {
    let mut world = beside(FaultMode::RejectsKey);
    says(&mut world, DestinationState::BackingOff, "no such key");
    assert_eq!(
        world.connections("bad"),
        1,
        "tried again within ten seconds"
    );
}

#[test]
fn one_that_resets_is_on_air_again_at_a_keyframe() {
    let world = beside(FaultMode::Resets(2_000));
    assert!(world.connections("bad") >= 3);
    for n in 0..world.connections("bad") - 1 {
        world.server("bad", n).assert_well_formed();
    }
}

#[test]
fn one_that_is_too_slow_gets_whole_keyframes_and_is_told_so() {
    // 60 bytes a millisecond of the 190 that the stream needs.
    let mut world = beside(FaultMode::Crawls(60_000));
    world.run_ms(20_000);
    let status = world.destination("bad");
    assert!(status.frames_dropped > 100, "{status:?}");
    assert!(
        status
            .last_problem
            .is_some_and(|problem| problem.message.contains("slower"))
    );
    let server = world.server("bad", 0);
    server.assert_well_formed();
    let received = server.video();
    for pair in received.windows(2) {
        let number = |message: &shardcast_core::rtmp::Message| {
            let picture = Picture::read(&message.payload).expect("a picture of the client");
            match picture.shows {
                Shows::Sent(number) => number,
                other => panic!("{other:?}"),
            }
        };
        let follows = number(pair[1]) == number(pair[0]) + 1;
        assert!(
            follows || pair[1].payload[0] == 0x17,
            "a gap is not closed by a keyframe"
        );
    }
}
