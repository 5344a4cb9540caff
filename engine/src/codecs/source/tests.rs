//! One broadcast on its codec worker: panics, long fills, late units and presets.

use std::time::Duration;

use shardcast_link::Preset;

use super::*;
use crate::{
    codecs::completions::{CompletionReceiver, completion_channel},
    limits::CODEC_DECODE_WAITED_MAX,
    os::signals::Bell,
};

const TRANSCODER: VideoTranscoderId = VideoTranscoderId::numbered(7);

fn source() -> (Source, CompletionSender, CompletionReceiver) {
    let (out, results) = completion_channel(Bell::new().unwrap(), false);
    (
        Source::new(Instant::now(), TRANSCODER, Arc::default()),
        out,
        results,
    )
}

fn renditions(source: &mut Source, ids: &[u64], out: &mut CompletionSender) {
    let spec = RenditionSpec::of_height(180);
    let renditions = ids.iter().map(|id| (RenditionId(*id), spec)).collect();
    let transcoder = TRANSCODER;
    source.change(
        VideoJob::Renditions {
            transcoder,
            renditions,
        },
        out,
    );
}

fn failed(results: &CompletionReceiver) -> Vec<(u64, String)> {
    std::iter::from_fn(|| results.take())
        .filter_map(|(_, result)| match result {
            VideoResult::Failed { rendition, reason } => Some((rendition.0, reason)),
            _ => None,
        })
        .collect()
}

#[test]
fn a_panic_in_a_codec_ends_the_renditions_of_its_broadcast_alone_with_a_reason() {
    let (mut source, mut out, results) = source();
    renditions(&mut source, &[1, 2], &mut out);
    assert_eq!(failed(&results), []);
    let done = source.run(&mut out, |_, _| panic!("on purpose"));
    assert_eq!(done, None::<()>);
    let defect = |id| (id, DEFECT.to_owned());
    assert_eq!(failed(&results), [defect(1), defect(2)]);

    renditions(&mut source, &[2, 3], &mut out);
    assert_eq!(failed(&results), [defect(2), defect(3)]);
    source.throttle(Level::FULL, &mut out);
    source.decode(0, b"\0\0\0\x01\x65", true, &mut out);
    source.report(Instant::now(), &mut out);
    assert!(results.take().is_none());
}

fn push(source: &mut Source, work: Work) {
    // As the admission counts it.
    source.backlog.gauge().enter(&work);
    source.push(work);
}

#[cfg(feature = "x264")]
#[test]
fn a_long_fill_takes_several_turns_so_that_neighbours_have_theirs_between() {
    // One grey pixel.
    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\
        \0\0\0\nIDATx\x9cch\0\0\0\x82\0\x81w\xcdr\xb6\0\0\0\0IEND\xaeB`\x82";
    let (mut source, mut out, results) = source();
    renditions(&mut source, &[1, 2], &mut out);
    let image = Bytes::from_static(PNG);
    source.change(
        VideoJob::Slate {
            transcoder: TRANSCODER,
            image,
        },
        &mut out,
    );
    // However busy the machine is, it has not waited.
    let arrived = Instant::now() + Duration::from_secs(3_600);
    let mut turns = Vec::new();
    for until_us in [0, 1_000_000] {
        push(&mut source, Work::Fill { arrived, until_us });
        while !source.is_idle() {
            let turn = source.turn(&mut out).unwrap();
            let made = std::iter::from_fn(|| results.take()).count();
            turns.push((turn.waited.is_some(), made));
        }
    }
    let expected = [(true, 2), (true, 16), (false, 16), (false, 16), (false, 12)];
    assert_eq!(turns, expected);
}

#[test]
fn what_has_waited_more_than_a_tenth_of_a_second_is_missed() {
    let (mut source, mut out, _results) = source();
    let now = Instant::now();
    let Some(late) = now.checked_sub(2 * CODEC_ENCODE_WAITED_MAX) else {
        return;
    };
    // However busy the machine is, the second one has not waited.
    let punctual = now + Duration::from_secs(3_600);
    for (arrived, missed) in [(late, 1), (punctual, 0)] {
        let unit = Work::Unit {
            arrived,
            key: true,
            pts_us: 0,
            unit: Bytes::from_static(b"\0\0\0\x01\x65"),
            left_out_until_us: None,
        };
        let until_us = 1;
        for work in [unit, Work::Fill { arrived, until_us }] {
            push(&mut source, work);
            let turn = source.turn(&mut out).unwrap();
            assert_eq!(
                (turn.transcoder, turn.missed),
                (TRANSCODER, missed),
                "{turn:?}"
            );
            assert!(turn.waited.is_some());
            assert!(source.is_idle());
        }
    }
}

#[test]
fn what_was_lost_before_a_change_counts_in_the_next_turn() {
    let (mut source, mut out, _results) = source();
    let now = Instant::now();
    let Some(late) = now.checked_sub(2 * CODEC_DECODE_WAITED_MAX) else {
        return;
    };
    let unit = |arrived, key| Work::Unit {
        arrived,
        key,
        pts_us: 0,
        unit: Bytes::from_static(b"\0\0\0\x01\x65"),
        left_out_until_us: None,
    };
    let transcoder = TRANSCODER;
    let change = Work::Control(VideoJob::Renditions {
        transcoder,
        renditions: Vec::new(),
    });
    for work in [unit(late, false), change, unit(late, false)] {
        push(&mut source, work);
    }
    assert_eq!(source.turn(&mut out), None);
    push(&mut source, unit(now, true));
    assert_eq!(source.turn(&mut out).map(|turn| turn.missed), Some(2));
}

#[test]
fn the_slowest_preset_that_is_wanted_sets_the_number_of_steps() {
    let (mut source, mut out, _results) = source();
    assert_eq!(source.preset_steps_max(), 0);
    for (preset, steps) in [
        (Preset::Ultrafast, 0),
        (Preset::Superfast, 1),
        (Preset::Faster, 3),
    ] {
        let spec = |preset| RenditionSpec {
            preset,
            ..RenditionSpec::of_height(180)
        };
        let renditions = vec![
            (RenditionId(1), spec(preset)),
            (RenditionId(2), spec(Preset::Ultrafast)),
        ];
        let transcoder = TRANSCODER;
        source.change(
            VideoJob::Renditions {
                transcoder,
                renditions,
            },
            &mut out,
        );
        assert_eq!(source.preset_steps_max(), steps);
    }
}
