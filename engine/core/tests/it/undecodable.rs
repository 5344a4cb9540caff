//! A publisher whose pictures cannot be decoded is told so in the status of its broadcast, with what to do
//! about it, and is not asked for keyframes more often than it could answer.

use shardcast_core::io::{Input, VideoResult, VideoTranscoderReport};

use crate::sim::{
    FaultMode, World,
    client::{Client, Sends},
};

fn problem(world: &mut World) -> Option<String> {
    let publisher = world.latest().broadcasts.remove(0).publisher;
    publisher.unwrap().video.unwrap().problem
}

#[test]
fn pictures_without_a_keyframe_are_said_after_some_seconds_and_asked_for_ever_less_often() {
    let mut world = World::new();
    world.want(&[("one", FaultMode::Well)]);
    let mut client = Client::new(world.now, 4000, Sends::default());
    client.no_keyframes = true;
    world.publish("first", client);
    world.run_ms(3_000);
    assert_eq!(problem(&mut world), None, "a keyframe may still come");
    world.run_ms(4_000);
    let words = problem(&mut world).expect("a problem");
    assert!(
        words.contains("no whole keyframe comes: publish again"),
        "{words}"
    );
    let before = world.clients[0].keyframe_requests;
    world.run_ms(10_000);
    let asked = world.clients[0].keyframe_requests - before;
    assert!((3..=10).contains(&asked), "{asked} requests in 10 s");
    world.clients[0].no_keyframes = false;
    world.run_ms(3_000);
    assert_eq!(problem(&mut world), None);
    assert!(!world.server("one", 0).video().is_empty());
}

/// The transcoder says once a second what it has done.
fn report_of(world: &mut World, report: &VideoTranscoderReport) {
    let transcoder = world.video[0].id;
    let result = VideoResult::Report(report.clone());
    world
        .shard
        .handle(world.now, Input::Video { transcoder, result });
}

#[test]
fn a_decoder_that_makes_nothing_of_the_source_is_said_with_its_codec() {
    let mut world = World::with_codecs(4_000);
    world.want(&[("one", FaultMode::Well)]);
    let sends = Sends {
        codec: str0m::format::Codec::Vp8,
        ..Sends::default()
    };
    let client = Client::new(world.now, 4000, sends);
    world.publish("first", client);
    world.run_ms(2_000);
    let mut report = VideoTranscoderReport::default();
    for second in 0..8 {
        report.errors += 30;
        report_of(&mut world, &report);
        let said = problem(&mut world).is_some();
        assert_eq!(said, second >= 4, "at the end of second {second}");
    }
    let words = problem(&mut world).unwrap();
    assert!(words.contains("VP8") && words.contains("H.264"), "{words}");
    report.frames += 30;
    report_of(&mut world, &report);
    assert_eq!(problem(&mut world), None);
}
