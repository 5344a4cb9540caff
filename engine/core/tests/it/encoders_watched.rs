//! Viewers over WebRTC of an encoder's broadcast: its AAC becomes Opus, gapless and in time, while one of them is
//! there; video that browsers do not take becomes a rendition, while one of them watches it; where that cannot be
//! made they are told why.

use shardcast_link::{Command, ViewEndReason, ViewRefusal, WantedBroadcast};
use shardcast_sim::picture::SPS_720P;

use crate::{
    encoders::Show,
    sim::{
        World, broadcast,
        client::{Client, Sends},
        renditions::run_s,
        session,
        viewer::Viewer,
    },
};

const STAP_A: u8 = 24;

fn world(permille: u32) -> World {
    let mut world = World::with_codecs(permille);
    let broadcast = WantedBroadcast::new(broadcast());
    world.command(Command::Want { broadcast });
    world
}

fn watch(world: &mut World, port: u16) -> usize {
    let viewer = Viewer::new(world.now, port);
    world.watch(&format!("viewer-{port}"), viewer)
}

fn leave(world: &mut World, port: u16) {
    world.command(Command::EndView {
        session: session(&format!("viewer-{port}")),
    });
}

/// Whether each group of pictures that a viewer got was made by a transcoder; in a row once.
fn made(viewer: &Viewer) -> Vec<bool> {
    let sets = viewer.video().filter(|it| it.payload[0] & 0x1f == STAP_A);
    // The encoder's with B-frames is of the main profile.
    let is_made = |sps: &[u8]| !sps.starts_with(SPS_720P) && sps[1] != 0x4D;
    let mut made: Vec<bool> = sets.map(|it| is_made(&it.payload[3..])).collect();
    made.dedup();
    made
}

fn pictures(viewer: &Viewer) -> usize {
    viewer.video().filter(|packet| packet.marker).count()
}

#[test]
fn sound_is_opus_without_a_gap_and_in_the_time_of_the_encoder() {
    let mut world = world(0);
    let mut show = Show::begin(&mut world, "first", 0, false);
    show.run(&mut world, 3);
    assert_eq!(world.aac_decoded, 0, "nobody listens");
    assert_eq!(world.audio_transcoders(), 0);
    let place = watch(&mut world, 6000);
    show.run(&mut world, 10);
    let viewer = &world.viewers[place];
    assert!(pictures(viewer) >= 240);
    let packets: Vec<_> = viewer.audio().collect();
    assert!((480..=502).contains(&packets.len()), "{}", packets.len());
    for two in packets.windows(2) {
        assert_eq!(two[1].sequence, two[0].sequence + 1);
        assert_eq!(two[1].time.wrapping_sub(two[0].time), 960);
    }
    // Each packet tells the frame that it ends in; frames count from the beginning of the show.
    let frame = |index: usize| i64::from(packets[index].payload[2]);
    let first = frame(0);
    for index in [1, 10, 30, 50] {
        let ms = (frame(index) - first).rem_euclid(256) * 1_024_000 / 44_100;
        let said_ms = i64::try_from(index).unwrap() * 20;
        assert!(
            (ms - said_ms).abs() <= 30,
            "{ms} ms of sound in {said_ms} ms"
        );
    }
    let decoded = world.aac_decoded;
    leave(&mut world, 6000);
    show.run(&mut world, 2);
    assert!(world.aac_decoded <= decoded + 3, "nobody listens any more");
    assert_eq!(world.audio_transcoders(), 0);
}

#[test]
fn sound_is_made_once_for_all_and_goes_on_in_silence_while_the_encoder_is_away() {
    let mut world = world(0);
    let mut show = Show::begin(&mut world, "first", 5_000, false);
    show.run(&mut world, 1);
    let places: Vec<usize> = (6000..6004).map(|port| watch(&mut world, port)).collect();
    show.run(&mut world, 4);
    assert_eq!(world.audio_transcoders(), 1);
    world.lose_encoder(show.index);
    run_s(&mut world, 4);
    let mut again = Show::begin(&mut world, "second", 90_000, false);
    again.run(&mut world, 4);
    for place in places {
        let packets: Vec<_> = world.viewers[place].audio().collect();
        assert!(packets.len() > 550, "{}", packets.len());
        let steps = packets
            .windows(2)
            .map(|two| two[1].time.wrapping_sub(two[0].time));
        assert!(steps.max().unwrap() <= 960 * 3, "a hole in the sound");
        let pauses = packets.windows(2).map(|two| two[1].at - two[0].at);
        assert!(pauses.max().unwrap().as_millis() <= 400);
    }
    assert_eq!(world.audio_transcoders(), 1);
}

#[test]
fn sound_goes_forward_when_a_browser_is_followed_by_an_encoder_and_back() {
    for later_ms in 0..20 {
        let mut world = world(0);
        let client = Client::new(world.now, 4000, Sends::default());
        world.publish("first", client);
        world.run_ms(2_000);
        let place = watch(&mut world, 6000);
        world.run_ms(1_000 + later_ms);
        let mut show = Show::begin(&mut world, "second", 0, false);
        show.run(&mut world, 2);
        let client = Client::new(world.now, 4001, Sends::default());
        world.publish("third", client);
        world.run_ms(3_000);
        let packets: Vec<_> = world.viewers[place].audio().collect();
        assert!(packets.len() > 250, "{}", packets.len());
        for two in packets.windows(2) {
            assert_eq!(two[1].sequence, two[0].sequence + 1);
            let step = two[1].time.wrapping_sub(two[0].time);
            assert!((48..=48_000).contains(&step), "{step} ticks");
        }
    }
}

#[test]
fn b_frames_reach_viewers_as_a_rendition_that_is_made_while_they_watch() {
    let mut world = world(1_000);
    let mut show = Show::begin(&mut world, "first", 0, true);
    show.run(&mut world, 3);
    assert!(world.video.is_empty(), "nobody watches");
    let place = watch(&mut world, 6000);
    show.run(&mut world, 6);
    let viewer = &world.viewers[place];
    assert_eq!(made(viewer), [true]);
    assert!(pictures(viewer) >= 120, "{}", pictures(viewer));
    for two in viewer.video().collect::<Vec<_>>().windows(2) {
        assert!(
            two[1].time.wrapping_sub(two[0].time) < 90_000,
            "in the order in which they are shown"
        );
    }
    let renditions = world.latest().broadcasts[0].renditions.clone();
    assert_eq!(renditions.len(), 1);
    assert_eq!((renditions[0].spec.height, renditions[0].viewers), (720, 1));
    assert_eq!(renditions[0].spec.frames_per_second, 25);
    let second = watch(&mut world, 6001);
    show.run(&mut world, 3);
    assert_eq!(world.video.len(), 1, "it is made once");
    assert!(pictures(&world.viewers[second]) >= 60);
    leave(&mut world, 6000);
    leave(&mut world, 6001);
    show.run(&mut world, 3);
    assert!(!world.video[0].open, "nobody watches any more");
}

#[test]
fn who_watches_goes_on_when_b_frames_begin_and_when_they_end() {
    let mut world = world(1_000);
    let mut show = Show::begin(&mut world, "first", 0, false);
    show.run(&mut world, 3);
    let place = watch(&mut world, 6000);
    show.run(&mut world, 4);
    let mut show = Show::begin(&mut world, "second", 0, true);
    show.run(&mut world, 6);
    let mut show = Show::begin(&mut world, "third", 0, false);
    show.run(&mut world, 6);
    let viewer = &world.viewers[place];
    assert_eq!(world.view_ended("viewer-6000"), None);
    assert_eq!(made(viewer), [false, true, false]);
    let mut longest_ms = 0;
    for two in viewer.video().collect::<Vec<_>>().windows(2) {
        assert_eq!(two[1].sequence, two[0].sequence + 1);
        longest_ms = longest_ms.max((two[1].at - two[0].at).as_millis());
    }
    assert!(longest_ms <= 2_500, "{longest_ms} ms without a picture");
}

#[test]
fn without_capacity_b_frames_are_refused_in_words() {
    let mut world = world(0);
    let mut show = Show::begin(&mut world, "first", 0, false);
    show.run(&mut world, 3);
    watch(&mut world, 6000);
    show.run(&mut world, 2);
    let mut show = Show::begin(&mut world, "second", 0, true);
    show.run(&mut world, 3);
    assert_eq!(
        world.view_ended("viewer-6000"),
        Some(ViewEndReason::Unplayable),
        "who watches is told when B-frames begin"
    );
    let refused = world.view("another", None);
    assert_eq!(refused, Err(ViewRefusal::Unplayable));
}
