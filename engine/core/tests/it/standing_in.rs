//! While the publisher sends nothing of use, destinations get pictures of ours: the last one again,
//! or the slate, on time, with keyframes to begin at, on the same connection and clock.

use crate::sim::{
    FaultMode, World, broadcast,
    client::{Client, Sends},
    session,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use shardcast_core::{
    io::{StillFrame, StillFrameSource},
    rtmp::message::type_id,
};
use shardcast_link::{
    Command, DestinationId, DestinationState, Event, WantedBroadcast, WantedDestination,
};
use shardcast_sim::picture::{PPS, SPS_360P};

/// No more than this between two pictures.
const GAP_MS_MAX: u32 = 200;

fn on_air() -> World {
    let mut world = World::new();
    world.want(&[("one", FaultMode::Well)]);
    let client = Client::new(world.now, 4000, Sends::default());
    world.publish("first", client);
    world.run_ms(5_000);
    world
}

fn lost(world: &mut World) {
    world.clients[0].dead = true;
    world.run_ms(200);
    world.command(Command::Unpublish {
        session: session("first"),
    });
}

fn returns(world: &mut World, sends: Sends) {
    let client = Client::new(world.now, 4001, sends);
    world.publish("second", client);
    world.run_ms(3_000);
}

/// A broadcast with one destination and a slate of this name.
fn with_slate(name: &str) -> Command {
    let mut wanted = WantedBroadcast::new(broadcast());
    wanted.destinations.push(WantedDestination::new(
        DestinationId("one".into()),
        "rtmp://one/app/key-of-one".into(),
    ));
    wanted.slate = Some(name.into());
    Command::Want { broadcast: wanted }
}

fn slate(name: &str, image: &[u8]) -> Command {
    Command::Slate {
        broadcast: broadcast(),
        name: name.into(),
        image_base64: BASE64.encode(image),
    }
}

/// Coded under parameter sets of its own.
fn picture() -> StillFrame {
    StillFrame {
        sps: Bytes::from_static(SPS_360P),
        pps: Bytes::from_static(PPS),
        slices: vec![Bytes::from_static(&[
            0x65, 0x88, 0x84, 0x21, 0xaa, 0xbb, 0xcc,
        ])],
    }
}

/// How far picture and sound are apart at the end, in milliseconds.
fn apart_ms(world: &World) -> i64 {
    let server = world.server("one", 0);
    let last = |messages: Vec<&shardcast_core::rtmp::Message>| {
        i64::from(messages.last().unwrap().timestamp_ms)
    };
    last(server.video()) - last(server.audio())
}

#[test]
fn an_absence_of_any_length_leaves_no_hole_and_no_step() {
    for ms in [600, 1_000, 10_000, 45_000] {
        let mut world = on_air();
        lost(&mut world);
        world.run_ms(ms);
        returns(&mut world, Sends::default());
        let server = world.server("one", 0);
        server.assert_well_formed();
        let gap_ms = server.largest_gap_ms(0);
        assert!(gap_ms <= GAP_MS_MAX, "{gap_ms} ms after {ms} ms away");
        assert_eq!(world.connections("one"), 1);
        assert_eq!(server.sequence_headers(type_id::VIDEO), 1);
        assert!((-100..=100).contains(&apart_ms(&world)), "{ms}");
    }
}

#[test]
fn a_publisher_that_is_only_silent_is_stood_in_for_before_it_is_given_up() {
    let mut world = on_air();
    world.clients[0].dead = true;
    world.run_ms(3_000);
    assert!(world.latest().broadcasts[0].filler);
    let server = world.server("one", 0);
    assert!(server.largest_gap_ms(0) <= GAP_MS_MAX);
    assert!(server.audio().len() > 300, "no silence with it");
    world.clients[0].dead = false;
    world.run_ms(2_000);
    assert!(!world.latest().broadcasts[0].filler);
    let server = world.server("one", 0);
    server.assert_well_formed();
    assert!(server.largest_gap_ms(0) <= GAP_MS_MAX);
}

#[test]
fn sound_without_pictures_gets_pictures() {
    let mut world = on_air();
    world.clients[0].no_video = true;
    world.run_ms(5_000);
    let server = world.server("one", 0);
    assert!(server.largest_gap_ms(0) <= GAP_MS_MAX);
    assert!(apart_ms(&world).abs() <= 200);
}

#[test]
fn keyframes_go_on_and_a_destination_that_returns_begins_on_one() {
    let mut world = on_air();
    lost(&mut world);
    world.run_ms(20_000);
    let times = world.server("one", 0).keyframe_times_ms();
    let apart = times.windows(2).map(|two| two[1] - two[0]).max().unwrap();
    assert!((1_900..=4_200).contains(&apart), "{apart} ms apart");
    let mut wanted = WantedBroadcast::new(broadcast());
    for name in ["one", "two"] {
        wanted.destinations.push(WantedDestination::new(
            DestinationId(name.into()),
            format!("rtmp://{name}/app/key-of-{name}"),
        ));
    }
    world.set_mode("two", FaultMode::Well);
    world.command(Command::Want { broadcast: wanted });
    world.run_ms(1_000);
    let server = world.server("two", 0);
    server.assert_well_formed();
    assert!(server.video().len() > 15, "{}", server.video().len());
    assert_eq!(world.destination("two").state, DestinationState::Holding);
}

#[test]
fn a_keyframe_that_is_sent_again_is_not_taken_for_one_of_the_publishers() {
    // `idr_pic_id` is 0 in all of them, as many encoders have it.
    const PUBLISHED: [u8; 4] = [0x65, 0x88, 0x84, 0xff];
    let mut world = on_air();
    let slice = |body: &Bytes| body.slice(9..13);
    let keyframes = |world: &World| -> Vec<Bytes> {
        let pictures = world.server("one", 0).pictures().into_iter();
        pictures.filter(|body| body[0] == 0x17).collect()
    };
    let before = keyframes(&world);
    assert!(before.iter().all(|body| slice(body) == PUBLISHED[..]));
    lost(&mut world);
    world.run_ms(7_000);
    let after = keyframes(&world);
    let again = &after[before.len()..];
    assert!(again.len() >= 2, "{}", again.len());
    assert!(again.iter().all(|body| slice(body) != PUBLISHED[..]));
}

#[test]
fn destinations_that_come_while_sound_alone_is_published_begin_on_a_keyframe() {
    let mut world = on_air();
    lost(&mut world);
    world.run_ms(1_000);
    let sends = Sends {
        video: false,
        ..Sends::default()
    };
    returns(&mut world, sends);
    // At any moment between two pictures and two packets.
    let names = ["one", "two", "three", "four", "five", "six", "seven"];
    for count in 2..=names.len() {
        let hosts: Vec<_> = names[..count]
            .iter()
            .map(|it| (*it, FaultMode::Well))
            .collect();
        world.want(&hosts);
        world.run_ms(607);
    }
    world.run_ms(1_500);
    for name in names {
        let server = world.server(name, 0);
        server.assert_well_formed();
        assert!(server.video().len() > 30, "{}", server.video().len());
    }
}

#[test]
fn the_last_picture_is_asked_for_once_and_shown_at_each_keyframe() {
    let mut world = on_air();
    lost(&mut world);
    world.run_ms(100);
    let StillFrameSource::LastOf { access_units, .. } = &world.stills[0].source else {
        panic!("{:?}", world.stills);
    };
    assert!(
        (1..=70).contains(&access_units.len()),
        "{}",
        access_units.len()
    );
    assert_eq!(access_units[0][4], 0x65, "does not begin with an IDR");
    assert_eq!(
        (world.stills[0].target.width, world.stills[0].target.height),
        (1280, 720)
    );
    world.answer_still(Ok(picture()));
    world.run_ms(8_000);
    assert_eq!(world.stills.len(), 1);
    let server = world.server("one", 0);
    server.assert_well_formed();
    let shown = server.pictures();
    let times = shown
        .iter()
        .filter(|body| body.ends_with(&[0xaa, 0xbb, 0xcc]));
    assert!(times.count() >= 3);
    // It came under other parameter sets, which were told before it.
    assert_eq!(server.sequence_headers(type_id::VIDEO), 2);
    returns(&mut world, Sends::default());
    let server = world.server("one", 0);
    server.assert_well_formed();
    assert_eq!(server.sequence_headers(type_id::VIDEO), 3);
    assert!(server.largest_gap_ms(0) <= GAP_MS_MAX);
}

#[test]
fn a_slate_is_shown_at_once_while_the_publisher_is_away_and_not_otherwise() {
    let mut world = on_air();
    world.command(with_slate("blue"));
    world.command(slate("blue", b"a file"));
    world.run_ms(1_500);
    assert_eq!(world.latest().broadcasts[0].slate.as_deref(), Some("blue"));
    assert!(world.stills.is_empty());
    lost(&mut world);
    world.run_ms(100);
    let StillFrameSource::Image(image) = &world.stills[0].source else {
        panic!("{:?}", world.stills);
    };
    assert_eq!(&image[..], b"a file");
    world.answer_still(Ok(picture()));
    world.run_ms(400);
    let shown = |world: &World| {
        let pictures = world.server("one", 0).pictures();
        let slates = pictures
            .iter()
            .filter(|body| body.ends_with(&[0xaa, 0xbb, 0xcc]));
        slates.count()
    };
    assert_eq!(shown(&world), 1);

    world.command(with_slate("red"));
    world.command(slate("red", b"another"));
    world.run_ms(100);
    let newest = &world.stills.last().unwrap().source;
    assert!(matches!(newest, StillFrameSource::Image(image) if image == "another"));
    world.answer_still(Err("not an image".into()));
    world.run_ms(6_000);
    world.server("one", 0).assert_well_formed();
    assert!(world.server("one", 0).largest_gap_ms(0) <= GAP_MS_MAX);
}

#[test]
fn a_slate_that_is_none_or_is_not_wanted_changes_nothing() {
    let mut world = on_air();
    world.command(with_slate("blue"));
    world.command(slate("green", b"not wanted"));
    world.command(Command::Slate {
        broadcast: broadcast(),
        name: "blue".into(),
        image_base64: "!!".into(),
    });
    assert_eq!(world.latest().broadcasts[0].slate, None);
    world.command(slate("blue", b"a file"));
    world.want(&[("one", FaultMode::Well)]);
    assert_eq!(world.latest().broadcasts[0].slate, None);
}

#[test]
fn another_size_after_the_absence_brings_its_own_header() {
    let mut world = on_air();
    lost(&mut world);
    world.run_ms(3_000);
    let sends = Sends {
        small: true,
        ..Sends::default()
    };
    returns(&mut world, sends);
    let server = world.server("one", 0);
    server.assert_well_formed();
    assert_eq!(server.sequence_headers(type_id::VIDEO), 2);
    assert!(server.largest_gap_ms(0) <= GAP_MS_MAX);
    assert_eq!(world.connections("one"), 1);
}

#[test]
fn a_longer_hold_counts_while_it_lasts() {
    let mut world = on_air();
    lost(&mut world);
    world.run_ms(50_000);
    let mut wanted = WantedBroadcast::new(broadcast());
    wanted.destinations.push(WantedDestination::new(
        DestinationId("one".into()),
        "rtmp://one/app/key-of-one".into(),
    ));
    wanted.hold_ms = 3_600_000;
    world.command(Command::Want { broadcast: wanted });
    world.run_ms(60_000);
    assert_eq!(world.destination("one").state, DestinationState::Holding);
}

#[test]
fn a_slate_is_coded_once_and_stays_until_the_first_picture_of_who_returns() {
    let mut world = on_air();
    world.command(with_slate("blue"));
    world.command(slate("blue", b"a file"));
    lost(&mut world);
    world.run_ms(100);
    world.answer_still(Ok(picture()));
    world.run_ms(3_000);
    let mut client = Client::new(world.now, 4001, Sends::default());
    client.no_video = true;
    world.publish("second", client);
    world.run_ms(5_000);
    let shown = world.server("one", 0).pictures();
    let keyframes: Vec<_> = shown.iter().filter(|body| body[0] == 0x17).collect();
    assert!(keyframes.last().unwrap().ends_with(&[0xaa, 0xbb, 0xcc]));
    world.clients[1].no_video = false;
    world.run_ms(2_000);
    world.clients[1].dead = true;
    world.command(Command::Unpublish {
        session: session("second"),
    });
    world.run_ms(1_000);
    assert_eq!(world.stills.len(), 1, "coded again");
    let shown = world.server("one", 0).pictures();
    let slates = shown
        .iter()
        .filter(|body| body.ends_with(&[0xaa, 0xbb, 0xcc]));
    assert!(slates.count() >= 5);
    world.server("one", 0).assert_well_formed();
}

#[test]
fn sound_alone_that_breaks_off_is_silence_within_half_a_second() {
    let mut world = World::new();
    world.want(&[("one", FaultMode::Well)]);
    let sends = Sends {
        video: false,
        ..Sends::default()
    };
    let client = Client::new(world.now, 4000, sends);
    world.publish("first", client);
    world.run_ms(4_000);
    world.clients[0].dead = true;
    let before = world.server("one", 0).audio().len();
    world.run_ms(5_000);
    let audio = world.server("one", 0).audio();
    assert!(
        audio.len() > before + 190,
        "{} frames",
        audio.len() - before
    );
    let gaps = audio
        .windows(2)
        .map(|two| two[1].timestamp_ms - two[0].timestamp_ms);
    assert!(gaps.max().unwrap() <= 25);
}

#[test]
fn a_publisher_of_few_pictures_is_not_taken_for_an_absent_one() {
    let mut world = World::new();
    world.want(&[("one", FaultMode::Well)]);
    let sends = Sends {
        audio: false,
        frame_ms: 500,
        ..Sends::default()
    };
    let client = Client::new(world.now, 4000, sends);
    world.publish("first", client);
    world.run_ms(10_000);
    let from = world.server("one", 0).video().len();
    let requests = world.clients[0].keyframe_requests;
    world.run_ms(20_000);
    assert_eq!(world.server("one", 0).video().len() - from, 40);
    assert!(world.clients[0].keyframe_requests - requests <= 11);
}

#[test]
fn a_destination_says_since_when_it_holds() {
    let mut world = on_air();
    lost(&mut world);
    world.run_ms(100);
    let told = world.events.iter().any(|event| {
        matches!(event, Event::Destination { status, .. } if status.state == DestinationState::Holding)
    });
    assert!(told, "nobody was told");
    let held = world.destination("one");
    world.run_ms(2_000);
    let later = world.destination("one");
    assert_eq!(held.since_unix_ms, later.since_unix_ms);
    assert!(held.since_unix_ms >= 1_700_000_005_000);
}

#[test]
fn the_last_picture_is_made_from_its_whole_group_though_a_keyframe_was_sent_since() {
    let mut world = on_air();
    world.clients[0].no_video = true;
    // Audio goes on. A destination that begins meanwhile is sent the keyframe of the group again.
    world.run_ms(1_700);
    world.want(&[("one", FaultMode::Well), ("two", FaultMode::Well)]);
    let asked = world.run_until(3_000, |world| !world.stills.is_empty());
    assert!(asked, "no still frame was asked for");
    assert_eq!(world.server("two", 0).sequence_headers(type_id::VIDEO), 1);
    let StillFrameSource::LastOf { access_units, .. } = &world.stills[0].source else {
        panic!("{:?}", world.stills[0].source);
    };
    assert!(access_units.len() > 1, "its keyframe alone");
}
