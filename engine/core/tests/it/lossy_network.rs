//! Proves: a network that loses, delays and reorders costs what it loses and little more. Each lost
//! Opus packet costs its own 20 ms, what arrives late is heard, and pictures are back with the next
//! keyframe, which is asked for at once. A grid of networks below a real WebRTC session.

use shardcast_link::{AudioStatus, VideoStatus};
use shardcast_sim::udp::{Path, Traffic};

use crate::sim::{
    FaultMode, World,
    client::{Client, Sends},
};

const SECONDS: u64 = 12;
/// Opus packets carry so much sound.
const PACKET_MS: u64 = 20;

/// What a network did to a show, and what became of it.
#[derive(Debug)]
struct Outcome {
    audio: AudioStatus,
    audio_lost: u64,
    video: VideoStatus,
    frames_sent: u64,
    keyframe_requests: u64,
}

fn show(path: Path) -> Outcome {
    show_of(Sends::default(), path)
}

fn show_of(sends: Sends, path: Path) -> Outcome {
    let mut world = World::new();
    world.want(&[("one", FaultMode::Well)]);
    let mut client = Client::new(world.now, 40_001, sends);
    client.traffic = Some(Traffic::on(path));
    world.publish("s1", client);
    world.run_ms(SECONDS * 1_000);
    let status = world.latest();
    let client = &world.clients[0];
    let traffic = client.traffic.as_ref().unwrap();
    let publisher = status.broadcasts[0].publisher.clone().unwrap();
    Outcome {
        audio: publisher.audio.unwrap_or_default(),
        audio_lost: traffic.audio_lost,
        video: publisher.video.unwrap(),
        frames_sent: client.frames_sent,
        keyframe_requests: client.keyframe_requests,
    }
}

/// Loss × bursts × delay × jitter, up to what a phone in a train has.
fn grid(reorders: bool) -> impl Iterator<Item = Path> {
    let losses = [0, 10, 30, 50, 100].into_iter();
    let bursts = losses.flat_map(|loss| [1, 3, 5].map(|burst| (loss, burst)));
    let delays = bursts.flat_map(|it| [0, 50, 150].map(|delay| (it, delay)));
    let paths = delays.flat_map(|it| [0, 30, 80].map(|jitter| (it, jitter)));
    let sensible = paths.filter(move |(((loss, burst), _), jitter)| {
        (*loss > 0 || *burst == 1) && (*jitter > 0 || !reorders)
    });
    (1..).zip(sensible).map(
        move |(seed, (((loss_permille, burst), delay_ms), jitter_ms))| Path {
            loss_permille,
            burst,
            delay_ms,
            jitter_ms,
            reorders,
            seed,
            ..Path::default()
        },
    )
}

fn assert_well_formed_costs_what_is_lost(path: Path, outcome: &Outcome) {
    let filled_ms = outcome.audio.samples_filled / 48;
    let allowed_ms = outcome.audio_lost * (PACKET_MS * 3 / 2) + 3 * PACKET_MS;
    assert!(
        filled_ms <= allowed_ms,
        "{path:?}: {} packets lost, {filled_ms} ms concealed or silent",
        outcome.audio_lost
    );
}

#[test]
fn a_lost_packet_costs_its_own_sound_and_pictures_are_mended() {
    let (mut shows, mut sum_percent) = (0, 0);
    for path in grid(false) {
        let outcome = show(path);
        assert_well_formed_costs_what_is_lost(path, &outcome);
        let seen = outcome.video.frames - outcome.video.frames_damaged;
        let percent = 100 * seen / outcome.frames_sent;
        // Of a tenth, and with a round trip of 300 ms, much is not mended before it is due.
        let least = if path.loss_permille > 50 { 20 } else { 50 };
        assert!(
            percent >= least,
            "{path:?}: {percent} % of pictures, {} damaged",
            outcome.video.frames_damaged
        );
        // One in two seconds, repeated where its answer is lost or slow, and one for each hole: not one
        // for each damaged picture.
        let requests_max = 2 * SECONDS + outcome.video.frames_damaged / 4;
        assert!(
            outcome.keyframe_requests <= requests_max,
            "{path:?}: {} keyframe requests for {} damaged pictures",
            outcome.keyframe_requests,
            outcome.video.frames_damaged
        );
        shows += 1;
        sum_percent += percent;
    }
    let mean = sum_percent / shows;
    assert!(mean >= 85, "{mean} % of pictures over all networks");
}

#[test]
fn packets_that_overtake_each_other_are_heard_in_order() {
    for path in grid(true) {
        assert_well_formed_costs_what_is_lost(path, &show(path));
    }
}

/// NACK waits for a datagram that drives it. Ten pictures a second without audio have the fewest.
#[test]
fn pictures_are_mended_where_datagrams_are_few_and_far_between() {
    let sends = Sends {
        audio: false,
        frame_ms: 100,
        ..Sends::default()
    };
    let (mut seen, mut sent) = (0, 0);
    for path in grid(false).filter(|path| path.loss_permille > 0 && path.delay_ms <= 50) {
        let outcome = show_of(sends, path);
        seen += outcome.video.frames - outcome.video.frames_damaged;
        sent += outcome.frames_sent;
    }
    assert!(seen * 100 >= sent * 95, "{seen} of {sent} pictures");
}
