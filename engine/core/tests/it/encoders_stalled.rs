//! The line of an encoder stalls until filler takes the place of what it holds back, and then brings everything
//! at once. The show goes on where it is by then: at its pace, with audio and video together, as late as before.

use bytes::Bytes;
use shardcast_core::rtmp::message::type_id;

use crate::{
    encoders::{AAC, Show, received, world},
    sim::World,
};

/// Half a frame of AAC, and one and a half, of 23.2 ms; times are rounded to milliseconds.
const AUDIO_STEPS_MS: std::ops::RangeInclusive<u32> = 11..=36;
/// How the line brings what it has held back: everything in one read, or a message in each.
const READS: [usize; 3] = [usize::MAX, 20, 1];

fn steps(messages: &[(u32, Bytes)]) -> impl Iterator<Item = u32> {
    messages
        .windows(2)
        .map(|two| two[1].0.wrapping_sub(two[0].0))
}

/// By how much later than it was sent each of these that was sent stands at the destination, in milliseconds, from `from_ms` on.
fn delays(sent: &[(u32, Bytes)], came: &[(u32, Bytes)], from_ms: u32) -> Vec<i64> {
    let sent_at = |body: &Bytes| sent.iter().find(|(_, it)| it == body).map(|(at, _)| *at);
    let came = came
        .iter()
        .filter_map(|(at, body)| Some((*at, sent_at(body)?)));
    let came = came.filter(|(_, sent)| *sent >= from_ms);
    came.map(|(at, sent)| i64::from(at) - i64::from(sent))
        .collect()
}

/// Runs for four seconds, stalls for so long, and runs for so long again.
fn after_a_stall(
    stall_ms: u32,
    after_ms: u32,
    messages_a_read: usize,
    b_frames: bool,
) -> (World, Show) {
    let mut world = world();
    let mut show = Show::begin(&mut world, "first", 0, b_frames);
    show.run(&mut world, 4);
    show.stall();
    show.run_ms(&mut world, stall_ms);
    show.deliver(&mut world, messages_a_read);
    show.run_ms(&mut world, after_ms);
    (world, show)
}

#[test]
fn the_show_goes_on_live_at_its_pace_when_the_line_brings_what_it_held_back() {
    for (stall_ms, messages_a_read, b_frames) in [1_800, 3_000, 4_600, 8_000]
        .into_iter()
        .flat_map(|stall| READS.map(|reads| (stall, reads)))
        .flat_map(|(stall, reads)| [(stall, reads, false), (stall, reads, true)])
    {
        let what = format!("{stall_ms} ms, {messages_a_read} messages a read, {b_frames}");
        let (world, show) = after_a_stall(stall_ms, 6_000, messages_a_read, b_frames);
        world.server("a", 0).assert_well_formed();
        let (video, audio) = (
            received(&world, type_id::VIDEO),
            received(&world, type_id::AUDIO),
        );
        // No picture is put right behind another one because its own place is taken.
        assert!(steps(&video).all(|ms| ms >= 10), "{what}");
        let before = delays(&show.video, &video, 0)[0];
        // A second after the line is well a keyframe has come.
        let live_ms = 4_000 + stall_ms + 1_000;
        for sent_and_came in [(&show.video, &video), (&show.audio, &audio)] {
            let delays = delays(sent_and_came.0, sent_and_came.1, live_ms);
            assert!(delays.len() > 100, "{what}: {}", delays.len());
            let moved = delays.iter().map(|delay| (delay - before).abs());
            assert!(moved.max().unwrap() <= 2, "{what}: {delays:?}, {before}");
        }
    }
}

#[test]
fn audio_has_neither_a_gap_nor_a_bunch_behind_a_stalled_line() {
    for stall_ms in [1_600, 1_800, 3_000, 4_600, 8_000] {
        for messages_a_read in READS {
            let (world, _) = after_a_stall(stall_ms, 3_000, messages_a_read, false);
            let audio = received(&world, type_id::AUDIO);
            let odd: Vec<u32> = steps(&audio)
                .filter(|ms| !AUDIO_STEPS_MS.contains(ms))
                .collect();
            assert!(
                odd.is_empty(),
                "{odd:?}: {stall_ms} ms, {messages_a_read} messages a read"
            );
        }
    }
}

/// AAC-LC at 48 kHz in mono, where the first encoder's is at 44.1 kHz in stereo.
const OTHER_AAC: [u8; 2] = [0x11, 0x88];

#[test]
fn audio_goes_on_without_a_gap_from_one_encoder_to_the_next_whatever_it_is_coded_as() {
    for aac in [&AAC[..], &OTHER_AAC] {
        for away_ms in [None, Some(0), Some(900), Some(2_000)] {
            for ahead in [0, 3] {
                let mut world = world();
                let mut show = Show::begin(&mut world, "first", 0, false);
                show.run_ms(&mut world, 4_000 + 40 * ahead);
                if let Some(away_ms) = away_ms {
                    world.lose_encoder(show.index);
                    world.run_ms(away_ms);
                }
                let mut next = Show::begin_with(&mut world, "second", 777_000, false, aac);
                next.run_ms(&mut world, 3_000);
                let recording = world.server("a", 0);
                recording.assert_well_formed();
                let headers = if aac == AAC { 1 } else { 2 };
                assert_eq!(recording.sequence_headers(type_id::AUDIO), headers);
                let audio = received(&world, type_id::AUDIO);
                let odd: Vec<u32> = steps(&audio)
                    .filter(|ms| !AUDIO_STEPS_MS.contains(ms))
                    .collect();
                assert!(odd.is_empty(), "{odd:?} ms: {aac:?}, away for {away_ms:?}");
            }
        }
    }
}

#[test]
fn a_destination_is_not_blamed_for_seconds_that_come_at_once() {
    let mut world = world();
    let mut show = Show::begin(&mut world, "first", 0, false);
    show.run(&mut world, 4);
    world.lose_encoder(show.index);
    world.run_ms(1_000);
    // It has gone on meanwhile, and brings more than its connection takes at once.
    let mut show = Show::begin(&mut world, "second", 0, false);
    show.picture_bytes = 16_000;
    show.stall();
    show.run(&mut world, 4);
    show.deliver(&mut world, 4);
    show.run(&mut world, 6);
    let status = world.destination("a");
    assert_eq!(status.last_problem, None);
    assert_eq!(status.frames_dropped, 0);
    let came = received(&world, type_id::VIDEO);
    let sent = show.video[..show.video.len() - 2].iter();
    let left_out = sent.filter(|sent| !came.iter().any(|(_, body)| *body == sent.1));
    let left_out: Vec<u32> = left_out.map(|(at_ms, _)| *at_ms).collect();
    assert!(left_out.is_empty(), "{left_out:?}");
}
