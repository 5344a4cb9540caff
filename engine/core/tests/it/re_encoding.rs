//! Destinations that want a rendition, or have to be given one, get it and nothing else: made once
//! for all that want the same, of one size, without a hole while the publisher is away.

use crate::{
    encoders::Show,
    sim::{
        FaultMode, World, broadcast,
        client::{Client, Sends},
        renditions::{
            HD, SMALL, always, assert_constant_gop, assert_gapless_audio, kinds_of_video, on_air,
            reencoding, run_s, want,
        },
        session,
    },
};
use bytes::Bytes;
use shardcast_core::rtmp::message::type_id;
use shardcast_link::{
    Command, DestinationId, PassthroughOverrides, Reencode, RenditionSpec, VideoCodec, VideoPath,
    WantedBroadcast, WantedDestination,
};
use shardcast_sim::picture::{Picture, Shows};
use str0m::format::Codec;

/// One destination that is sent a rendition always, and a slate for the broadcast.
fn want_slate(world: &mut World, name: &str) {
    world.add_hosts(&[(name, FaultMode::Well)]);
    let mut wanted = WantedBroadcast::new(broadcast());
    wanted.destinations.push(WantedDestination {
        video: always(HD),
        ..WantedDestination::new(
            DestinationId(name.to_owned()),
            format!("rtmp://{name}/app/key-of-{name}"),
        )
    });
    wanted.slate = Some("soon".to_owned());
    world.command(Command::Want { broadcast: wanted });
    world.command(Command::Slate {
        broadcast: broadcast(),
        name: "soon".to_owned(),
        image_base64: "aW1hZ2U=".to_owned(),
    });
}

#[test]
fn equal_renditions_are_made_once_and_keep_their_size_and_keyframe_distance() {
    let settings = [
        ("one", always(HD)),
        ("two", always(HD)),
        ("three", always(SMALL)),
    ];
    let mut world = on_air(&settings, Codec::H264);
    run_s(&mut world, 4);
    world.clients[0].resize(true);
    run_s(&mut world, 4);
    world.clients[0].resize(false);
    run_s(&mut world, 4);
    assert_eq!(world.video.len(), 1);
    let transcoder = &world.video[0];
    assert_eq!(transcoder.renditions(), [HD, SMALL]);
    let decoded = transcoder.decoded;
    let sent = world.clients[0].frames_sent;
    assert!(sent - decoded < 4, "{decoded} of {sent} decoded");
    for (name, _) in settings {
        let server = world.server(name, 0);
        server.assert_well_formed();
        assert_eq!(kinds_of_video(&world, name), [true]);
        assert_eq!(server.sequence_headers(type_id::VIDEO), 1, "{name}");
        assert_constant_gop(&world, name);
        assert!(server.largest_gap_ms(0) <= 34, "{name}");
        assert_gapless_audio(&world, name);
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
    let settings = [
        ("auto", reencoding(Reencode::Auto)),
        ("off", reencoding(Reencode::Off)),
    ];
    let mut world = on_air(&settings, Codec::Vp8);
    run_s(&mut world, 8);
    assert_eq!(world.video[0].sources, [VideoCodec::Vp8]);
    // The keyframe because of which the transcoder was opened is its first picture.
    assert_eq!(world.clients[0].frames_sent, world.video[0].decoded);
    assert_eq!(kinds_of_video(&world, "auto"), [true]);
    world.server("auto", 0).assert_well_formed();
    assert_gapless_audio(&world, "auto");
    assert!(world.server("off", 0).media.is_empty());
    let auto = world.destination("auto").video.unwrap();
    assert_eq!(auto.path, VideoPath::Rendition);
    assert!(auto.reason.contains("VP8"), "{}", auto.reason);
    let off = world.destination("off").video.unwrap();
    assert_eq!(off.path, VideoPath::None);
    assert!(off.reason.contains("reencode"), "{}", off.reason);
}

#[test]
fn a_broken_contract_slips_to_a_rendition_and_back_without_a_step_in_time() {
    let mut picture = reencoding(Reencode::Auto);
    picture.passthrough = PassthroughOverrides {
        size_stable: Some(true),
        ..PassthroughOverrides::default()
    };
    let settings = [("strict", picture), ("easy", reencoding(Reencode::Auto))];
    let mut world = on_air(&settings, Codec::H264);
    run_s(&mut world, 8);
    world.clients[0].resize(true);
    run_s(&mut world, 12);
    assert_eq!(kinds_of_video(&world, "strict"), [false, true]);
    let status = world.destination("strict").video.unwrap();
    assert_eq!(status.path, VideoPath::Rendition);
    assert!(status.reason.contains("1280x720"), "{}", status.reason);
    assert_eq!(status.switches, 1);
    world.clients[0].resize(false);
    run_s(&mut world, 40);
    assert_eq!(kinds_of_video(&world, "strict"), [false, true, false]);
    let server = world.server("strict", 0);
    server.assert_well_formed();
    assert!(
        server.largest_gap_ms(0) <= 100,
        "{}",
        server.largest_gap_ms(0)
    );
    assert_gapless_audio(&world, "strict");
    assert_eq!(world.connections("strict"), 1);
    // The transcoder is closed when nobody takes from it.
    run_s(&mut world, 2);
    assert!(!world.video[0].open);
    assert_eq!(kinds_of_video(&world, "easy"), [false]);
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
    assert_gapless_audio(&world, "one");
}

#[test]
fn the_first_picture_behind_a_publisher_without_video_is_re_encoded_too() {
    let mut world = World::with_codecs(900);
    want(&mut world, &[("a", always(SMALL))]);
    let sends = Sends {
        video: false,
        ..Sends::default()
    };
    let client = Client::new(world.now, 4_000, sends);
    world.publish("first", client);
    run_s(&mut world, 3);
    assert!(!world.server("a", 0).audio().is_empty());
    // Its first message that is media is a keyframe.
    let mut show = Show::begin(&mut world, "second", 0, false);
    show.run(&mut world, 4);
    let pictures = world.server("a", 0).pictures();
    let made = |body: &Bytes| {
        let picture = Picture::read(body).unwrap();
        matches!(picture.shows, Shows::Made { .. })
    };
    assert!(pictures.len() > 50 && pictures.iter().all(made));
}

#[test]
fn a_rendition_may_have_a_bit_rate_of_sound_of_its_own() {
    let quiet = RenditionSpec {
        audio_bps: 64_000,
        ..SMALL
    };
    let settings = [("one", reencoding(Reencode::Auto)), ("two", always(quiet))];
    let mut world = on_air(&settings, Codec::H264);
    run_s(&mut world, 4);
    assert_eq!(world.audio_bps, [128_000, 64_000]);
    for name in ["one", "two"] {
        assert_gapless_audio(&world, name);
        world.server(name, 0).assert_well_formed();
    }
}

#[test]
fn another_wish_is_followed_on_the_same_connection() {
    let mut world = on_air(&[("one", reencoding(Reencode::Auto))], Codec::H264);
    run_s(&mut world, 4);
    want(&mut world, &[("one", always(SMALL))]);
    run_s(&mut world, 6);
    want(&mut world, &[("one", always(HD))]);
    run_s(&mut world, 6);
    want(&mut world, &[("one", reencoding(Reencode::Off))]);
    run_s(&mut world, 6);
    assert_eq!(kinds_of_video(&world, "one"), [false, true, false]);
    assert_eq!(world.connections("one"), 1);
    let server = world.server("one", 0);
    server.assert_well_formed();
    assert_eq!(server.sequence_headers(type_id::VIDEO), 4);
    assert!(
        server.largest_gap_ms(0) <= 100,
        "{}",
        server.largest_gap_ms(0)
    );
    assert_gapless_audio(&world, "one");
    assert!(!world.video[0].open);
}

#[test]
fn a_rendition_that_ends_a_pause_of_the_video_begins_where_the_audio_is() {
    // Keyframes are two seconds apart, so the newest is of another age each time.
    for later_ms in [0, 300, 700, 1_100, 1_500, 1_900] {
        let settings = [("one", always(SMALL)), ("two", always(SMALL))];
        let mut world = on_air(&settings, Codec::Vp8);
        run_s(&mut world, 4);
        let off = ("one", reencoding(Reencode::Off));
        want(&mut world, &[off, ("two", always(SMALL))]);
        run_s(&mut world, 4);
        let paused = world.server("one", 0).video().len();
        world.run_ms(1_000 + later_ms);
        let server = world.server("one", 0);
        assert_eq!(server.video().len(), paused, "audio goes on alone");
        want(&mut world, &settings);
        run_s(&mut world, 4);
        assert_gapless_audio(&world, "one");
        let server = world.server("one", 0);
        server.assert_well_formed();
        assert!(server.video().len() > paused + 30, "video goes on");
        let behind_ms = server.video_behind_audio_ms();
        assert!(behind_ms <= 600, "{later_ms} ms later: {behind_ms} ms");
    }
}

#[test]
fn a_slate_is_shown_in_a_rendition_while_its_publisher_is_away() {
    let mut world = on_air(&[("one", always(HD))], Codec::Vp8);
    want_slate(&mut world, "one");
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
fn a_bit_rate_of_sound_that_nobody_takes_any_more_is_not_made() {
    let quiet = RenditionSpec {
        audio_bps: 64_000,
        ..SMALL
    };
    let mut world = on_air(&[("one", always(quiet))], Codec::H264);
    run_s(&mut world, 3);
    assert_eq!(world.audio_transcoders(), 2);
    want(&mut world, &[("one", always(SMALL))]);
    run_s(&mut world, 6);
    assert_eq!(world.audio_transcoders(), 1);
    want(&mut world, &[("one", always(quiet))]);
    run_s(&mut world, 6);
    assert_eq!(world.audio_transcoders(), 2);
    assert_gapless_audio(&world, "one");
}

#[test]
fn a_destination_that_begins_while_the_publisher_is_away_is_shown_the_slate() {
    let mut world = on_air(&[("one", reencoding(Reencode::Off))], Codec::Vp8);
    run_s(&mut world, 3);
    world.clients[0].dead = true;
    world.command(Command::Unpublish {
        session: session("first"),
    });
    want_slate(&mut world, "two");
    run_s(&mut world, 3);
    assert_eq!(world.video[0].slates, [Bytes::from_static(b"image")]);
    assert!(world.video[0].fills > 10);
}
