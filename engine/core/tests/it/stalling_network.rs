//! Proves: a network that stalls and then delivers everything at once puts audio out of step with
//! the picture for no longer than it takes to catch up. Below a real WebRTC session, with what a
//! destination is sent.

use shardcast_sim::{
    picture::{Picture, Shows},
    udp::{Path, Stall, Traffic},
};

use crate::sim::{
    FaultMode, World,
    client::{Client, Sends},
};

const BEFORE_MS: u64 = 5_000;
const AFTER_MS: u64 = 10_000;

/// How much later than the picture audio is presented, up to a constant, in milliseconds: what the
/// last Opus packet and the last picture have as times, less those of their capture.
fn audio_behind_picture_ms(world: &World) -> i64 {
    let (number, samples) = *world.audio_decoded.last().unwrap();
    let audio_ms = i64::try_from(samples / 48).unwrap() - i64::from(number) * 20;
    let server = world.server("one", 0);
    let sent = server.video().into_iter().rev().find_map(|message| {
        match Picture::read(&message.payload)?.shows {
            Shows::Sent(number) => Some((number, message.timestamp_ms)),
            _ => None,
        }
    });
    let (number, timestamp_ms) = sent.unwrap();
    let captured_ms = i64::try_from(number * 33_333 / 1_000).unwrap();
    audio_ms - (i64::from(timestamp_ms) - captured_ms)
}

fn offset_ms(path: Path) -> i64 {
    let mut world = World::new();
    world.want(&[("one", FaultMode::Well)]);
    let mut client = Client::new(world.now, 40_001, Sends::default());
    client.traffic = Some(Traffic::on(path));
    world.publish("s1", client);
    world.run_ms(BEFORE_MS - 500);
    let before_ms = audio_behind_picture_ms(&world);
    let stall_ms = path.stall.map_or(0, |stall| stall.ms);
    world.run_ms(500 + stall_ms + AFTER_MS);
    assert_eq!(world.ended("s1"), None, "{path:?}");
    audio_behind_picture_ms(&world) - before_ms
}

#[test]
fn audio_is_in_step_with_the_picture_ten_seconds_after_any_stall() {
    let mut wrong = Vec::new();
    for ms in [300, 500, 1_000, 2_000, 2_800, 4_000, 6_000] {
        for (audio_only, loses_reports) in
            [(false, false), (false, true), (true, false), (true, true)]
        {
            let stall = Stall {
                after_ms: BEFORE_MS,
                ms,
                audio_only,
            };
            let path = Path {
                delay_ms: 30,
                stall: Some(stall),
                loses_reports,
                seed: ms,
                ..Path::default()
            };
            let offset_ms = offset_ms(path);
            if offset_ms.abs() > 80 {
                wrong.push(format!(
                    "{offset_ms} ms after {stall:?}, no reports: {loses_reports}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
