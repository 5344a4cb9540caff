//! The network of a viewer decides which rung of the ladder it is sent: it goes down when it has to, and back when
//! it can, at keyframes and once each way. Where there is no ladder nothing is asked of clients, and nothing tried; who
//! came then follows a ladder that is set later.

use std::time::{Duration, Instant};

use shardcast_link::{Command, Event, RenditionSpec, ViewerReport, WantedBroadcast};
use shardcast_sim::bottleneck::{Bottleneck, Way};

use crate::sim::{
    World, broadcast,
    client::{Client, Sends},
    renditions::SMALL,
    session,
    viewer::{Received, Viewer},
};

const FILLER_DATA: u8 = 12;
/// A keyframe begins with its parameter sets (RFC 6184, 5.7.1).
const STAP_A: u8 = 24;
const WAY: Way = Way {
    rate_bps: 4_000_000,
    queue: Duration::from_millis(200),
    delay: Duration::from_millis(40),
    loss_permille: 0,
    burst: 1,
};

/// A show of some 2.5 Mbit/s with this ladder and a viewer on this way.
fn show(ladder: &[RenditionSpec], way: Way) -> World {
    let mut world = World::with_codecs(1_000);
    let mut wanted = WantedBroadcast::new(broadcast());
    wanted.ladder = ladder.to_vec();
    world.command(Command::Want { broadcast: wanted });
    let sends = Sends {
        frame_bytes: 9_000,
        ..Sends::default()
    };
    let client = Client::new(world.now, 4000, sends);
    world.publish("first", client);
    world.run_ms(3_000);
    let mut viewer = Viewer::new(world.now, 6000);
    viewer.way = Some(Bottleneck::new(way, 7));
    world.watch("viewer", viewer);
    world
}

fn set_rate(world: &mut World, rate_bps: u64) {
    let way = world.viewers[0].way.as_mut();
    way.unwrap().way.rate_bps = rate_bps;
}

/// Heights that the viewer went over to.
fn heights(world: &World) -> Vec<u32> {
    let events = world.events.iter();
    let heights = events.filter_map(|event| match event {
        Event::ViewSwitched { height, .. } => Some(*height),
        _ => None,
    });
    heights.collect()
}

fn reports(world: &World) -> Vec<&ViewerReport> {
    let events = world.events.iter();
    let reports = events.filter_map(|event| match event {
        Event::ViewerReport { report, .. } => Some(report),
        _ => None,
    });
    reports.collect()
}

fn is_padding(packet: &Received) -> bool {
    packet.payload.first() == Some(&FILLER_DATA)
}

/// Pictures that could be decoded after `from`, retransmissions included, and the longest pause between two. One is shown
/// when it is there and all that it needs.
fn seen(world: &World, from: Instant) -> (usize, Duration) {
    let mut packets: Vec<&Received> = world.viewers[0].video().collect();
    packets.sort_by_key(|packet| packet.sequence);
    packets.dedup_by_key(|packet| packet.sequence);
    let (mut next, mut is_decodable, mut shown_at) = (None, false, from);
    let (mut count, mut pause) = (0, Duration::ZERO);
    for picture in packets.chunk_by(|a, b| a.time == b.time) {
        let (first, last) = (picture[0], picture[picture.len() - 1]);
        let follows = next == Some(first.sequence);
        next = Some(last.sequence + 1);
        let is_whole = last.marker && last.sequence - first.sequence + 1 == picture.len() as u64;
        let is_key = first.payload[0] & 0x1f == STAP_A;
        is_decodable = is_whole && (is_key || is_decodable && follows);
        let whole_at = picture.iter().map(|packet| packet.at).max().unwrap();
        if is_decodable && whole_at > shown_at {
            pause = pause.max(whole_at - shown_at);
            shown_at = whole_at;
        }
        count += usize::from(is_decodable && whole_at >= from);
    }
    (count, pause)
}

#[test]
fn a_viewer_goes_down_when_its_network_does_and_back_when_that_is_well() {
    let mut world = show(&[SMALL], WAY);
    world.run_ms(10_000);
    assert_eq!(heights(&world), [0; 0]);
    set_rate(&mut world, 1_000_000);
    let fell = world.now;
    assert!(world.run_until(4_000, |world| heights(world) == [360]));
    let down = world.now;
    world.run_ms(17_000);
    assert_eq!(
        heights(&world),
        [360],
        "nothing is tried by changing the video"
    );
    let low = reports(&world).last().unwrap().estimate_bps.unwrap();
    assert!((500_000..1_200_000).contains(&low), "{low}");
    let (pictures, pause) = seen(&world, down + Duration::from_secs(1));
    assert!(pictures >= 16 * 28, "{pictures} pictures in 16 s");
    assert!(pause < Duration::from_millis(500), "{pause:?}");
    set_rate(&mut world, 4_000_000);
    let returned = world.now;
    assert!(world.run_until(20_000, |world| heights(world) == [360, 720]));
    println!(
        "down after {:?}, up after {:?}",
        down - fell,
        world.now - returned
    );
    world.run_ms(30_000);
    assert_eq!(heights(&world), [360, 720]);
    let viewer = &world.viewers[0];
    let padding: Vec<_> = viewer.video().filter(|it| is_padding(it)).collect();
    assert!(padding.len() > 100);
    assert!(
        padding
            .iter()
            .all(|it| it.at > down && it.at < world.now - Duration::from_secs(29))
    );
    assert!(
        reports(&world).len() < 40,
        "control is told every three seconds"
    );
}

#[test]
fn the_picture_stands_still_for_about_a_second_at_most_when_the_rate_falls() {
    let mut worst = Vec::new();
    // At 2.5 Mbit/s a shorter queue would lose of each keyframe, and a longer one never drain. It is well filled before the
    // rate falls, and drains more slowly then: there it is a little more than a second.
    for (from_bps, to_bps, cases) in [
        (
            4_000_000,
            1_000_000,
            vec![(100, 700), (300, 700), (1_000, 700)],
        ),
        (
            4_000_000,
            2_000_000,
            vec![(100, 700), (300, 700), (1_000, 700)],
        ),
        (2_500_000, 800_000, vec![(300, 1_200)]),
    ] {
        for (queue_ms, pause_ms_max) in cases {
            let way = Way {
                rate_bps: from_bps,
                queue: Duration::from_millis(queue_ms),
                ..WAY
            };
            let mut world = show(&[SMALL], way);
            world.run_ms(4_300);
            assert_eq!(heights(&world), [0; 0], "{way:?}");
            let fell = world.now;
            set_rate(&mut world, to_bps);
            let is_down = world.run_until(4_000, |world| heights(world) == [360]);
            let down_ms = (world.now - fell).as_millis();
            world.run_ms(2_500);
            let pause_ms = seen(&world, fell).1.as_millis();
            let is_good = is_down && pause_ms <= pause_ms_max;
            worst.push((from_bps, to_bps, queue_ms, is_good, down_ms, pause_ms));
        }
    }
    assert!(worst.iter().all(|it| it.3), "{worst:?}");
}

#[test]
fn a_rung_that_others_watch_begins_for_a_viewer_wherever_in_its_group_it_is() {
    for phase_ms in [0, 500, 1_000, 1_500] {
        let mut world = show(&[SMALL], WAY);
        let other = Viewer::new(world.now, 6001);
        world.watch("other", other);
        world.command(Command::ViewQuality {
            session: session("other"),
            height: Some(360),
        });
        world.run_ms(4_000 + phase_ms);
        assert_eq!(heights(&world), [360], "the other");
        set_rate(&mut world, 1_000_000);
        let fell = world.now;
        assert!(world.run_until(1_500, |world| heights(world) == [360, 360]));
        world.run_ms(2_000);
        let pause = seen(&world, fell).1;
        assert!(pause < Duration::from_secs(1), "{phase_ms} ms: {pause:?}");
    }
}

#[test]
fn loss_in_bursts_on_a_long_way_changes_nothing_and_pictures_are_mended() {
    let mut worst = Vec::new();
    for (burst, delay_ms) in [(1, 40), (3, 40), (3, 80), (6, 80)] {
        let way = Way {
            rate_bps: 20_000_000,
            loss_permille: 50,
            burst,
            delay: Duration::from_millis(delay_ms),
            ..WAY
        };
        let mut world = show(&[SMALL], way);
        let from = world.now + Duration::from_secs(3);
        world.run_ms(33_000);
        let (pictures, pause) = seen(&world, from);
        let (changes, pause_ms) = (heights(&world).len(), pause.as_millis());
        worst.push((burst, delay_ms, changes, pictures, pause_ms));
    }
    let is_good =
        |it: &(u64, u64, usize, usize, u128)| it.2 == 0 && it.3 >= 30 * 24 && it.4 < 1_000;
    assert!(worst.iter().all(is_good), "{worst:?}");
}

#[test]
fn an_outage_of_a_fifth_of_a_second_is_mended_in_some_round_trips() {
    let way = Way {
        rate_bps: 20_000_000,
        ..WAY
    };
    let mut world = show(&[], way);
    world.run_ms(2_000);
    let from = world.now;
    for _ in 0..5 {
        for (loss_permille, burst, ms) in [(999, 1_000, 200), (0, 1, 2_100)] {
            let way = world.viewers[0].way.as_mut().unwrap();
            (way.way.loss_permille, way.way.burst) = (loss_permille, burst);
            world.run_ms(ms);
        }
    }
    let (pictures, pause) = seen(&world, from);
    assert!(pictures >= 11 * 28, "{pictures} pictures in 11 s");
    assert!(pause < Duration::from_millis(600), "{pause:?}");
}

#[test]
fn who_asks_for_a_height_is_sent_it_whatever_the_network_is() {
    let mut world = show(&[SMALL], WAY);
    world.run_ms(5_000);
    world.command(Command::ViewQuality {
        session: session("viewer"),
        height: Some(720),
    });
    set_rate(&mut world, 1_000_000);
    world.run_ms(15_000);
    assert_eq!(heights(&world), [0; 0]);
    world.command(Command::ViewQuality {
        session: session("viewer"),
        height: None,
    });
    assert!(world.run_until(8_000, |world| heights(world) == [360]));
}

#[test]
fn who_came_before_the_ladder_goes_down_and_back_all_the_same() {
    let mut world = show(&[], WAY);
    world.run_ms(4_000);
    assert_eq!(reports(&world).last().unwrap().estimate_bps, None);
    let mut wanted = WantedBroadcast::new(broadcast());
    wanted.ladder = vec![SMALL];
    world.command(Command::Want { broadcast: wanted });
    world.run_ms(6_000);
    assert!(
        reports(&world).last().unwrap().estimate_bps.is_some(),
        "the viewer is told"
    );
    assert_eq!(heights(&world), [0; 0]);
    set_rate(&mut world, 1_000_000);
    assert!(world.run_until(6_000, |world| heights(world) == [360]));
    world.run_ms(10_000);
    assert_eq!(heights(&world), [360]);
    set_rate(&mut world, 4_000_000);
    assert!(world.run_until(25_000, |world| heights(world) == [360, 720]));
    let told = reports(&world).len();
    assert!(told < 25, "control is told every three seconds: {told}");
}

#[test]
fn without_a_ladder_nothing_is_asked_of_clients_and_nothing_is_tried() {
    const EXTENSION: &str = "transport-wide-cc-extensions";
    for (ladder, asked) in [(vec![SMALL], true), (vec![], false)] {
        let mut world = show(&ladder, WAY);
        let offer = world.view("other", None).unwrap();
        assert_eq!(offer.contains(EXTENSION), asked);
        world.run_ms(5_000);
        let told = reports(&world).last().unwrap().estimate_bps;
        assert_eq!(told.is_some(), asked);
        if !asked {
            set_rate(&mut world, 1_000_000);
            world.run_ms(20_000);
            set_rate(&mut world, 4_000_000);
            world.run_ms(20_000);
            assert_eq!(heights(&world), [0; 0]);
            assert!(!world.viewers[0].video().any(is_padding));
        }
    }
}
