//! A preview is made of a keyframe that has not been shown, once in a period and one at a time; not by a shard that
//! has no time to spare, and only while control wants them.

use bytes::Bytes;
use shardcast_link::{Command, PreviewFormat, WantedBroadcast, WantedPreview};

use crate::sim::{
    World, broadcast,
    client::{Client, Sends},
};

fn want(world: &mut World, is_wanted: bool) {
    let preview = WantedPreview {
        period_ms: 5_000,
        height: 480,
        format: PreviewFormat::Jpg,
    };
    let broadcast = WantedBroadcast {
        preview: is_wanted.then_some(preview),
        ..WantedBroadcast::new(broadcast())
    };
    world.command(Command::Want { broadcast });
}

fn on_air() -> World {
    let mut world = World::new();
    want(&mut world, false);
    let client = Client::new(world.now, 4000, Sends::default());
    world.publish("first", client);
    world.run_ms(3_000);
    world
}

/// Runs for so long, and answers each job within a second.
fn run_s(world: &mut World, seconds: usize) {
    for _ in 0..seconds {
        let before = world.preview_jobs.len();
        world.run_ms(1_000);
        if world.preview_jobs.len() > before {
            world.answer_preview(Ok(Bytes::from_static(b"a picture")));
        }
    }
}

#[test]
fn one_is_made_in_a_period_of_the_newest_keyframe_and_none_before_the_last_is_there() {
    let mut world = on_air();
    assert!(world.preview_jobs.is_empty());
    want(&mut world, true);
    world.run_ms(1_000);
    let [job] = world.preview_jobs.as_slice() else {
        panic!("{:?}", world.preview_jobs);
    };
    assert_eq!((job.height, job.format), (480, PreviewFormat::Jpg));
    assert_eq!(job.record.first(), Some(&1));
    assert!(shardcast_core::is_keyframe(
        shardcast_link::VideoCodec::H264,
        &job.keyframe
    ));
    world.run_ms(12_000);
    assert_eq!(world.preview_jobs.len(), 1, "the first is not made yet");
    world.answer_preview(Err("it cannot be decoded".to_owned()));
    assert!(world.previews.is_empty());
    run_s(&mut world, 21);
    let made = world.previews.len();
    assert!((4..=5).contains(&made), "{made} in 21 s");
    assert!(
        world
            .previews
            .is_sorted_by(|a, b| a.head.at_unix_ms < b.head.at_unix_ms)
    );
    let last = world.previews.last().unwrap();
    assert_eq!(last.head.broadcast, broadcast());
    assert_eq!(last.file, "a picture");
}

#[test]
fn a_shard_without_time_to_spare_makes_none() {
    let mut world = on_air();
    world.shard.set_cpu_permille(900);
    want(&mut world, true);
    run_s(&mut world, 12);
    assert!(world.preview_jobs.is_empty());
    world.shard.set_cpu_permille(300);
    run_s(&mut world, 6);
    assert!(!world.previews.is_empty());
}

#[test]
fn one_that_comes_when_it_is_not_wanted_any_more_is_not_handed_over() {
    let mut world = on_air();
    want(&mut world, true);
    world.run_ms(500);
    assert_eq!(world.preview_jobs.len(), 1);
    want(&mut world, false);
    world.answer_preview(Ok(Bytes::from_static(b"late")));
    world.run_ms(10_000);
    assert!(world.previews.is_empty());
    assert_eq!(world.preview_jobs.len(), 1);
}
