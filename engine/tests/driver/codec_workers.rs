//! Codec workers exist from the first transcoder to the end of their shard, at a lower priority.

use std::{fs, time::Instant};

use shardcast_core::io::{Output, RenditionId, VideoJob, VideoResult, VideoTranscoderId};

use crate::{
    rig::{PATIENCE, Rig, Seen},
    test_clip::TestClip,
};

const TRANSCODER: VideoTranscoderId = VideoTranscoderId::numbered(1);

/// `SCHED_IDLE` of sched(7).
const SCHED_IDLE: i64 = 5;

/// Nice value and scheduling policy of the threads of this name (proc_pid_stat(5), fields 19 and 41).
fn threads(name: &str) -> Vec<(i64, i64)> {
    let stats = fs::read_dir("/proc/self/task").unwrap().flatten();
    let stats = stats.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
    stats
        .filter(|stat| stat.contains(&format!("({name})")))
        .map(|stat| {
            let (_, rest) = stat.rsplit_once(") ").unwrap();
            let field = |number: usize| rest.split(' ').nth(number - 3).unwrap().parse().unwrap();
            (field(19), field(41))
        })
        .collect()
}

fn wait_for_report(rig: &Rig) {
    loop {
        if let Seen::Video(TRANSCODER, VideoResult::Report(_)) = rig.next() {
            return;
        }
    }
}

#[test]
fn a_codec_worker_begins_with_the_first_transcoder_and_ends_with_the_shard() {
    let rig = Rig::encoding(131);
    assert_eq!(threads("codec-131-0"), []);
    rig.ask([Output::Video(VideoJob::Open {
        transcoder: TRANSCODER,
    })]);
    wait_for_report(&rig);
    let found = threads("codec-131-0");
    let [(nice, policy)] = found[..] else {
        panic!("{found:?}");
    };
    let shard = threads("shard-131");
    let is_behind = |of_shard: i64| policy == SCHED_IDLE || nice == (of_shard + 10).min(19);
    assert!(
        !shard.is_empty() && shard.iter().all(|(nice, _)| is_behind(*nice)),
        "{found:?} {shard:?}"
    );

    rig.stop();
    assert!(rig.ended().result.is_ok());
    // The channel to the shard closes before the executor is dropped.
    let end = Instant::now() + PATIENCE;
    while !threads("codec-131-0").is_empty() {
        assert!(Instant::now() < end, "it goes on");
        std::thread::yield_now();
    }
}

#[test]
fn a_shard_that_stops_does_not_wait_for_all_that_its_codecs_have_waiting() {
    let rig = Rig::encoding(132);
    let mut clip = TestClip::new();
    let jobs = clip.open(TRANSCODER, RenditionId(1));
    let queue: Vec<_> = (0..200).map(|_| clip.decode(TRANSCODER, true)).collect();
    rig.ask(jobs.into_iter().chain(queue));
    rig.stop();
    assert!(rig.ended().result.is_ok());
    let end = Instant::now() + PATIENCE;
    while !threads("codec-132-0").is_empty() {
        assert!(Instant::now() < end, "it goes on");
        std::thread::yield_now();
    }
}
