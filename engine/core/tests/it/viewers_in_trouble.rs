//! Viewers that stall, lose packets, flood requests or never finish their handshake: they are dropped
//! or served, within bounds, and neither other viewers nor destinations notice.

use shardcast_link::{
    Command, DestinationId, EndReason, RenditionSpec, ViewEndReason, ViewRefusal, WantedBroadcast,
    WantedDestination,
};

use crate::sim::{
    FaultMode, World, broadcast,
    client::{Client, Sends},
    session,
    viewer::Viewer,
};

fn live() -> World {
    let mut world = World::new();
    world.want(&[("one", FaultMode::Well)]);
    let client = Client::new(world.now, 4000, Sends::default());
    world.publish("first", client);
    world.run_ms(3_000);
    world
}

fn live_with_data() -> World {
    let mut world = live();
    let mut wanted = WantedBroadcast::new(broadcast());
    wanted.data.is_enabled = true;
    world.command(Command::Want { broadcast: wanted });
    world
}

fn watch(world: &mut World, port: u16) -> usize {
    let viewer = Viewer::new(world.now, port);
    world.watch(&format!("viewer-{port}"), viewer)
}

#[test]
fn a_viewer_that_falls_silent_is_dropped_and_delays_nobody() {
    let mut world = live();
    let dead = watch(&mut world, 6000);
    let well = watch(&mut world, 6001);
    world.run_ms(1_000);
    world.viewers[dead].dead = true;
    let before = world.viewers[well].video().filter(|it| it.marker).count();
    assert!(world.run_until(60_000, |world| world.view_ended("viewer-6000").is_some()));
    assert_eq!(world.view_ended("viewer-6000"), Some(ViewEndReason::Lost));
    let viewer = &world.viewers[well];
    let arrivals: Vec<_> = viewer
        .video()
        .filter(|it| it.marker)
        .map(|it| it.at)
        .collect();
    for pair in arrivals[before..].windows(2) {
        let apart = pair[1] - pair[0];
        assert!(apart.as_millis() < 60, "{apart:?} between pictures");
    }
    world.server("one", 0).assert_well_formed();
}

#[test]
fn a_viewer_that_never_finishes_its_handshake_is_dropped() {
    let mut world = live();
    world.view("viewer", None).unwrap();
    world.run_ms(9_000);
    assert_eq!(world.view_ended("viewer"), None);
    world.run_ms(1_500);
    assert_eq!(
        world.view_ended("viewer"),
        Some(ViewEndReason::StartTimeout)
    );
}

#[test]
fn viewers_that_begin_and_do_not_go_on_are_bounded_and_their_places_come_back() {
    let mut world = live();
    let mut taken = 0;
    while world.view(&format!("idle-{taken}"), None).is_ok() {
        taken += 1;
        assert!(taken < 10_000, "nothing bounds them");
    }
    assert_eq!(world.view("late", None), Err(ViewRefusal::Full));
    world.run_ms(11_000);
    world.events.clear();
    assert!(world.view("later", None).is_ok());
    // A publisher has places of its own.
    world.publish("second", Client::new(world.now, 4001, Sends::default()));
}

#[test]
fn packets_that_are_lost_are_sent_again() {
    let mut world = live();
    let place = watch(&mut world, 6000);
    world.run_ms(1_000);
    world.viewers[place].lose_every = 20;
    world.run_ms(5_000);
    world.viewers[place].lose_every = 0;
    world.run_ms(500);
    let mut numbers: Vec<u64> = world.viewers[place].video().map(|it| it.sequence).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let span = numbers.last().unwrap() - numbers[0] + 1;
    let missing = span - numbers.len() as u64;
    assert!(missing * 1_000 < span, "{missing} of {span} never came");
}

/// The share of what is sent again is known every 50 ms, and what is asked for in between is sent.
#[test]
fn a_client_that_repeats_its_nacks_is_sent_what_is_kept_for_it_about_once() {
    let mut world = live();
    let place = watch(&mut world, 6000);
    world.run_ms(1_000);
    world.viewers[place].lose_every = 2;
    world.viewers[place].rtcp_times = 300;
    for _ in 0..10 {
        let before = world.viewers[place].repeated;
        world.run_ms(300);
        let repeated = world.viewers[place].repeated - before;
        // 300 KB, 0.6 MB for 300 ms, and 1.1 KB a packet.
        assert!(repeated < 900, "{repeated} packets are sent again");
    }
    assert_eq!(world.view_ended("viewer-6000"), None);
}

#[test]
fn keyframe_requests_of_all_viewers_reach_the_publisher_once_a_second() {
    let mut world = live();
    let places = [watch(&mut world, 6000), watch(&mut world, 6001)];
    world.run_ms(1_000);
    let before = world.clients[0].keyframe_requests;
    for _ in 0..100 {
        let now = world.now;
        for place in places {
            world.viewers[place].request_keyframe(now);
        }
        world.run_ms(50);
    }
    let requests = world.clients[0].keyframe_requests - before;
    // Five seconds: five of viewers, and those that are due anyway.
    assert!((4..=9).contains(&requests), "{requests} requests");
}

#[test]
fn an_answer_that_is_none_ends_the_viewer() {
    let mut world = live();
    world.view("viewer", None).unwrap();
    world.command(Command::ViewAnswer {
        session: session("viewer"),
        sdp: "v=0\r\n".into(),
    });
    assert_eq!(
        world.view_ended("viewer"),
        Some(ViewEndReason::BadDescription)
    );
    assert_eq!(
        world.view("other", Some("hush".into())),
        Err(ViewRefusal::BadDescription)
    );
}

/// The stack below looks at each stream with each packet of media.
#[test]
fn a_peer_that_sends_on_streams_without_end_is_ended_and_one_with_some_channels_is_not() {
    let mut world = live_with_data();
    let places = [6000, 6001, 6002].map(|port| watch(&mut world, port));
    world.run_ms(1_000);
    let [hostile, many, well] = places;
    world.viewers[hostile].messages.flood(100..1_100);
    world.viewers[many].messages.flood(20..30);
    world.run_ms(2_000);
    assert_eq!(
        world.view_ended("viewer-6000"),
        Some(ViewEndReason::PeerClosed)
    );
    for port in [6001, 6002] {
        assert_eq!(world.view_ended(&format!("viewer-{port}")), None);
    }
    let numbers: Vec<u64> = world.viewers[well].video().map(|it| it.sequence).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
    world.clients[0].messages.flood(60_000..60_050);
    world.run_ms(2_000);
    assert_eq!(world.ended("first"), Some(EndReason::PeerClosed));
}

/// str0m panics at feedback whose deltas are of another size than its chunks say.
#[test]
fn a_viewer_whose_feedback_makes_str0m_panic_is_ended_and_harms_nobody() {
    let mut world = World::with_codecs(1_000);
    world.add_hosts(&[("one", FaultMode::Well)]);
    let mut wanted = WantedBroadcast::new(broadcast());
    let (id, url) = (DestinationId("one".into()), "rtmp://one/app/key-of-one");
    wanted
        .destinations
        .push(WantedDestination::new(id, url.to_owned()));
    // Where there is a ladder, clients are asked for reports of each packet.
    wanted.ladder = vec![RenditionSpec::of_height(360)];
    world.command(Command::Want { broadcast: wanted });
    let client = Client::new(world.now, 4000, Sends::default());
    world.publish("first", client);
    world.run_ms(3_000);
    let hostile = Viewer::hostile(world.now, 6000);
    let hostile = world.watch("viewer-6000", hostile);
    let well = watch(&mut world, 6001);
    world.run_ms(2_000);
    assert!(world.viewers[hostile].video().count() > 30);
    let before = world.viewers[well].video().filter(|it| it.marker).count();
    world.viewers[hostile].send_hostile_feedback();
    world.run_ms(3_000);
    assert_eq!(
        world.view_ended("viewer-6000"),
        Some(ViewEndReason::Internal)
    );
    assert_eq!(world.view_ended("viewer-6001"), None);
    assert_eq!(world.ended("first"), None);
    let pictures: Vec<_> = world.viewers[well].video().filter(|it| it.marker).collect();
    assert!(pictures.len() > before + 80);
    for pair in pictures[before..].windows(2) {
        let apart = pair[1].at - pair[0].at;
        assert!(apart.as_millis() < 60, "{apart:?} between pictures");
    }
    let server = world.server("one", 0);
    server.assert_well_formed();
    assert!(server.largest_gap_ms(0) <= 34);
    // Others come as before.
    let next = watch(&mut world, 6002);
    world.run_ms(1_000);
    assert!(world.viewers[next].video().count() > 10);
}
