//! Viewers over WebRTC: each begins at a keyframe at once, gets every packet of every picture in order
//! and in time, goes on while the publisher is away, and leaves nothing behind.

use shardcast_link::{Command, Event, ViewEndReason, ViewRefusal};
use str0m::format::Codec;

use crate::sim::{
    FaultMode, World,
    client::{Client, Sends},
    session,
    viewer::{Received, Viewer},
};

const STAP_A: u8 = 24;

fn live() -> World {
    live_with(Sends::default())
}

fn live_with(sends: Sends) -> World {
    live_within(1_000, sends)
}

/// With so many thousandths of a core for video codecs.
fn live_within(permille: u32, sends: Sends) -> World {
    let mut world = World::with_codecs(permille);
    world.want(&[("one", FaultMode::Well)]);
    let client = Client::new(world.now, 4000, sends);
    world.publish("first", client);
    world.run_ms(3_000);
    world
}

fn watch(world: &mut World, port: u16) -> usize {
    let viewer = Viewer::new(world.now, port);
    world.watch(&format!("viewer-{port}"), viewer)
}

fn assert_gapless<'a>(packets: impl Iterator<Item = &'a Received>) -> usize {
    let numbers: Vec<u64> = packets.map(|packet| packet.sequence).collect();
    for pair in numbers.windows(2) {
        assert_eq!(pair[1], pair[0] + 1);
    }
    numbers.len()
}

/// Pictures that have come whole.
fn pictures(viewer: &Viewer) -> usize {
    viewer.video().filter(|packet| packet.marker).count()
}

#[test]
fn a_viewer_begins_with_a_keyframe_and_misses_no_packet() {
    let mut world = live();
    let place = watch(&mut world, 6000);
    world.run_ms(10_000);
    let viewer = &world.viewers[place];
    let first = viewer.video().next().expect("video has come");
    assert_eq!(first.payload[0] & 0x1f, STAP_A, "parameter sets are first");
    assert!(assert_gapless(viewer.video()) > 1_000);
    let pictures = pictures(viewer);
    assert!((295..=420).contains(&pictures), "{pictures} in ten seconds");
}

#[test]
fn a_viewer_that_offers_itself_gets_the_same() {
    let mut world = live();
    let viewer = Viewer::new(world.now, 6000);
    let place = world.watch_by_whep("viewer", viewer);
    world.run_ms(5_000);
    let viewer = &world.viewers[place];
    assert!(pictures(viewer) > 140);
    assert_gapless(viewer.video());
}

#[test]
fn a_viewer_that_restarts_ice_goes_on_from_another_address() {
    let mut world = live();
    let viewer = Viewer::new(world.now, 6000);
    let place = world.watch_by_whep("viewer", viewer);
    world.run_ms(2_000);
    let offer = world.viewers[place].restart(6007);
    let name = session("viewer");
    for sdp in ["v=0", offer.as_str()] {
        world.command(Command::Renegotiate {
            session: name.clone(),
            sdp: sdp.to_owned(),
        });
    }
    let refused = |event: &Event| matches!(event, Event::NotRenegotiated { .. });
    assert!(world.events.iter().any(refused));
    let mut events = world.events.iter().rev();
    let answer = events.find_map(|event| match event {
        Event::ViewDescribed { sdp, .. } => Some(sdp.clone()),
        _ => None,
    });
    let now = world.now;
    world.viewers[place].accept(now, &answer.expect("it is answered"));
    let before = pictures(&world.viewers[place]);
    world.run_ms(5_000);
    assert!(pictures(&world.viewers[place]) > before + 140);
    assert_eq!(world.latest().broadcasts[0].viewers, 1);
    assert_eq!(world.view_ended("viewer"), None);
}

#[test]
fn the_first_picture_does_not_wait_for_the_next_keyframe() {
    for late_ms in [0, 700, 1_500] {
        let mut world = live();
        world.run_ms(late_ms);
        let place = watch(&mut world, 6000);
        let came = world.run_until(500, |world| pictures(&world.viewers[place]) > 0);
        assert!(came, "{late_ms} ms behind a keyframe");
    }
}

#[test]
fn pictures_are_as_far_apart_in_time_as_the_publisher_sent_them() {
    let mut world = live();
    let place = watch(&mut world, 6000);
    world.run_ms(5_000);
    let viewer = &world.viewers[place];
    let times: Vec<u32> = viewer
        .video()
        .filter(|it| it.marker)
        .map(|it| it.time)
        .collect();
    let live = &times[times.len() - 100..];
    for pair in live.windows(2) {
        let ticks = pair[1].wrapping_sub(pair[0]);
        assert!((2_700..=3_300).contains(&ticks), "{ticks} ticks");
    }
}

#[test]
fn how_the_media_of_a_viewer_arrives_is_reported_every_three_seconds() {
    let mut world = live();
    let place = watch(&mut world, 6000);
    world.run_ms(7_000);
    world.viewers[place].lose_every = 20;
    world.run_ms(7_000);
    let reports = world.events.iter().filter_map(|event| match event {
        Event::ViewerReport { report, .. } => Some(report),
        _ => None,
    });
    let reports: Vec<_> = reports.collect();
    assert!(
        (4..=5).contains(&reports.len()),
        "{} reports",
        reports.len()
    );
    let well = reports[1];
    assert_eq!(well.remote, "127.0.0.1:6000");
    assert!((28..=32).contains(&well.frames_per_second), "{well:?}");
    assert!(
        (1_000_000..=2_000_000).contains(&well.video_bps),
        "{well:?}"
    );
    assert_eq!((well.packets_lost, well.loss_permille), (0, Some(0)));
    assert!(well.rtt_ms.is_some_and(|ms| ms < 50), "{well:?}");
    let lossy = reports[reports.len() - 1];
    assert!(lossy.packets_lost > 0 && lossy.nacks > 0, "{lossy:?}");
    assert!(lossy.loss_permille.is_some());
}

#[test]
fn opus_goes_through_untouched_and_without_a_gap() {
    let mut world = live();
    let place = watch(&mut world, 6000);
    world.run_ms(5_000);
    let viewer = &world.viewers[place];
    let packets = assert_gapless(viewer.audio());
    assert!((230..=260).contains(&packets), "{packets} in five seconds");
    let audio: Vec<&Received> = viewer.audio().collect();
    for pair in audio.windows(2) {
        assert_eq!(pair[1].time.wrapping_sub(pair[0].time), 960);
    }
    // The packets of the publisher are numbered.
    let number = |packet: &Received| u32::from_be_bytes(packet.payload[2..6].try_into().unwrap());
    for pair in audio.windows(2) {
        assert_eq!(number(pair[1]), number(pair[0]) + 1);
    }
}

#[test]
fn silence_is_heard_while_the_publisher_is_away() {
    let mut world = live();
    let place = watch(&mut world, 6000);
    world.run_ms(1_000);
    world.clients[0].dead = true;
    world.command(Command::Unpublish {
        session: session("first"),
    });
    world.run_ms(1_000);
    let before = world.viewers[place].audio().count();
    world.run_ms(5_000);
    let silent = world.viewers[place].audio().count() - before;
    assert!(silent > 200, "{silent} packets in five seconds");
    assert_gapless(world.viewers[place].audio());
}

#[test]
fn viewers_get_the_same_pictures_as_a_destination_and_cost_it_nothing() {
    let mut alone = live();
    alone.run_ms(10_000);
    let mut world = live();
    for port in 6000..6010 {
        watch(&mut world, port);
    }
    world.run_ms(10_000);
    let server = world.server("one", 0);
    server.assert_well_formed();
    let expected = alone.server("one", 0).pictures().len();
    assert!(server.pictures().len().abs_diff(expected) <= 2);
    for viewer in &world.viewers {
        assert!(pictures(viewer) > 290);
        assert_gapless(viewer.video());
    }
}

#[test]
fn a_publisher_that_is_away_is_filled_in_and_viewers_go_on_when_it_returns() {
    let mut world = live();
    let place = watch(&mut world, 6000);
    world.run_ms(2_000);
    world.clients[0].dead = true;
    world.command(Command::Unpublish {
        session: session("first"),
    });
    let before = pictures(&world.viewers[place]);
    world.run_ms(5_000);
    let filler = pictures(&world.viewers[place]) - before;
    assert!(
        filler > 10,
        "{filler} pictures while the publisher was away"
    );
    let client = Client::new(world.now, 4001, Sends::default());
    world.publish("second", client);
    world.run_ms(500);
    let before = pictures(&world.viewers[place]);
    world.run_ms(3_000);
    assert!(pictures(&world.viewers[place]) - before > 80);
    assert_gapless(world.viewers[place].video());
    assert_eq!(world.view_ended("viewer-6000"), None);
}

#[test]
fn the_end_of_the_broadcast_is_the_end_of_its_viewers() {
    let mut world = live();
    watch(&mut world, 6000);
    world.run_ms(1_000);
    world.command(Command::Forget {
        broadcast: crate::sim::broadcast(),
    });
    assert_eq!(
        world.view_ended("viewer-6000"),
        Some(ViewEndReason::BroadcastEnded)
    );
    assert_eq!(world.view("late", None), Err(ViewRefusal::NotOnAir));
}

#[test]
fn video_that_was_turned_off_comes_back_with_a_keyframe_and_without_a_gap() {
    let mut world = live();
    let place = watch(&mut world, 6000);
    world.run_ms(1_300);
    let tracks = |video| Command::ViewTracks {
        session: session("viewer-6000"),
        video,
        audio: true,
    };
    world.command(tracks(false));
    world.run_ms(100);
    let before = world.viewers[place].video().count();
    world.run_ms(1_000);
    assert_eq!(world.viewers[place].video().count(), before);
    world.command(tracks(true));
    world.run_ms(300);
    let viewer = &world.viewers[place];
    let again = viewer.video().nth(before).expect("video came back");
    assert_eq!(again.payload[0] & 0x1f, STAP_A);
    assert_gapless(viewer.video());
}

#[test]
fn viewers_are_counted_and_one_that_leaves_is_told_and_forgotten() {
    let mut world = live();
    let place = watch(&mut world, 6000);
    watch(&mut world, 6001);
    world.run_ms(500);
    let count = |world: &mut World| world.latest().broadcasts[0].viewers;
    assert_eq!(count(&mut world), 2);
    world.command(Command::EndView {
        session: session("viewer-6001"),
    });
    assert_eq!(count(&mut world), 1);
    let now = world.now;
    world.viewers[place].close(now);
    world.run_ms(100);
    assert_eq!(
        world.view_ended("viewer-6000"),
        Some(ViewEndReason::PeerClosed)
    );
    assert_eq!(count(&mut world), 0);
}

#[test]
fn what_browsers_cannot_play_is_refused_in_words_where_it_cannot_be_re_encoded() {
    for sends in [
        Sends {
            codec: Codec::Vp8,
            ..Sends::default()
        },
        Sends {
            b_frames: true,
            ..Sends::default()
        },
    ] {
        let mut world = live_within(1, sends);
        assert_eq!(world.view("viewer", None), Err(ViewRefusal::Unplayable));
        let told = world.events.iter().rev().find_map(|event| match event {
            Event::ViewRefused { problem, .. } => Some(problem.message.clone()),
            _ => None,
        });
        let told = told.unwrap();
        assert!(
            told.contains("publisher") && told.contains("no room"),
            "{told}"
        );
    }
}
