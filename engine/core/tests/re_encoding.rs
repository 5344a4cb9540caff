//! Destinations that want a rendition, or have to be given one, get it and nothing else: made once
//! for all that want the same, of one size, without a hole while the publisher is away; and what
//! cannot be made is said in words and harms nobody.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod sim;

use bytes::Bytes;
use shardcast_core::{io::VideoResult, rtmp::message::type_id};
use shardcast_link::{
    Command, ContractOverrides, DestinationId, PicturePath, Preset, Reencode, RenditionSpec,
    VideoCodec, WantedBroadcast, WantedDestination, WantedPicture,
};
use sim::{
    Site, World, broadcast,
    client::{Client, Sends},
    session,
};
use str0m::format::Codec;

const HD: RenditionSpec = RenditionSpec {
    width: Some(1_280),
    height: 720,
    frames_per_second: 30,
    video_bps: 3_000_000,
    gop_ms: 2_000,
    preset: Preset::Superfast,
    profile: shardcast_link::Profile::High,
    audio_bps: 128_000,
};
const SMALL: RenditionSpec = RenditionSpec {
    width: Some(640),
    height: 360,
    video_bps: 800_000,
    ..HD
};

fn always(rendition: RenditionSpec) -> WantedPicture {
    WantedPicture {
        reencode: Reencode::Always,
        rendition: Some(rendition),
        ..WantedPicture::default()
    }
}

fn of(reencode: Reencode) -> WantedPicture {
    WantedPicture {
        reencode,
        ..WantedPicture::default()
    }
}

/// Destinations by name, each with a wish for its picture.
fn want(world: &mut World, wishes: &[(&str, WantedPicture)]) {
    let sites: Vec<_> = wishes.iter().map(|(name, _)| (*name, Site::Well)).collect();
    world.stand(&sites);
    let mut wanted = WantedBroadcast::new(broadcast());
    for (name, picture) in wishes {
        wanted.destinations.push(WantedDestination {
            picture: *picture,
            ..WantedDestination::new(
                DestinationId((*name).to_owned()),
                format!("rtmp://{name}/app/key-of-{name}"),
            )
        });
    }
    world.command(Command::Want { broadcast: wanted });
}

fn on_air(wishes: &[(&str, WantedPicture)], codec: Codec) -> World {
    on_air_with(900, wishes, codec)
}

fn on_air_with(permille: u32, wishes: &[(&str, WantedPicture)], codec: Codec) -> World {
    let mut world = World::with_codecs(permille);
    want(&mut world, wishes);
    let sends = Sends {
        codec,
        ..Sends::default()
    };
    let client = Client::new(world.now, 4000, sends);
    world.publish("first", client);
    world
}

fn run_s(world: &mut World, seconds: u64) {
    for _ in 0..seconds {
        world.run_ms(1_000);
        world.report_lanes();
    }
}

/// Whose pictures a server got, in turns: true for those of a rendition.
fn turns(world: &World, name: &str) -> Vec<bool> {
    let pictures = world.server(name, 0).pictures();
    let mut turns: Vec<bool> = pictures
        .iter()
        .map(|picture| picture.last() == Some(&0xEE))
        .collect();
    turns.dedup();
    turns
}

fn assert_constant_gop(world: &World, name: &str) {
    let keys = world.server(name, 0).keyframe_times_ms();
    assert!(keys.len() > 2, "{keys:?}");
    for two in keys.windows(2) {
        let gop_ms = two[1] - two[0];
        assert!((1_966..=2_034).contains(&gop_ms), "{keys:?}");
    }
}

/// Every frame of sound is there once.
fn assert_whole_sound(world: &World, name: &str) {
    let server = world.server(name, 0);
    let times: Vec<u32> = server.audio().iter().map(|m| m.timestamp_ms).collect();
    for two in times.windows(2) {
        let step_ms = two[1] - two[0];
        assert!((20..=23).contains(&step_ms), "{step_ms} ms at {}", two[0]);
    }
}

#[test]
fn equal_renditions_are_made_once_and_keep_their_size_and_keyframe_distance() {
    let wishes = [
        ("one", always(HD)),
        ("two", always(HD)),
        ("three", always(SMALL)),
    ];
    let mut world = on_air(&wishes, Codec::H264);
    run_s(&mut world, 4);
    world.clients[0].resize(true);
    run_s(&mut world, 4);
    world.clients[0].resize(false);
    run_s(&mut world, 4);
    assert_eq!(world.video.len(), 1);
    let lane = &world.video[0];
    assert_eq!(lane.renditions(), [HD, SMALL]);
    let decoded = lane.decoded;
    let sent = world.clients[0].frames_sent;
    assert!(sent - decoded < 4, "{decoded} of {sent} decoded");
    for (name, _) in wishes {
        let server = world.server(name, 0);
        server.assert_sound();
        assert_eq!(turns(&world, name), [true]);
        assert_eq!(server.sequence_headers(type_id::VIDEO), 1, "{name}");
        assert_constant_gop(&world, name);
        assert!(server.largest_gap_ms(0) <= 34, "{name}");
        assert_whole_sound(&world, name);
    }
    let ladder = ["one", "three"].map(|name| world.server(name, 0).keyframe_times_ms());
    assert_eq!(ladder[0], ladder[1]);
    let status = world.latest();
    let renditions = &status.broadcasts[0].renditions;
    let users: Vec<u32> = renditions.iter().map(|it| it.destinations).collect();
    assert_eq!(users, [2, 1]);
    let decoder = status.broadcasts[0].decoder.unwrap();
    assert_eq!(decoder.codec, VideoCodec::H264);
    assert!(status.codec.used_permille > 0);
}

#[test]
fn a_codec_that_rtmp_does_not_carry_is_re_encoded_unless_that_is_off() {
    let wishes = [("auto", of(Reencode::Auto)), ("off", of(Reencode::Off))];
    let mut world = on_air(&wishes, Codec::Vp8);
    run_s(&mut world, 8);
    assert_eq!(world.video[0].sources, [VideoCodec::Vp8]);
    // The keyframe because of which the lane was opened is its first picture.
    assert_eq!(world.clients[0].frames_sent, world.video[0].decoded);
    assert_eq!(turns(&world, "auto"), [true]);
    world.server("auto", 0).assert_sound();
    assert_whole_sound(&world, "auto");
    assert!(world.server("off", 0).media.is_empty());
    let auto = world.destination("auto").picture.unwrap();
    assert_eq!(auto.path, PicturePath::Rendition);
    assert!(auto.reason.contains("VP8"), "{}", auto.reason);
    let off = world.destination("off").picture.unwrap();
    assert_eq!(off.path, PicturePath::None);
    assert!(off.reason.contains("reencode"), "{}", off.reason);
}

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
    assert_eq!(turns(&world, "one"), [true]);
}

#[test]
fn a_broken_contract_slips_to_a_rendition_and_back_without_a_step_in_time() {
    let mut picture = of(Reencode::Auto);
    picture.contract = ContractOverrides {
        size_stable: Some(true),
        ..ContractOverrides::default()
    };
    let wishes = [("strict", picture), ("easy", of(Reencode::Auto))];
    let mut world = on_air(&wishes, Codec::H264);
    run_s(&mut world, 8);
    world.clients[0].resize(true);
    run_s(&mut world, 12);
    assert_eq!(turns(&world, "strict"), [false, true]);
    let status = world.destination("strict").picture.unwrap();
    assert_eq!(status.path, PicturePath::Rendition);
    assert!(status.reason.contains("1280x720"), "{}", status.reason);
    assert_eq!(status.switches, 1);
    world.clients[0].resize(false);
    run_s(&mut world, 40);
    assert_eq!(turns(&world, "strict"), [false, true, false]);
    let server = world.server("strict", 0);
    server.assert_sound();
    assert!(
        server.largest_gap_ms(0) <= 100,
        "{}",
        server.largest_gap_ms(0)
    );
    assert_whole_sound(&world, "strict");
    assert_eq!(world.connections("strict"), 1);
    // The lane is closed when nobody takes from it.
    run_s(&mut world, 2);
    assert!(!world.video[0].open);
    assert_eq!(turns(&world, "easy"), [false]);
}

#[test]
fn a_publisher_that_is_away_leaves_no_hole_in_a_rendition() {
    let mut world = on_air(&[("one", always(HD))], Codec::Vp8);
    run_s(&mut world, 5);
    world.clients[0].dead = true;
    world.run_ms(200);
    world.command(Command::Unpublish {
        session: session("first"),
    });
    run_s(&mut world, 10);
    assert!(world.video[0].fills > 50);
    let client = Client::new(world.now, 4001, Sends::default());
    world.publish("second", client);
    run_s(&mut world, 5);
    assert_eq!(world.video.len(), 1);
    assert_eq!(world.video[0].sources, [VideoCodec::Vp8, VideoCodec::H264]);
    let server = world.server("one", 0);
    assert_eq!(server.sequence_headers(type_id::VIDEO), 1);
    assert!(server.largest_gap_ms(0) <= 34);
    assert_constant_gop(&world, "one");
    assert_whole_sound(&world, "one");
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
    let wishes = [
        ("one", always(HD)),
        ("big", always(more)),
        ("same", always(HD)),
        ("easy", of(Reencode::Auto)),
    ];
    want(&mut world, &wishes);
    run_s(&mut world, 5);
    let status = world.latest();
    assert!(status.codec.refused > 0);
    let big = world.destination("big").picture.unwrap();
    assert_eq!(big.path, PicturePath::None);
    assert!(big.reason.contains("no room"), "{}", big.reason);
    assert!(world.server("big", 0).media.is_empty());
    assert_eq!(turns(&world, "one"), [true]);
    assert!(world.server("one", 0).largest_gap_ms(0) <= 34);
    assert_eq!(turns(&world, "same"), [true]);
    assert_eq!(turns(&world, "easy"), [false]);
}

#[test]
fn a_server_without_codecs_passes_on_what_it_can_and_says_why_it_does_no_more() {
    let mut world = World::new();
    let wishes = [("auto", of(Reencode::Auto)), ("always", always(HD))];
    want(&mut world, &wishes);
    let client = Client::new(world.now, 4000, Sends::default());
    world.publish("first", client);
    run_s(&mut world, 5);
    assert_eq!(turns(&world, "auto"), [false]);
    let always = world.destination("always").picture.unwrap();
    assert!(
        always.reason.contains("re-encodes nothing"),
        "{}",
        always.reason
    );
}

#[test]
fn a_rendition_that_fails_takes_no_other_along() {
    let wishes = [("one", always(HD)), ("two", always(SMALL))];
    let mut world = on_air(&wishes, Codec::H264);
    run_s(&mut world, 3);
    let lane = world.video[0].id;
    let failed = world.video[0].ids()[1];
    world.video[0].broken = Some(failed);
    let reason = "x264 does not open".to_owned();
    let rendition = failed;
    world.lane_says(lane, VideoResult::Failed { rendition, reason });
    run_s(&mut world, 3);
    let two = world.destination("two").picture.unwrap();
    assert!(two.reason.contains("x264"), "{}", two.reason);
    assert!(world.server("one", 0).largest_gap_ms(0) <= 34);
}

#[test]
fn a_rendition_may_have_a_bit_rate_of_sound_of_its_own() {
    let quiet = RenditionSpec {
        audio_bps: 64_000,
        ..SMALL
    };
    let wishes = [("one", of(Reencode::Auto)), ("two", always(quiet))];
    let mut world = on_air(&wishes, Codec::H264);
    run_s(&mut world, 4);
    assert_eq!(world.audio_bps, [128_000, 64_000]);
    for name in ["one", "two"] {
        assert_whole_sound(&world, name);
        world.server(name, 0).assert_sound();
    }
}

#[test]
fn another_wish_is_followed_on_the_same_connection() {
    let mut world = on_air(&[("one", of(Reencode::Auto))], Codec::H264);
    run_s(&mut world, 4);
    want(&mut world, &[("one", always(SMALL))]);
    run_s(&mut world, 6);
    want(&mut world, &[("one", always(HD))]);
    run_s(&mut world, 6);
    want(&mut world, &[("one", of(Reencode::Off))]);
    run_s(&mut world, 6);
    assert_eq!(turns(&world, "one"), [false, true, false]);
    assert_eq!(world.connections("one"), 1);
    let server = world.server("one", 0);
    server.assert_sound();
    assert_eq!(server.sequence_headers(type_id::VIDEO), 4);
    assert!(
        server.largest_gap_ms(0) <= 100,
        "{}",
        server.largest_gap_ms(0)
    );
    assert_whole_sound(&world, "one");
    assert!(!world.video[0].open);
}

#[test]
fn a_slate_is_shown_in_a_rendition_while_its_publisher_is_away() {
    let mut world = on_air(&[("one", always(HD))], Codec::Vp8);
    let mut wanted = WantedBroadcast::new(broadcast());
    wanted.destinations.push(WantedDestination {
        picture: always(HD),
        ..WantedDestination::new(
            DestinationId("one".to_owned()),
            "rtmp://one/app/key-of-one".to_owned(),
        )
    });
    wanted.slate = Some("soon".to_owned());
    world.command(Command::Want { broadcast: wanted });
    world.command(Command::Slate {
        broadcast: broadcast(),
        name: "soon".to_owned(),
        image_base64: "aW1hZ2U=".to_owned(),
    });
    run_s(&mut world, 3);
    assert!(world.video[0].slates.is_empty());
    world.clients[0].dead = true;
    world.command(Command::Unpublish {
        session: session("first"),
    });
    run_s(&mut world, 3);
    assert_eq!(world.video[0].slates, [Bytes::from_static(b"image")]);
}

#[test]
fn a_lane_of_which_nothing_is_left_is_replaced() {
    let wishes = [("one", always(HD)), ("two", always(SMALL))];
    let mut world = on_air(&wishes, Codec::H264);
    run_s(&mut world, 3);
    let dead = world.video[0].id;
    for rendition in world.video[0].ids() {
        let reason = "its codec thread is gone".to_owned();
        world.lane_says(dead, VideoResult::Failed { rendition, reason });
    }
    assert!(!world.video[0].open);
    let one = world.destination("one").picture.unwrap();
    assert_eq!(one.path, PicturePath::None);
    assert!(one.reason.contains("gone"), "{}", one.reason);
    run_s(&mut world, 14);
    assert_eq!(world.video.len(), 2);
    for name in ["one", "two"] {
        let status = world.destination(name).picture.unwrap();
        assert_eq!(status.path, PicturePath::Rendition, "{}", status.reason);
        assert_whole_sound(&world, name);
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
    let one = world.destination("one").picture.unwrap();
    assert_eq!(one.path, PicturePath::Rendition, "{}", one.reason);
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
    let lane = world.video[0].id;
    let asked = world.clients[0].keyframe_requests;
    // The way to the client is cut for a moment.
    world.clients[0].deaf = true;
    world.lane_says(lane, VideoResult::KeyframeWanted);
    world.run_ms(100);
    world.clients[0].deaf = false;
    let decoded = world.video[0].decoded;
    world.run_ms(600);
    assert!(world.clients[0].keyframe_requests > asked);
    assert!(world.video[0].decoded > decoded);
}

#[test]
fn a_bit_rate_of_sound_that_nobody_takes_any_more_is_not_made() {
    let quiet = RenditionSpec {
        audio_bps: 64_000,
        ..SMALL
    };
    let mut world = on_air(&[("one", always(quiet))], Codec::H264);
    run_s(&mut world, 3);
    assert_eq!(world.audio_lanes(), 2);
    want(&mut world, &[("one", always(SMALL))]);
    run_s(&mut world, 6);
    assert_eq!(world.audio_lanes(), 1);
    want(&mut world, &[("one", always(quiet))]);
    run_s(&mut world, 6);
    assert_eq!(world.audio_lanes(), 2);
    assert_whole_sound(&world, "one");
}

#[test]
fn a_destination_that_begins_while_the_publisher_is_away_is_shown_the_slate() {
    let mut world = on_air(&[("one", of(Reencode::Off))], Codec::Vp8);
    run_s(&mut world, 3);
    world.clients[0].dead = true;
    world.command(Command::Unpublish {
        session: session("first"),
    });
    let mut wanted = WantedBroadcast::new(broadcast());
    world.stand(&[("two", Site::Well)]);
    wanted.destinations.push(WantedDestination {
        picture: always(HD),
        ..WantedDestination::new(
            DestinationId("two".to_owned()),
            "rtmp://two/app/key-of-two".to_owned(),
        )
    });
    wanted.slate = Some("soon".to_owned());
    world.command(Command::Want { broadcast: wanted });
    world.command(Command::Slate {
        broadcast: broadcast(),
        name: "soon".to_owned(),
        image_base64: "aW1hZ2U=".to_owned(),
    });
    run_s(&mut world, 3);
    assert_eq!(world.video[0].slates, [Bytes::from_static(b"image")]);
    assert!(world.video[0].fills > 10);
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
    let one = world.destination("one").picture.unwrap();
    assert!(one.reason.contains("no picture"), "{}", one.reason);
    assert!(world.server("one", 0).audio().len() > 100);
}
