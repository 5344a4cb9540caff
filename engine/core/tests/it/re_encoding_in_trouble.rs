//! A rendition that cannot be made, or not any more, is said in words and harms nobody; and what can be
//! mended is.

use crate::sim::{
    World,
    client::{Client, Sends},
    renditions::{
        HD, SMALL, always, assert_gapless_audio, kinds_of_video, on_air, on_air_with, reencoding,
        run_s, want,
    },
};
use shardcast_core::io::VideoResult;
use shardcast_link::{Preset, Reencode, RenditionSpec, VideoPath};
use str0m::format::Codec;

#[test]
fn after_a_loss_nothing_is_decoded_before_the_keyframe_that_is_asked_for() {
    let mut world = on_air(&[("one", always(HD))], Codec::Vp8);
    run_s(&mut world, 3);
    let (asked, decoded) = (world.clients[0].keyframe_requests, world.video[0].decoded);
    // All that is sent for a while, repetitions included.
    world.clients[0].lose_every = 1;
    world.run_ms(600);
    world.clients[0].lose_every = 0;
    world.run_ms(1_500);
    assert!(world.clients[0].keyframe_requests > asked);
    assert!(world.video[0].decoded > decoded);
    assert!(world.server("one", 0).largest_gap_ms(0) <= 34);
    assert_eq!(kinds_of_video(&world, "one"), [true]);
}

#[test]
fn what_does_not_fit_is_refused_in_words_and_what_runs_goes_on() {
    let mut world = on_air(&[("one", always(HD))], Codec::H264);
    run_s(&mut world, 3);
    let more = RenditionSpec {
        width: Some(1_920),
        height: 1_080,
        preset: Preset::Faster,
        ..HD
    };
    let settings = [
        ("one", always(HD)),
        ("big", always(more)),
        ("same", always(HD)),
        ("easy", reencoding(Reencode::Auto)),
    ];
    want(&mut world, &settings);
    run_s(&mut world, 5);
    let status = world.latest();
    assert!(status.codec.refused > 0);
    let big = world.destination("big").video.unwrap();
    assert_eq!(big.path, VideoPath::None);
    assert!(big.reason.contains("no room"), "{}", big.reason);
    assert!(world.server("big", 0).media.is_empty());
    assert_eq!(kinds_of_video(&world, "one"), [true]);
    assert!(world.server("one", 0).largest_gap_ms(0) <= 34);
    assert_eq!(kinds_of_video(&world, "same"), [true]);
    assert_eq!(kinds_of_video(&world, "easy"), [false]);
}

#[test]
fn a_server_without_codecs_passes_on_what_it_can_and_says_why_it_does_no_more() {
    let mut world = World::new();
    let settings = [("auto", reencoding(Reencode::Auto)), ("always", always(HD))];
    want(&mut world, &settings);
    let client = Client::new(world.now, 4000, Sends::default());
    world.publish("first", client);
    run_s(&mut world, 5);
    assert_eq!(kinds_of_video(&world, "auto"), [false]);
    let always = world.destination("always").video.unwrap();
    assert!(
        always.reason.contains("re-encodes nothing"),
        "{}",
        always.reason
    );
}

#[test]
fn a_rendition_that_fails_takes_no_other_along() {
    let settings = [("one", always(HD)), ("two", always(SMALL))];
    let mut world = on_air(&settings, Codec::H264);
    run_s(&mut world, 3);
    let transcoder = world.video[0].id;
    let failed = world.video[0].ids()[1];
    world.video[0].fail(failed);
    let reason = "x264 does not open".to_owned();
    let rendition = failed;
    world.transcoder_reports(transcoder, VideoResult::Failed { rendition, reason });
    run_s(&mut world, 3);
    let two = world.destination("two").video.unwrap();
    assert!(two.reason.contains("x264"), "{}", two.reason);
    assert!(world.server("one", 0).largest_gap_ms(0) <= 34);
}

#[test]
fn a_lane_of_which_nothing_is_left_is_replaced() {
    let settings = [("one", always(HD)), ("two", always(SMALL))];
    let mut world = on_air(&settings, Codec::H264);
    run_s(&mut world, 3);
    let dead = world.video[0].id;
    for rendition in world.video[0].ids() {
        let reason = "its codec thread is gone".to_owned();
        world.transcoder_reports(dead, VideoResult::Failed { rendition, reason });
    }
    assert!(!world.video[0].open);
    let one = world.destination("one").video.unwrap();
    assert_eq!(one.path, VideoPath::None);
    assert!(one.reason.contains("gone"), "{}", one.reason);
    run_s(&mut world, 14);
    assert_eq!(world.video.len(), 2);
    for name in ["one", "two"] {
        let status = world.destination(name).video.unwrap();
        assert_eq!(status.path, VideoPath::Rendition, "{}", status.reason);
        assert_gapless_audio(&world, name);
        assert_eq!(world.connections(name), 1);
    }
}

#[test]
fn a_rendition_gives_its_room_to_the_one_that_takes_its_place() {
    let large = RenditionSpec {
        width: Some(1_920),
        height: 1_080,
        ..HD
    };
    let other = RenditionSpec {
        video_bps: 4_000_000,
        ..large
    };
    // Room for one of them, and not for both.
    let mut world = on_air_with(700, &[("one", always(large))], Codec::H264);
    run_s(&mut world, 3);
    want(&mut world, &[("one", always(other))]);
    run_s(&mut world, 5);
    let one = world.destination("one").video.unwrap();
    assert_eq!(one.path, VideoPath::Rendition, "{}", one.reason);
    assert_eq!(world.video[0].renditions(), [other]);
    assert_eq!(world.latest().codec.refused, 0);
    want(
        &mut world,
        &[("one", always(other)), ("two", always(large))],
    );
    run_s(&mut world, 1);
    assert!(world.latest().codec.refused > 0);
}

#[test]
fn a_lane_is_given_a_keyframe_although_the_first_request_is_lost() {
    let mut world = on_air(&[("one", always(HD))], Codec::Vp8);
    run_s(&mut world, 3);
    let transcoder = world.video[0].id;
    let asked = world.clients[0].keyframe_requests;
    // The way to the client is cut for a moment.
    world.clients[0].deaf = true;
    world.transcoder_reports(transcoder, VideoResult::KeyframeWanted);
    world.run_ms(100);
    world.clients[0].deaf = false;
    let decoded = world.video[0].decoded;
    world.run_ms(600);
    assert!(world.clients[0].keyframe_requests > asked);
    assert!(world.video[0].decoded > decoded);
}

#[test]
fn nothing_is_made_where_there_are_no_pictures_or_nobody_to_send_them_to() {
    let mut world = World::with_codecs(900);
    want(&mut world, &[("one", always(HD))]);
    let sends = Sends {
        video: false,
        ..Sends::default()
    };
    let client = Client::new(world.now, 4000, sends);
    world.publish("first", client);
    run_s(&mut world, 4);
    assert!(world.video.is_empty());
    let one = world.destination("one").video.unwrap();
    assert!(one.reason.contains("no picture"), "{}", one.reason);
    assert!(world.server("one", 0).audio().len() > 100);
}
