//! A client that publishes offers again: with a track more or less, after an ICE restart, or with
//! something that is no offer. The session goes on, and destinations notice nothing but its media.

use shardcast_link::Command;
use str0m::media::{Direction, MediaKind};

use crate::sim::{
    FaultMode, World,
    client::{Client, Sends},
    session,
};

fn live(sends: Sends) -> World {
    let mut world = World::new();
    world.want(&[("one", FaultMode::Well)]);
    let client = Client::new(world.now, 4000, sends);
    world.publish("first", client);
    world.run_ms(3_000);
    world
}

fn sound_alone() -> Sends {
    Sends {
        video: false,
        ..Sends::default()
    }
}

/// Offers with a camera more; the words of refusal, if any.
fn add_video(world: &mut World) -> Option<String> {
    let mut mid = None;
    world.clients[0].offer_again(|change| {
        let direction = Direction::SendOnly;
        mid = Some(change.add_media(MediaKind::Video, direction, None, None, None));
    });
    let refusal = world.renegotiate("first", 0);
    if refusal.is_none() {
        world.clients[0].video = mid;
        world.clients[0].resize(false);
    }
    refusal
}

/// Offers without the track of this kind.
fn remove(world: &mut World, kind: MediaKind) {
    let client = &mut world.clients[0];
    let track = match kind {
        MediaKind::Video => client.video.take(),
        MediaKind::Audio => client.audio.take(),
    };
    client.offer_again(|change| change.set_direction(track.unwrap(), Direction::Inactive));
    assert_eq!(world.renegotiate("first", 0), None);
}

/// Media that the destination gets in `ms`: pictures and audio frames.
fn media_in(world: &mut World, ms: u64) -> (usize, usize) {
    let count = |world: &World| {
        let server = world.server("one", 0);
        (server.video().len(), server.audio().len())
    };
    let before = count(world);
    world.run_ms(ms);
    let after = count(world);
    (after.0 - before.0, after.1 - before.1)
}

fn assert_undisturbed(world: &World) {
    assert_eq!(world.ended("first"), None);
    assert!(!world.clients[0].is_disconnected);
    assert_eq!(world.connections("one"), 1);
    world.server("one", 0).assert_well_formed();
}

#[test]
fn a_camera_that_is_turned_on_later_is_sent_with_the_sound_that_is_there() {
    let mut world = live(sound_alone());
    assert_eq!(media_in(&mut world, 1_000).0, 0);
    assert_eq!(add_video(&mut world), None);
    world.run_ms(1_000);
    let (pictures, frames) = media_in(&mut world, 4_000);
    assert!(
        (115..=125).contains(&pictures),
        "{pictures} pictures in 4 s"
    );
    assert!(
        (180..=195).contains(&frames),
        "{frames} audio frames in 4 s"
    );
    assert_undisturbed(&world);
    let server = world.server("one", 0);
    let (video, audio) = (server.video(), server.audio());
    let apart = i64::from(video.last().unwrap().timestamp_ms)
        - i64::from(audio.last().unwrap().timestamp_ms);
    assert!(apart.abs() <= 150, "{apart} ms apart");
}

#[test]
fn sound_that_is_removed_becomes_silence_beside_the_picture() {
    let mut world = live(Sends::default());
    remove(&mut world, MediaKind::Audio);
    world.run_ms(1_000);
    let (pictures, frames) = media_in(&mut world, 4_000);
    assert!(
        (115..=125).contains(&pictures),
        "{pictures} pictures in 4 s"
    );
    assert!(
        (170..=205).contains(&frames),
        "{frames} audio frames in 4 s"
    );
    assert_undisturbed(&world);
}

#[test]
fn a_camera_can_be_turned_off_and_another_one_on() {
    let mut world = live(Sends::default());
    remove(&mut world, MediaKind::Video);
    let (_, frames) = media_in(&mut world, 6_000);
    assert!(
        (270..=290).contains(&frames),
        "{frames} audio frames in 6 s"
    );
    let requests = world.clients[0].keyframe_requests;
    assert_eq!(add_video(&mut world), None);
    world.run_ms(1_500);
    let (pictures, _) = media_in(&mut world, 4_000);
    assert!(
        (115..=125).contains(&pictures),
        "{pictures} pictures in 4 s"
    );
    let asked = world.clients[0].keyframe_requests - requests;
    assert!(asked <= 5, "{asked} keyframe requests in 5.5 s");
    assert_undisturbed(&world);
}

#[test]
fn a_second_camera_is_used_when_the_first_is_removed() {
    let mut world = live(Sends::default());
    let first = world.clients[0].video;
    assert_eq!(add_video(&mut world), None);
    // The client sends one camera at a time: the first, which is the one in use.
    let second = std::mem::replace(&mut world.clients[0].video, first);
    let (pictures, _) = media_in(&mut world, 2_000);
    assert!(pictures >= 55, "{pictures} pictures in 2 s");
    remove(&mut world, MediaKind::Video);
    world.clients[0].video = second;
    world.clients[0].resize(false);
    world.run_ms(500);
    let (pictures, _) = media_in(&mut world, 4_000);
    assert!(
        (115..=125).contains(&pictures),
        "{pictures} pictures in 4 s"
    );
    assert_undisturbed(&world);
}

#[test]
fn after_an_ice_restart_media_comes_from_another_address() {
    let mut world = live(Sends::default());
    let ufrag = world.clients[0].remote_ufrag.clone();
    world.clients[0].offer_again(|change| {
        change.ice_restart(false);
    });
    assert_eq!(world.renegotiate("first", 0), None);
    world.clients[0].move_to(4_999);
    assert_ne!(world.clients[0].remote_ufrag, ufrag);
    world.run_ms(1_000);
    // Longer than a session without connectivity lives.
    let (pictures, frames) = media_in(&mut world, 20_000);
    assert!(
        (590..=610).contains(&pictures),
        "{pictures} pictures in 20 s"
    );
    assert!(
        (930..=945).contains(&frames),
        "{frames} audio frames in 20 s"
    );
    assert_undisturbed(&world);
    let publisher = world.latest().broadcasts.remove(0).publisher.unwrap();
    assert_eq!(publisher.remote, world.clients[0].address.to_string());
    assert_eq!(publisher.session, session("first"));
}

#[test]
fn what_is_no_offer_of_the_session_is_refused_and_changes_nothing() {
    let mut world = live(Sends::default());
    let good = world.clients[0].offer.clone();
    let restarted = good.replace("a=ice-ufrag:", "a=ice-ufrag:another");
    let sections: Vec<&str> = restarted.split("\r\nm=").collect();
    let reordered = format!("{}\r\nm={}\r\nm={}", sections[0], sections[2], sections[1]);
    let other_certificate = Client::new(world.now, 4_001, Sends::default()).offer;
    let offers = [
        String::new(),
        "v=0\r\n".into(),
        "\0\u{fffd}".into(),
        "m=video\r\n".repeat(1_000),
        reordered,
        restarted.replace("a=group:BUNDLE", "a=group:BUNDLE zz"),
        restarted.replace("a=mid:", "a=mid:x"),
        restarted.replace("m=audio", "m=text"),
        restarted.replace("a=ice-pwd", "a=nothing"),
        other_certificate,
    ];
    for (n, sdp) in offers.into_iter().enumerate() {
        let words = world.renegotiate_with("first", sdp);
        let words = words.unwrap_or_else(|| panic!("offer {n} was taken"));
        assert!(words.starts_with("the SDP offer "), "{words}");
        assert!(!words.contains("0x") && words.len() < 120, "{words}");
        let (pictures, frames) = media_in(&mut world, 1_000);
        assert!(pictures >= 28 && frames >= 44, "{n}: {pictures}, {frames}");
    }
    // Longer than a session without connectivity lives.
    let (pictures, _) = media_in(&mut world, 20_000);
    assert!(
        (590..=610).contains(&pictures),
        "{pictures} pictures in 20 s"
    );
    assert_undisturbed(&world);
    let mut world = live(sound_alone());
    assert!(world.renegotiate_with("first", String::new()).is_some());
    assert_eq!(add_video(&mut world), None, "a good one behind a bad one");
}

#[test]
fn an_offer_for_a_session_that_is_over_is_refused() {
    let mut world = live(Sends::default());
    let sdp = world.clients[0].offer.clone();
    assert!(world.renegotiate_with("nobody", sdp.clone()).is_some());
    world.command(Command::Unpublish {
        session: session("first"),
    });
    let words = world.renegotiate_with("first", sdp);
    assert_eq!(words.as_deref(), Some("the session is over: publish again"));
}
