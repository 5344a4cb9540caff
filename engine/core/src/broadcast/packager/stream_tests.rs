//! Parts and segments keep the rules of HLS whatever the publisher's frame rate, keyframes and gaps are, and every
//! unit is in one of them once and in its order.

use std::{rc::Rc, time::Instant};

use bytes::Bytes;
use shardcast_cmaf::read_fragment;
use shardcast_link::{BroadcastId, fragment::PART_MS_MAX};
use shardcast_sim::picture::{PPS, SPS_360P, SPS_720P};

use super::{
    grid::{Grid, Lines},
    stream::{Beginning, Numbers, Stream, Taken},
    tracks::{AUDIO_TRACK, Tracks},
};
use crate::{
    broadcast::ring::{Kind, Unit},
    codec::{aac::AacConfig, h264::ParameterSets},
    context::Clock,
    io::Fragment,
};

const START_US: i64 = 5_000_000;

fn sets(sps: &'static [u8]) -> Rc<ParameterSets> {
    let sets = ParameterSets::new(&Bytes::from_static(sps), &[Bytes::from_static(PPS)]);
    Rc::new(sets.unwrap())
}

fn picture(config: &Rc<ParameterSets>, n: u32, dts_us: i64, key: bool) -> Unit {
    Unit {
        kind: Kind::Video {
            key,
            config: config.clone(),
        },
        pts_us: dts_us + 40_000,
        dts_us,
        payload: Bytes::copy_from_slice(&[&b"v"[..], &n.to_be_bytes()].concat()),
    }
}

fn audio(n: u32) -> Unit {
    let pts_us = START_US + AacConfig::OURS.frames_us(i64::from(n));
    Unit {
        kind: Kind::Audio {
            config: AacConfig::OURS,
        },
        pts_us,
        dts_us: pts_us,
        payload: Bytes::copy_from_slice(&[&b"a"[..], &n.to_be_bytes()].concat()),
    }
}

fn stream(video: Option<Rc<ParameterSets>>, segment_us: i64) -> Stream {
    Stream::new(beginning(video, segment_us))
}

fn beginning(video: Option<Rc<ParameterSets>>, segment_us: i64) -> Beginning {
    Beginning {
        broadcast: BroadcastId::new("app", "one").unwrap(),
        rung: None,
        tracks: Tracks {
            video,
            audio: AacConfig::OURS,
        },
        numbers: Numbers {
            segment: 70,
            ..Numbers::default()
        },
        discontinuity: false,
        segment_us,
        grid: None,
        frames_per_second: 30,
        at_us: START_US,
        clock: Clock::new(Instant::now(), 1_000_000),
    }
}

/// Pictures at `times_us`, each `gop`th a keyframe, and the audio of that time, up to `audio_late_us` late.
fn show(times_us: &[i64], gop: usize, segment_us: i64, audio_late_us: i64) -> Vec<Fragment> {
    show_with(times_us, gop, segment_us, Some(audio_late_us))
}

fn show_with(
    times_us: &[i64],
    gop: usize,
    segment_us: i64,
    audio_late_us: Option<i64>,
) -> Vec<Fragment> {
    let config = sets(SPS_720P);
    let mut stream = stream(Some(config.clone()), segment_us);
    let (mut parts, mut frames) = (Vec::new(), 0);
    for (n, at_us) in times_us.iter().enumerate() {
        let dts_us = START_US + at_us;
        while audio_late_us.is_some_and(|late_us| audio(frames).pts_us + late_us < dts_us) {
            assert_eq!(stream.take(&audio(frames), &mut parts), Taken::Yes);
            frames += 1;
        }
        let unit = picture(&config, n as u32, dts_us, n.is_multiple_of(gop));
        assert_eq!(stream.take(&unit, &mut parts), Taken::Yes);
    }
    stream.finish(&mut parts);
    parts
}

/// Payloads of this kind, by their numbers.
fn payloads(parts: &[Fragment], kind: u8) -> Vec<u32> {
    let slices = parts.iter().flat_map(|part| &part.slices);
    let of_kind = slices.filter(|slice| slice.len() == 5 && slice[0] == kind);
    of_kind
        .map(|slice| u32::from_be_bytes(slice[1..].try_into().unwrap()))
        .collect()
}

/// What RFC 8216bis asks of parts, 4.4.4.9 and 4.4.3.7.
fn check(parts: &[Fragment], what: &str) {
    let least_us = u64::from(PART_MS_MAX) * 850;
    for Fragment { head, .. } in parts {
        assert!(
            head.duration_us <= u64::from(PART_MS_MAX) * 1_000,
            "{what}: {head:?}"
        );
        assert!(
            head.last || head.duration_us >= least_us,
            "{what}: {head:?}"
        );
    }
    check_order(parts, what);
}

/// Parts follow one another, and each segment's last one says that it is.
fn check_order(parts: &[Fragment], what: &str) {
    for (n, part) in parts.iter().enumerate() {
        let head = &part.head;
        assert_eq!(head.part == 0, head.begins.is_some());
        let next = parts
            .get(n + 1)
            .map(|next| (next.head.segment, next.head.part));
        let expected = match head.last {
            true => (head.segment + 1, 0),
            false => (head.segment, head.part + 1),
        };
        assert!(next.is_none_or(|next| next == expected), "{what}: {head:?}");
        let init = usize::from(head.begins.is_some());
        assert!(part.slices[init].ends_with(b"mdat"), "{what}");
    }
    assert!(parts.last().unwrap().head.last, "{what}");
}

#[test]
fn parts_are_as_long_as_playlists_say_at_every_frame_rate_and_hold_every_unit_once() {
    for rate in [1, 5, 10, 12, 15, 24, 25, 30, 50, 60, 120_usize] {
        for segment_s in [1, 2, 4, 6_usize] {
            for gop_s in [1, 2, 3, 10] {
                let what =
                    format!("{rate} a second, keyframes each {gop_s} s, segments of {segment_s} s");
                let at_us = |n| (n * 1_000_000 / rate) as i64;
                let times: Vec<i64> = (0..rate * 25).map(at_us).collect();
                let segment_us = segment_s as i64 * 1_000_000;
                let parts = show(&times, rate * gop_s, segment_us, 30_000);
                check(&parts, &what);
                let all: Vec<u32> = (0..times.len() as u32).collect();
                assert_eq!(payloads(&parts, b'v'), all, "{what}");
                let sound = payloads(&parts, b'a');
                assert!(sound.iter().copied().eq(0..sound.len() as u32), "{what}");
                let begins = parts.iter().filter(|part| part.head.part == 0);
                assert!(begins.clone().all(|part| part.head.independent), "{what}");
                // As long as wanted, at keyframes.
                let length = segment_s.next_multiple_of(gop_s);
                let segments = begins.count();
                assert_eq!(segments, 25_usize.div_ceil(length), "{what}");
            }
        }
    }
}

#[test]
fn jitter_and_gaps_make_no_part_too_long_and_lose_nothing() {
    for gap_ms in [0, 150, 400, 1_500, 2_900] {
        for audio_late_us in [0, 100_000] {
            let mut at_us = 0;
            let times: Vec<i64> = (0..600_i64)
                .map(|n| {
                    let jitter_us = (n * 7_919) % 21_000 - 10_000;
                    at_us += 33_333 + if n % 97 == 50 { gap_ms * 1_000 } else { 0 };
                    at_us + jitter_us
                })
                .collect();
            let times: Vec<i64> = times.iter().map(|at_us| at_us - times[0]).collect();
            let what = format!("gaps of {gap_ms} ms, audio {audio_late_us} us late");
            let parts = show(&times, 60, 2_000_000, audio_late_us);
            check(&parts, &what);
            let all: Vec<u32> = (0..600).collect();
            assert_eq!(payloads(&parts, b'v'), all, "{what}");
        }
    }
}

#[test]
fn few_pictures_without_audio_leave_no_segment_without_its_last_part_and_no_time_out() {
    for rate in 1..=20_usize {
        // Where the next keyframe falls in a part: at every picture of a second.
        for gop in 2 * rate..3 * rate {
            let what = format!("{rate} pictures a second, each {gop}th a keyframe");
            let times: Vec<i64> = (0..rate * 25)
                .map(|n| (n * 1_000_000 / rate) as i64)
                .collect();
            let parts = show_with(&times, gop, 2_000_000, None);
            // Below, there are parts that no picture begins in: they are one with the next.
            if rate >= 6 {
                check(&parts, &what);
            }
            check_order(&parts, &what);
            let all: Vec<u32> = (0..times.len() as u32).collect();
            assert_eq!(payloads(&parts, b'v'), all, "{what}");
            // Each segment ends where the next one's keyframe is.
            let mut at_us = 0;
            let keyframes: Vec<u64> = times.iter().step_by(gop).map(|it| *it as u64).collect();
            let ends = parts.iter().filter_map(|part| {
                at_us += part.head.duration_us;
                part.head.last.then_some(at_us)
            });
            let ends: Vec<u64> = ends.collect();
            assert_eq!(ends[..ends.len() - 1], keyframes[1..], "{what}");
        }
    }
}

#[test]
fn a_hole_in_audio_alone_is_one_long_part_and_what_comes_behind_it_goes_on() {
    let (mut stream, mut parts) = (stream(None, 2_000_000), Vec::new());
    let frames: Vec<u32> = (0..900).filter(|n| !(100..160).contains(n)).collect();
    for n in &frames {
        assert_eq!(stream.take(&audio(*n), &mut parts), Taken::Yes);
    }
    stream.finish(&mut parts);
    check_order(&parts, "a hole of 1.3 s");
    assert_eq!(payloads(&parts, b'a'), frames);
    let long = |part: &&Fragment| part.head.duration_us > u64::from(PART_MS_MAX) * 1_000;
    assert_eq!(parts.iter().filter(long).count(), 1);
}

#[test]
fn an_encoder_without_keyframes_gets_segments_that_are_not_independent() {
    let times: Vec<i64> = (0..30 * 25).map(|n| n * 1_000_000 / 30).collect();
    let parts = show(&times, 10_000, 2_000_000, 0);
    check(&parts, "no keyframes");
    let begins: Vec<bool> = parts
        .iter()
        .filter(|part| part.head.part == 0)
        .map(|part| part.head.independent)
        .collect();
    assert_eq!(begins, [true, false, false]);
}

#[test]
fn audio_alone_is_cut_by_its_own_time() {
    let (mut stream, mut parts) = (stream(None, 2_000_000), Vec::new());
    for n in 0..1_000 {
        assert_eq!(stream.take(&audio(n), &mut parts), Taken::Yes);
    }
    stream.finish(&mut parts);
    check(&parts, "audio alone");
    assert!(parts.iter().all(|part| part.head.independent));
    let all: Vec<u32> = (0..1_000).collect();
    assert_eq!(payloads(&parts, b'a'), all);
    // 21.3 s.
    assert_eq!(parts.last().unwrap().head.segment, 70 + 10);
    let begins = parts[0].head.begins.as_ref().unwrap();
    assert_eq!((begins.codecs.as_str(), begins.width), ("mp4a.40.2", 0));
}

#[test]
fn another_size_begins_another_stream_at_its_keyframe_and_not_before() {
    let (small, large) = (sets(SPS_360P), sets(SPS_720P));
    let (mut stream, mut parts) = (stream(Some(small.clone()), 2_000_000), Vec::new());
    let mut take = |unit: &Unit| stream.take(unit, &mut parts);
    assert_eq!(take(&picture(&small, 0, START_US, true)), Taken::Yes);
    let at_us = START_US + 33_333;
    assert_eq!(take(&picture(&large, 1, at_us, false)), Taken::Yes);
    assert_eq!(take(&picture(&large, 2, at_us, true)), Taken::BeginsAnother);
    // The clock steps back, or far ahead.
    assert_eq!(
        take(&picture(&small, 3, START_US, true)),
        Taken::BeginsAnother
    );
    let far_us = START_US + 4_000_000;
    assert_eq!(take(&picture(&small, 4, far_us, false)), Taken::Yes);
    assert_eq!(
        take(&picture(&small, 5, far_us, true)),
        Taken::BeginsAnother
    );
    let numbers = stream.finish(&mut parts);
    assert_eq!(payloads(&parts, b'v'), [0]);
    assert_eq!(numbers.segment, 71);
    let begins = parts[0].head.begins.as_ref().unwrap();
    assert!(begins.codecs.starts_with("avc1.") && begins.codecs.ends_with(",mp4a.40.2"));
    assert_eq!(begins.at_unix_ms, 1_000_000 + 5_000);
}

/// Where the segments of a rung begin that is packaged from this picture on, in pictures, and their numbers.
fn segments_of_rung(first: u32, grid: Grid) -> Vec<(u32, u64)> {
    let (config, gop) = (sets(SPS_720P), 60);
    let at_us = |n: u32| START_US + i64::from(n) * 1_000_000 / 30;
    let number = grid.number(at_us(first));
    let mut stream = Stream::new(Beginning {
        at_us: at_us(first),
        grid: Some(grid),
        numbers: Numbers {
            segment: number,
            ..Numbers::default()
        },
        ..beginning(Some(config.clone()), 3_000_000)
    });
    let mut parts = Vec::new();
    for n in first..900 {
        let key = n == first || n % gop == 0;
        let unit = picture(&config, n, at_us(n), key);
        assert_eq!(stream.take(&unit, &mut parts), Taken::Yes);
    }
    stream.finish(&mut parts);
    check(&parts, "a rung");
    let begins = parts.iter().filter(|part| part.head.part == 0);
    let begins = begins.map(|part| {
        let first = payloads(std::slice::from_ref(part), b'v')[0];
        (first, part.head.segment)
    });
    begins.collect()
}

#[test]
fn rungs_that_begin_at_different_times_have_the_same_segments_of_the_same_numbers() {
    // Groups of 2 s, and segments of 3 s: they are two groups long.
    let lines = Lines {
        segment_us: 3_000_000,
        gop_us: 2_000_000,
        origin_us: START_US,
    };
    let grid = Grid::new(lines, START_US, 500);
    let whole = segments_of_rung(0, grid);
    assert!(whole.len() > 6, "{whole:?}");
    for first in [1, 59, 60, 61, 119, 120, 200, 333] {
        let later = segments_of_rung(first, grid);
        let (begins, same) = later.split_first().unwrap();
        assert!(
            whole.ends_with(same) && same.len() > 3,
            "{later:?} of {whole:?}"
        );
        assert_eq!((begins.0, begins.1 + 1), (first, same[0].1), "{later:?}");
    }
}

#[test]
fn a_segment_begins_with_its_keyframe_though_pictures_are_further_apart_than_parts() {
    for apart_us in [310_000, 500_000, 1_400_000] {
        for late_us in [0, 40_000, 200_000] {
            let times: Vec<i64> = (0..40).map(|n| n * apart_us).collect();
            let parts = show(&times, 4, 1_000_000, late_us);
            check_order(&parts, "few pictures");
            let begins = parts.iter().filter(|part| part.head.part == 0);
            for part in begins {
                let head = &part.head;
                assert!(head.independent, "{apart_us} us apart: {head:?}");
            }
        }
    }
}

#[test]
fn frames_of_audio_that_come_bunched_have_their_own_times() {
    let config = sets(SPS_720P);
    let mut stream = stream(Some(config.clone()), 2_000_000);
    let mut parts = Vec::new();
    for n in 0..200_u32 {
        let dts_us = START_US + i64::from(n) * 40_000;
        let unit = picture(&config, n, dts_us, n.is_multiple_of(50));
        stream.take(&unit, &mut parts);
        // Forty frames a millisecond apart, and then what belongs there.
        let pts_us = match n {
            50..90 => START_US + 2_000_000 + i64::from(n - 50) * 1_000,
            _ => dts_us,
        };
        let frame = Unit {
            pts_us,
            dts_us: pts_us,
            ..audio(n)
        };
        stream.take(&frame, &mut parts);
    }
    stream.finish(&mut parts);
    let mut last = None;
    for part in &parts {
        let init = part.head.begins.as_ref().map_or(0, |it| it.init_bytes);
        let mut bytes = Bytes::from(part.slices.concat());
        let _ = bytes.split_to(init as usize);
        let runs = read_fragment(&bytes).unwrap();
        for run in runs.iter().filter(|run| run.track == AUDIO_TRACK) {
            let mut at = run.decoded_at;
            for sample in &run.samples {
                assert!(last.is_none_or(|last| at > last), "{at} behind {last:?}");
                last = Some(at);
                at += u64::from(sample.duration);
            }
        }
    }
    assert!(last.is_some());
}

#[test]
fn audio_that_is_seconds_ahead_waits_for_the_pictures_of_its_time() {
    for ahead_us in [500_000, 3_000_000, 5_000_000] {
        for rate in [2, 10, 30] {
            let what = format!("audio {ahead_us} us ahead, {rate} a second");
            let times: Vec<i64> = (0..rate * 20).map(|n| n * 1_000_000 / rate).collect();
            let parts = show(&times, rate as usize, 2_000_000, -ahead_us);
            check_order(&parts, &what);
            let all: Vec<u32> = (0..times.len() as u32).collect();
            assert_eq!(payloads(&parts, b'v'), all, "{what}");
            let sound = payloads(&parts, b'a');
            assert!(sound.iter().copied().eq(0..sound.len() as u32), "{what}");
            let mut ends_us = START_US;
            for Fragment { head, .. } in &parts {
                if let Some(begins) = &head.begins {
                    assert!(head.independent, "{what}: {head:?}");
                    assert_eq!(begins.at_us, ends_us, "{what}");
                }
                assert!(head.duration_us > 0, "{what}: {head:?}");
                ends_us += head.duration_us as i64;
            }
        }
    }
}

#[test]
fn audio_for_which_no_pictures_come_is_left_out() {
    let config = sets(SPS_720P);
    let mut stream = stream(Some(config.clone()), 2_000_000);
    let mut parts = Vec::new();
    stream.take(&picture(&config, 0, START_US, true), &mut parts);
    for n in 0..10_000 {
        stream.take(&audio(n), &mut parts);
        assert!(parts.is_empty(), "a part without pictures");
    }
    stream.finish(&mut parts);
    let sound = payloads(&parts, b'a');
    assert!(sound.len() < 20, "{sound:?}");
    check(&parts, "one picture");
}
