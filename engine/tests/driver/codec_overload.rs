//! What is too much for a codec worker is left out and a keyframe asked for; neighbours lose nothing,
//! and what is closed is not heard of again.

use std::time::Duration;

use shardcast_core::io::{
    Output, RenditionId, VideoJob, VideoResult, VideoTranscoderId, VideoTranscoderReport,
};
use shardcast_link::{Preset, RenditionSpec};

use crate::{
    rig::{Rig, Seen},
    test_clip::TestClip,
};

const FLOODED: VideoTranscoderId = VideoTranscoderId::numbered(1);
const NEIGHBOUR: VideoTranscoderId = VideoTranscoderId::numbered(2);

/// More than may wait.
const FLOOD: usize = 400;

/// Has the whole clip decoded, and gives the report on it.
fn report_of(rig: &Rig, transcoder: VideoTranscoderId, frames: u64) -> VideoTranscoderReport {
    loop {
        match rig.next() {
            Seen::Video(of, VideoResult::Report(report))
                if of == transcoder && report.frames >= frames =>
            {
                return report;
            }
            Seen::Video(of, VideoResult::KeyframeWanted) => assert_ne!(of, transcoder),
            _ => {}
        }
    }
}

#[test]
fn a_flooded_transcoder_requests_a_keyframe_and_its_neighbour_loses_nothing() {
    let rig = Rig::encoding(111);
    let (mut flood, mut clip) = (TestClip::new(), TestClip::new());
    rig.ask(clip.open(NEIGHBOUR, RenditionId(2)));
    let jobs = flood.open(FLOODED, RenditionId(1));
    let unit = flood.decode(FLOODED, false);
    let copies = (0..FLOOD).map(|_| match &unit {
        Output::Video(job) => Output::Video(job.clone()),
        other => panic!("{other:?}"),
    });
    rig.ask(jobs.into_iter().chain(copies));
    let mut wanted = false;
    // Keyframes only, one at a time: those are decoded however long the machine is busy elsewhere.
    for _ in 0..20 {
        rig.ask([clip.decode(NEIGHBOUR, true)]);
        while let Some(seen) = rig.next_within(Duration::from_millis(30)) {
            match seen {
                Seen::Video(FLOODED, VideoResult::KeyframeWanted) => wanted = true,
                Seen::Video(NEIGHBOUR, VideoResult::KeyframeWanted) => panic!("it lost something"),
                _ => {}
            }
        }
    }
    assert!(wanted);
    let report = report_of(&rig, NEIGHBOUR, 21);
    assert_eq!((report.frames, report.errors), (21, 0));

    // The next keyframe opens the queue again.
    while rig.next_within(Duration::from_millis(20)).is_some() {}
    rig.ask([flood.decode(FLOODED, true)]);
    let report = report_of(&rig, FLOODED, 2);
    assert!(report.late > 100, "{report:?}");
}

#[test]
fn a_thread_that_cannot_keep_up_gives_up_presets_and_goes_on() {
    let rig = Rig::encoding(113);
    let mut clip = TestClip::new();
    let transcoder = FLOODED;
    rig.ask(clip.open(transcoder, RenditionId(0)));
    let spec = RenditionSpec {
        preset: Preset::Faster,
        ..RenditionSpec::of_height(1_080)
    };
    // Some 200 ms of work for each picture.
    let renditions = (1..=4).map(|id| (RenditionId(id), spec)).collect();
    rig.ask([Output::Video(VideoJob::Renditions {
        transcoder,
        renditions,
    })]);
    let (mut key, mut faster, mut made) = (false, false, 0);
    while !faster || made == 0 {
        let Some(seen) = rig.next_within(Duration::from_millis(33)) else {
            rig.ask([clip.decode(transcoder, key)]);
            key = false;
            continue;
        };
        match seen {
            Seen::Video(_, VideoResult::KeyframeWanted) => key = true,
            Seen::Video(_, VideoResult::Report(report)) => {
                let made = &report.renditions;
                faster = made.iter().any(|made| made.preset < Preset::Faster);
            }
            Seen::Video(_, VideoResult::Encoded(_)) if faster => made += 1,
            Seen::Video(_, VideoResult::Encoded(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_transcoder_that_is_closed_while_busy_gives_no_more_results() {
    let rig = Rig::encoding(112);
    let (mut busy, mut clip) = (TestClip::new(), TestClip::new());
    let mut jobs = busy.open(FLOODED, RenditionId(1));
    jobs.extend((0..FLOOD).map(|_| busy.decode(FLOODED, false)));
    jobs.push(Output::Video(VideoJob::Close {
        transcoder: FLOODED,
    }));
    jobs.push(busy.decode(FLOODED, true));
    rig.ask(jobs);
    rig.ask(clip.open(NEIGHBOUR, RenditionId(2)));
    loop {
        match rig.next() {
            Seen::Video(FLOODED, result) => panic!("{result:?}"),
            Seen::Video(NEIGHBOUR, VideoResult::Report(report)) if report.frames > 0 => break,
            _ => {}
        }
    }
}
