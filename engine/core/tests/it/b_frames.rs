//! A publisher with B-frames: whoever takes its picture as it is gets decoding times that rise and
//! composition times that show every picture when the publisher meant it; whoever does not is given
//! a rendition at once; nobody else notices.

use shardcast_core::rtmp::message::type_id;
use shardcast_link::{Command, Reencode, VideoPath};

use crate::sim::{
    World,
    client::{Client, Sends},
    renditions::{HD, always, assert_gapless_audio, kinds_of_video, reencoding, run_s, want},
    session,
};

const FRAME_MS: i64 = 33;

fn client(world: &World, port: u16, b_frames: bool) -> Client {
    let sends = Sends {
        b_frames,
        ..Sends::default()
    };
    Client::new(world.now, port, sends)
}

/// When each picture is decoded and shown, in milliseconds; in the order of decoding.
fn times_ms(world: &World, name: &str) -> Vec<(i64, i64)> {
    let pictures = world.server(name, 0).video();
    let times = pictures.iter().map(|message| {
        let [a, b, c] = [2, 3, 4].map(|at| message.payload[at]);
        let cts_ms = i64::from(i32::from_be_bytes([a, b, c, 0]) >> 8);
        let dts_ms = i64::from(message.timestamp_ms);
        (dts_ms, dts_ms + cts_ms)
    });
    times.collect()
}

/// Decoding times rise, no picture is decoded after it is shown, and without those that may be
/// missing at changes they are shown a frame apart.
fn assert_order(times_ms: &[(i64, i64)], gap_ms_max: i64) {
    for two in times_ms.windows(2) {
        assert!(two[0].0 < two[1].0, "{two:?}");
    }
    assert!(times_ms.iter().all(|(dts_ms, pts_ms)| dts_ms <= pts_ms));
    let mut shown_ms: Vec<i64> = times_ms.iter().map(|(_, pts_ms)| *pts_ms).collect();
    shown_ms.sort_unstable();
    // Behind the last P-frame some may not have come yet.
    shown_ms.truncate(shown_ms.len() - 3);
    for two in shown_ms.windows(2) {
        let gap_ms = two[1] - two[0];
        assert!((1..=gap_ms_max).contains(&gap_ms), "{two:?}");
    }
}

#[test]
fn b_frames_are_passed_on_with_their_composition_times_where_re_encoding_is_off() {
    let mut world = World::new();
    want(&mut world, &[("off", reencoding(Reencode::Off))]);
    let client = client(&world, 4000, true);
    world.publish("first", client);
    run_s(&mut world, 10);
    let times = times_ms(&world, "off");
    assert!(times.len() > 200, "{} pictures", times.len());
    // A keyframe comes when it is asked for, between two pictures of the encoder's clock.
    assert_order(&times, 2 * FRAME_MS);
    let later = times.iter().filter(|(dts_ms, pts_ms)| pts_ms > dts_ms);
    assert!(later.count() * 4 > times.len());
    assert!(times.iter().all(|(dts, pts)| pts - dts <= 4 * FRAME_MS));
    assert_gapless_audio(&world, "off");
    let off = world.destination("off").video.unwrap();
    assert_eq!(off.path, VideoPath::Passthrough);
}

#[test]
fn a_contract_without_b_frames_slips_to_a_rendition_at_once() {
    let mut world = World::with_codecs(900);
    want(&mut world, &[("auto", reencoding(Reencode::Auto))]);
    let client = client(&world, 4000, true);
    world.publish("first", client);
    world.run_ms(800);
    assert_eq!(world.video.len(), 1, "it has not slipped");
    run_s(&mut world, 8);
    assert!(kinds_of_video(&world, "auto").ends_with(&[true]));
    assert_order(&times_ms(&world, "auto"), 5 * FRAME_MS);
    assert_gapless_audio(&world, "auto");
    let auto = world.destination("auto").video.unwrap();
    assert!(auto.reason.contains("B-frames"), "{}", auto.reason);
}

#[test]
fn a_change_between_a_rendition_and_b_frames_keeps_times_and_order() {
    let mut world = World::with_codecs(900);
    want(&mut world, &[("one", always(HD))]);
    let client = client(&world, 4000, true);
    world.publish("first", client);
    run_s(&mut world, 6);
    for picture in [
        reencoding(Reencode::Off),
        always(HD),
        reencoding(Reencode::Off),
    ] {
        want(&mut world, &[("one", picture)]);
        run_s(&mut world, 6);
    }
    assert_eq!(kinds_of_video(&world, "one"), [true, false, true, false]);
    assert_order(&times_ms(&world, "one"), 6 * FRAME_MS);
    assert_gapless_audio(&world, "one");
    assert_eq!(world.connections("one"), 1);
}

#[test]
fn publishers_with_and_without_b_frames_follow_each_other_on_one_connection() {
    let mut world = World::new();
    want(&mut world, &[("off", reencoding(Reencode::Off))]);
    for (n, b_frames) in [true, false, true].into_iter().enumerate() {
        let client = client(&world, 4000 + n as u16, b_frames);
        world.publish(["first", "second", "third"][n], client);
        run_s(&mut world, 5);
        world.clients[n].dead = true;
        let session = session(["first", "second", "third"][n]);
        world.command(Command::Unpublish { session });
        run_s(&mut world, 3);
    }
    let times = times_ms(&world, "off");
    assert_order(&times, 300);
    assert_gapless_audio(&world, "off");
    assert_eq!(world.connections("off"), 1);
    assert!(world.server("off", 0).sequence_headers(type_id::VIDEO) >= 3);
}
