//! A destination's problem says since when it is there and, once it is over, until when it was: what
//! an operator reads during a show is what is wrong now, or what was.

use shardcast_core::rtmp::message::type_id;
use shardcast_link::{Command, DestinationState, DestinationStatus};

use crate::sim::{
    FaultMode, World,
    client::{Client, Sends},
    session,
};

/// Ten seconds of a show with one destination.
fn show(mode: FaultMode) -> World {
    let mut world = World::new();
    world.want(&[("one", mode)]);
    let client = Client::new(world.now, 4000, Sends::default());
    world.publish("first", client);
    world.run_ms(10_000);
    world
}

/// Seconds of the show at which the problem began and was over, in tenths.
fn times(status: &DestinationStatus) -> (u64, Option<u64>) {
    assert!(status.last_problem.is_some(), "{status:?}");
    let tenths = |unix_ms: u64| (unix_ms - 1_700_000_000_000) / 100;
    let since = status.problem_since_unix_ms.expect("since when");
    (tenths(since), status.problem_until_unix_ms.map(tenths))
}

#[test]
fn a_destination_that_was_slow_for_a_while_is_said_to_have_been_slow() {
    let mut world = show(FaultMode::Well);
    let status = world.destination("one");
    assert!(status.last_problem.is_none() && status.problem_since_unix_ms.is_none());
    world.set_mode_at_once("one", FaultMode::Crawls(60_000));
    world.run_ms(20_000);
    let (since, until) = times(&world.destination("one"));
    // Its socket takes some, then it falls three seconds behind.
    assert!((140..250).contains(&since), "since {since}");
    assert_eq!(until, None);
    world.set_mode_at_once("one", FaultMode::Well);
    let mended = u64::try_from(world.elapsed_ms()).unwrap() / 100;
    world.run_ms(5_000);
    assert_eq!(times(&world.destination("one")), (since, None));
    world.run_ms(10_000);
    let status = world.destination("one");
    let over = times(&status).1.expect("it is over");
    assert!(
        over.abs_diff(mended) < 10,
        "over at {over}, mended at {mended}"
    );
    assert_eq!(status.state, DestinationState::Live);
    assert_eq!(times(&status), (since, Some(over)));
    // Slow again: another problem.
    world.set_mode_at_once("one", FaultMode::Crawls(60_000));
    world.run_ms(20_000);
    let (again, until) = times(&world.destination("one"));
    assert!(again > over && until.is_none(), "{again}, {until:?}");
}

#[test]
fn a_connection_that_fails_is_a_problem_from_the_first_failure_until_media_is_acknowledged() {
    let mut world = show(FaultMode::Refuses);
    let (since, until) = times(&world.destination("one"));
    assert!(since < 30, "since {since}");
    assert_eq!(until, None);
    world.set_mode("one", FaultMode::Well);
    assert!(world.run_until(40_000, |world| {
        let last = world.connections("one") - 1;
        let media = &world.server("one", last).media;
        media
            .iter()
            .any(|message| message.type_id == type_id::VIDEO)
    }));
    let live = u64::try_from(world.elapsed_ms()).unwrap() / 100;
    world.run_ms(2_000);
    let status = world.destination("one");
    assert_eq!(status.state, DestinationState::Live);
    let over = times(&status).1.expect("it is over");
    assert_eq!(times(&status).0, since);
    assert!(over.abs_diff(live) < 15, "over at {over}, live at {live}");
}

#[test]
fn a_problem_is_over_when_the_broadcast_is() {
    for mode in [FaultMode::Refuses, FaultMode::Crawls(60_000)] {
        let mut world = show(mode);
        world.run_ms(15_000);
        assert_eq!(times(&world.destination("one")).1, None);
        let session = session("first");
        world.command(Command::Unpublish { session });
        // It is waited for, and then the broadcast ends.
        world.run_ms(60_000);
        let status = world.destination("one");
        assert_eq!(status.state, DestinationState::Ended);
        assert!(times(&status).1.is_some(), "{status:?}");
    }
}
