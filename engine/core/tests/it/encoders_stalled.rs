//! The line of an encoder stalls until filler takes the place of what it holds back, and then brings everything
//! at once. The show goes on where it is by then: at its pace, with audio and video together, as late as before.

use bytes::Bytes;
use shardcast_core::rtmp::message::type_id;

use crate::{
    encoders::{Show, received, world},
    sim::World,
};

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
