//! A broadcast goes live to several destinations: each gets every frame from its first keyframe
//! on, headers first, in order, and the end is a proper one.

use shardcast_core::rtmp::{message::type_id, server::UnpublishedBy};
use shardcast_link::EndReason;

use crate::sim::{
    FaultMode, World,
    client::{Client, Sends},
};

fn live(hosts: &[(&str, FaultMode)], sends: Sends) -> World {
    let mut world = World::new();
    world.want(hosts);
    let client = Client::new(world.now, 4000, sends);
    world.publish("first", client);
    world
}

#[test]
fn three_destinations_get_every_frame_in_order() {
    let mut world = live(
        &[
            ("one", FaultMode::Well),
            ("two", FaultMode::Well),
            ("three", FaultMode::Well),
        ],
        Sends::default(),
    );
    world.run_ms(10_000);
    let pictures = world.server("one", 0).pictures();
    assert!(
        pictures.len() > 270,
        "only {} frames in ten seconds",
        pictures.len()
    );
    for name in ["one", "two", "three"] {
        let server = world.server(name, 0);
        server.assert_well_formed();
        assert_eq!(server.pictures(), pictures, "{name} differs");
        assert_eq!(
            server.key.as_deref(),
            Some(format!("key-of-{name}").as_str())
        );
        assert!(
            server.audio().len() > 420,
            "{} audio frames",
            server.audio().len()
        );
        assert_eq!(world.connections(name), 1);
    }
}

#[test]
fn the_rates_of_sound_and_of_all_that_comes_are_told_each_second() {
    let mut world = live(&[("one", FaultMode::Well)], Sends::default());
    world.run_ms(5_000);
    let status = world.latest();
    let publisher = status.broadcasts[0].publisher.clone().unwrap();
    let audio_bps = publisher.audio.unwrap().bitrate_bps;
    assert!(
        audio_bps > 0 && audio_bps < publisher.bitrate_bps,
        "{audio_bps}"
    );
}

#[test]
fn keyframes_are_two_seconds_apart_for_a_publisher_that_sends_them_only_when_asked() {
    let mut world = live(&[("one", FaultMode::Well)], Sends::default());
    world.run_ms(20_000);
    let times = world.server("one", 0).keyframe_times_ms();
    assert!(times.len() >= 9, "{times:?}");
    for pair in times.windows(2) {
        let distance = pair[1] - pair[0];
        assert!(
            (1_700..=2_200).contains(&distance),
            "{distance} ms between keyframes: {times:?}"
        );
    }
}

#[test]
fn sound_and_picture_start_together_within_700_ms_of_the_first_media() {
    let mut world = live(&[("one", FaultMode::Well)], Sends::default());
    let started = world.run_until(5_000, |world| world.clients[0].frames_sent > 0);
    assert!(started, "the client never connected");
    let at = world.elapsed_ms();
    let complete = world.run_until(700, |world| {
        world.connections("one") == 1
            && !world.server("one", 0).video().is_empty()
            && !world.server("one", 0).audio().is_empty()
    });
    assert!(complete, "not on air after {} ms", world.elapsed_ms() - at);
}

#[test]
fn a_destination_added_while_live_starts_at_once_on_a_keyframe_of_its_own() {
    let mut world = live(&[("one", FaultMode::Well)], Sends::default());
    world.run_ms(5_500);
    world.want(&[("one", FaultMode::Well), ("late", FaultMode::Well)]);
    let at = world.elapsed_ms();
    let started = world.run_until(2_000, |world| {
        world.connections("late") == 1 && !world.server("late", 0).video().is_empty()
    });
    assert!(started, "not started after {} ms", world.elapsed_ms() - at);
    world.run_ms(3_000);
    world.server("late", 0).assert_well_formed();
    let (one, late) = (
        world.server("one", 0).pictures(),
        world.server("late", 0).pictures(),
    );
    assert!(one.ends_with(&late), "the late destination misses frames");
}

#[test]
fn a_removed_destination_is_ended_properly_and_the_other_loses_nothing() {
    let mut world = live(
        &[("one", FaultMode::Well), ("two", FaultMode::Well)],
        Sends::default(),
    );
    world.run_ms(4_000);
    let before = world.server("one", 0).pictures().len();
    world.want(&[("one", FaultMode::Well)]);
    world.run_ms(2_000);
    let ended = &world.server("two", 0).ended_by;
    assert_eq!(
        ended,
        &[UnpublishedBy::FcUnpublish, UnpublishedBy::DeleteStream]
    );
    let frames = world.server("one", 0).pictures().len() - before;
    assert!(
        (58..=62).contains(&frames),
        "{frames} frames in two seconds"
    );
    assert_eq!(world.connections("one"), 1);
}

#[test]
fn a_publisher_without_audio_gets_silence() {
    let sends = Sends {
        audio: false,
        ..Sends::default()
    };
    let mut world = live(&[("one", FaultMode::Well)], sends);
    world.run_ms(6_000);
    let server = world.server("one", 0);
    server.assert_well_formed();
    let (video, audio) = (server.video(), server.audio());
    let behind = i64::from(video.last().unwrap().timestamp_ms)
        - i64::from(audio.last().unwrap().timestamp_ms);
    assert!(
        (0..=250).contains(&behind),
        "silence is {behind} ms behind the picture"
    );
    assert!(audio.len() > 200, "{} frames of silence", audio.len());
}

#[test]
fn a_publisher_without_video_is_sent_on_as_sound() {
    let sends = Sends {
        video: false,
        ..Sends::default()
    };
    let mut world = live(&[("one", FaultMode::Well)], sends);
    world.run_ms(4_000);
    let server = world.server("one", 0);
    assert_eq!(server.sequence_headers(type_id::AUDIO), 1);
    assert_eq!(server.metadata, 1);
    assert!(
        server.audio().len() > 150,
        "{} audio frames",
        server.audio().len()
    );
    assert!(server.video().is_empty());
}

#[test]
fn a_change_of_size_sends_the_sequence_header_again_and_breaks_nothing() {
    let mut world = live(&[("one", FaultMode::Well)], Sends::default());
    world.run_ms(3_000);
    let small = Client::new(
        world.now,
        4001,
        Sends {
            small: true,
            ..Sends::default()
        },
    );
    world.publish("second", small);
    world.run_ms(4_000);
    let server = world.server("one", 0);
    server.assert_well_formed();
    assert_eq!(world.connections("one"), 1);
    assert_eq!(server.sequence_headers(type_id::VIDEO), 2);
    assert_eq!(world.ended("first"), Some(EndReason::Replaced));
}

#[test]
fn payloads_are_shared_by_all_destinations_and_not_copied() {
    let hosts = [
        ("one", FaultMode::Well),
        ("two", FaultMode::Well),
        ("three", FaultMode::Well),
    ];
    let mut world = live(&hosts, Sends::default());
    world.run_ms(5_000);
    let places = |name: &str| &world.written_at[&world.history[name][0]];
    assert!(places("one").len() > 100);
    assert_eq!(places("one"), places("two"));
    assert_eq!(places("one"), places("three"));
}
