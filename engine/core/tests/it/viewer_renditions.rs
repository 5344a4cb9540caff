//! Viewers are sent rungs of the ladder: those that ask for one, from a keyframe on, without a gap and
//! without a pause. A rung is made once, while somebody watches it, and never at the cost of a destination.

use std::time::Duration;

use shardcast_link::{Command, Event, RenditionSpec, WantedBroadcast};
use shardcast_sim::picture::SPS_720P;

use crate::sim::{
    World, broadcast,
    client::{Client, Sends},
    renditions::{HD, SMALL, always, run_s},
    session,
    viewer::Viewer,
};

const STAP_A: u8 = 24;

fn want(world: &mut World, ladder: &[RenditionSpec]) {
    let mut wanted = WantedBroadcast::new(broadcast());
    wanted.ladder = ladder.to_vec();
    world.command(Command::Want { broadcast: wanted });
}

fn live(permille: u32, ladder: &[RenditionSpec]) -> World {
    let mut world = World::with_codecs(permille);
    want(&mut world, ladder);
    let client = Client::new(world.now, 4000, Sends::default());
    world.publish("first", client);
    world.run_ms(3_000);
    world
}

fn watch(world: &mut World, port: u16) -> usize {
    let viewer = Viewer::new(world.now, port);
    world.watch(&format!("viewer-{port}"), viewer)
}

fn pin(world: &mut World, port: u16, height: Option<u32>) {
    world.command(Command::ViewQuality {
        session: session(&format!("viewer-{port}")),
        height,
    });
}

/// Who made the video that a viewer got, one after the other: true for a rendition.
fn kinds(viewer: &Viewer) -> Vec<bool> {
    let sets = viewer.video().filter(|it| it.payload[0] & 0x1f == STAP_A);
    let mut kinds: Vec<bool> = sets
        .map(|it| it.payload[3..3 + SPS_720P.len()] != *SPS_720P)
        .collect();
    kinds.dedup();
    kinds
}

fn assert_smooth(viewer: &Viewer) {
    let packets: Vec<_> = viewer.video().collect();
    for pair in packets.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence + 1);
        let ticks = pair[1].time.wrapping_sub(pair[0].time);
        assert!(ticks <= 90 * 150, "{ticks} ticks from picture to picture");
        let pause = pair[1].at - pair[0].at;
        assert!(
            pause <= Duration::from_millis(150),
            "{pause:?} without video"
        );
    }
}

fn switches(world: &World) -> Vec<u32> {
    let events = world.events.iter();
    let heights = events.filter_map(|event| match event {
        Event::ViewSwitched { height, .. } => Some(*height),
        _ => None,
    });
    heights.collect()
}

#[test]
fn a_viewer_gets_the_height_that_it_asks_for_and_the_source_again_without_a_pause() {
    let mut world = live(1_000, &[SMALL]);
    let place = watch(&mut world, 6000);
    run_s(&mut world, 3);
    pin(&mut world, 6000, Some(360));
    run_s(&mut world, 6);
    assert_eq!(switches(&world), [360]);
    let renditions = world.latest().broadcasts[0].renditions.clone();
    assert_eq!(renditions.len(), 1);
    assert_eq!((renditions[0].viewers, renditions[0].destinations), (1, 0));
    pin(&mut world, 6000, None);
    run_s(&mut world, 6);
    let viewer = &world.viewers[place];
    assert_eq!(kinds(viewer), [false, true, false]);
    assert_smooth(viewer);
    assert_eq!(switches(&world), [720], "since the status was asked for");
    assert!(world.latest().broadcasts[0].renditions.is_empty());
    assert!(!world.video[0].open, "nobody watches what it makes");
}

#[test]
fn a_rung_is_made_once_for_all_that_watch_it_and_takes_no_aac() {
    let small = RenditionSpec {
        audio_bps: 64_000,
        ..SMALL
    };
    let mut world = live(1_000, &[small]);
    let places: Vec<usize> = (6000..6006).map(|port| watch(&mut world, port)).collect();
    world.run_ms(1_000);
    for port in 6000..6005 {
        pin(&mut world, port, Some(400));
    }
    run_s(&mut world, 5);
    assert_eq!(world.video.len(), 1);
    assert_eq!(world.video[0].renditions(), [small]);
    assert!(world.audio_bps.is_empty(), "viewers take Opus");
    assert_eq!(world.latest().broadcasts[0].renditions[0].viewers, 5);
    for (index, place) in places.into_iter().enumerate() {
        let viewer = &world.viewers[place];
        let expected: &[bool] = if index < 5 { &[false, true] } else { &[false] };
        assert_eq!(kinds(viewer), expected);
        assert_smooth(viewer);
        assert!(viewer.audio().count() > 200);
    }
    for port in 6000..6005 {
        world.command(Command::EndView {
            session: session(&format!("viewer-{port}")),
        });
    }
    run_s(&mut world, 2);
    assert!(!world.video[0].open);
}

#[test]
fn without_capacity_or_ladder_viewers_stay_on_the_source_and_the_status_says_why() {
    for (permille, ladder, words) in [
        (0, vec![SMALL], "re-encodes nothing"),
        (1_000, vec![], "ladder"),
    ] {
        let mut world = live(permille, &ladder);
        let place = watch(&mut world, 6000);
        pin(&mut world, 6000, Some(360));
        run_s(&mut world, 4);
        assert_eq!(kinds(&world.viewers[place]), [false]);
        assert_smooth(&world.viewers[place]);
        let problem = world.latest().broadcasts[0].viewers_problem.clone();
        assert!(problem.unwrap().contains(words));
        pin(&mut world, 6000, None);
        run_s(&mut world, 1);
        assert_eq!(world.latest().broadcasts[0].viewers_problem, None);
    }
}

#[test]
fn a_destination_and_viewers_share_a_rung_and_viewers_leave_a_quarter_of_the_capacity() {
    use shardcast_link::{DestinationId, WantedDestination};
    let mut world = live(400, &[HD, SMALL]);
    watch(&mut world, 6000);
    watch(&mut world, 6001);
    let large = RenditionSpec { height: 718, ..HD };
    want(&mut world, &[large, SMALL]);
    pin(&mut world, 6000, Some(718));
    run_s(&mut world, 3);
    let problem = world.latest().broadcasts[0].viewers_problem.clone();
    assert!(
        problem.is_some_and(|it| it.contains("no room")),
        "of 300 permille"
    );
    pin(&mut world, 6000, None);
    pin(&mut world, 6001, Some(360));
    world.add_hosts(&[("one", crate::sim::FaultMode::Well)]);
    let mut wanted = WantedBroadcast::new(broadcast());
    wanted.ladder = vec![SMALL];
    wanted.destinations.push(WantedDestination {
        video: always(SMALL),
        ..WantedDestination::new(DestinationId("one".into()), "rtmp://one/app/key".into())
    });
    world.command(Command::Want { broadcast: wanted });
    run_s(&mut world, 5);
    let renditions = world.latest().broadcasts[0].renditions.clone();
    assert_eq!(renditions.len(), 1);
    assert_eq!((renditions[0].viewers, renditions[0].destinations), (1, 1));
    world.server("one", 0).assert_well_formed();
}

#[test]
fn a_rung_of_viewers_ends_where_a_destination_needs_what_it_takes_and_comes_back_with_the_room() {
    use shardcast_link::{DestinationId, WantedDestination};
    // 2.4 ms of decoding and 8.1 of scaling and encoding at 720p: 72 and 243 permille; a quarter of that for a rung of 360p.
    let mut world = live(340, &[SMALL]);
    let place = watch(&mut world, 6000);
    pin(&mut world, 6000, Some(360));
    run_s(&mut world, 4);
    assert_eq!(switches(&world), [360]);
    let status = world.latest();
    let rung = &status.broadcasts[0].renditions[0];
    assert!(rung.yields);
    assert!(status.codec.yielding_permille > 0);
    let ladder_and = |video| {
        let mut wanted = WantedBroadcast::new(broadcast());
        wanted.ladder = vec![SMALL];
        let id = DestinationId("one".into());
        wanted.destinations.push(WantedDestination {
            video,
            ..WantedDestination::new(id, "rtmp://one/app/key".into())
        });
        Command::Want { broadcast: wanted }
    };
    world.add_hosts(&[("one", crate::sim::FaultMode::Well)]);
    world.command(ladder_and(always(HD)));
    let problem = world.latest().broadcasts[0].viewers_problem.clone();
    assert!(problem.is_some_and(|it| it.contains("destinations need")));
    run_s(&mut world, 4);
    let status = world.latest();
    let renditions = &status.broadcasts[0].renditions;
    assert_eq!(renditions.len(), 1, "{renditions:?}");
    assert_eq!(
        (renditions[0].spec.height, renditions[0].destinations),
        (720, 1)
    );
    assert!(!renditions[0].yields);
    assert_eq!(kinds(&world.viewers[place]), [false, true, false]);
    // Viewers get none back before there is room, and then they do.
    run_s(&mut world, 10);
    assert_eq!(world.latest().broadcasts[0].renditions.len(), 1);
    world.command(ladder_and(shardcast_link::VideoSettings::default()));
    // The publisher's video is passed through again after half a minute; until then the encoder has the capacity.
    run_s(&mut world, 45);
    let viewer = &world.viewers[place];
    assert_eq!(kinds(viewer), [false, true, false, true]);
    assert_smooth(viewer);
    world.server("one", 0).assert_well_formed();
}
