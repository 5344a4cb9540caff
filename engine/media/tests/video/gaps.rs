//! Proves: while no pictures come the last one, or a slate, stands for them; a long time is jumped and
//! not filled; what comes too late leaves its slots empty and is counted.

use std::io::Cursor;
use std::time::Instant;

use bytes::Bytes;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use shardcast_media::{Transcoded, Transcoder};

use crate::receiver::Receiver;
use crate::test_clip::{H264, SECOND_US, SMALL, Studio, no_time};

fn white(width: u32, height: u32) -> Bytes {
    let image = DynamicImage::from(RgbImage::from_pixel(width, height, Rgb([255; 3])));
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, ImageFormat::Png).unwrap();
    file.into_inner().into()
}

/// Fills as a codec worker does: a few pictures at a time.
fn fill(transcoder: &mut Transcoder, until_us: i64, out: &mut Vec<Transcoded>) {
    loop {
        let before = out.len();
        let done = transcoder.fill(until_us, out);
        assert!(out.len() - before <= 9, "{}", out.len() - before);
        if done {
            return;
        }
    }
}

#[test]
fn the_last_picture_stands_for_those_that_do_not_come() {
    let mut studio = Studio::new(H264::new(320, 180, 1_000_000), &[(1, SMALL)]);
    studio.publish(0);
    fill(&mut studio.transcoder, SECOND_US, &mut studio.out);
    assert_eq!(studio.out.len(), 31);
    // Filled once; and a picture that comes for a slot that is filled is left out.
    fill(&mut studio.transcoder, SECOND_US, &mut studio.out);
    studio.publish(SECOND_US - 10_000);
    assert_eq!(studio.out.len(), 31);
    studio.publish(SECOND_US + 33_333);
    assert_eq!(studio.out.len(), 32);
    let made = studio.transcoder.report().renditions[0];
    assert_eq!((made.frames, made.repeated), (32, 30));
    let mut receiver = Receiver::new();
    receiver.see(1, &studio.out);
    let times: Vec<i64> = (0..32).map(|n| (n * SECOND_US + 15) / 30).collect();
    assert_eq!(receiver.times(), times);
}

#[test]
fn a_long_time_without_pictures_is_jumped() {
    let mut studio = Studio::new(H264::new(320, 180, 1_000_000), &[(1, SMALL)]);
    studio.publish(0);
    studio.publish(3_600 * SECOND_US);
    fill(&mut studio.transcoder, 7_200 * SECOND_US, &mut studio.out);
    let mut receiver = Receiver::new();
    receiver.see(1, &studio.out);
    let hours = [0, 3_600 * SECOND_US, 7_200 * SECOND_US];
    assert_eq!(receiver.times(), hours);
    assert_eq!(receiver.idr_times(), hours);
}

#[test]
fn time_that_runs_backwards_gives_no_picture() {
    let mut studio = Studio::new(H264::new(320, 180, 1_000_000), &[(1, SMALL)]);
    for time in [
        0,
        SECOND_US / 30,
        -SECOND_US,
        i64::MIN,
        0,
        i64::MAX,
        0,
        66_667,
    ] {
        studio.publish(time);
        fill(&mut studio.transcoder, time, &mut studio.out);
    }
    let times: Vec<i64> = studio.out.iter().map(|picture| picture.pts_us).collect();
    assert_eq!(times[..2], [0, 33_333]);
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
}

#[test]
fn a_slate_is_seen_until_the_next_picture() {
    let mut studio = Studio::new(H264::new(320, 180, 1_000_000), &[(1, SMALL)]);
    studio.publish(0);
    let mut receiver = Receiver::new();
    studio.transcoder.show(&white(90, 90)).unwrap();
    fill(&mut studio.transcoder, 200_000, &mut studio.out);
    receiver.see(1, &studio.out);
    let seen = receiver.last();
    let luma = |x: usize| seen.samples()[90 * 320 + x];
    assert!(
        luma(160) > 225 && luma(40) < 24,
        "{} {}",
        luma(160),
        luma(40)
    );
    let before = studio.out.len();
    studio.publish(233_333);
    receiver.see(1, &studio.out[before..]);
    assert!(receiver.last().samples()[90 * 320 + 40] > 24);
    assert_eq!((receiver.sets.len(), receiver.pictures.len()), (1, 8));
    assert!(
        studio
            .transcoder
            .show(&Bytes::from_static(b"no image"))
            .is_err()
    );
}

#[test]
fn a_slate_can_come_before_the_publisher_and_be_larger_than_pictures_are() {
    let mut transcoder = Transcoder::new(no_time);
    transcoder.set_renditions(&[(1, SMALL)]);
    let mut out = Vec::new();
    transcoder.fill(0, &mut out);
    assert!(out.is_empty());
    transcoder.show(&white(4_096, 4_095)).unwrap();
    fill(&mut transcoder, 5 * SECOND_US, &mut out);
    fill(&mut transcoder, 6 * SECOND_US, &mut out);
    let mut receiver = Receiver::new();
    receiver.see(1, &out);
    assert_eq!(receiver.pictures.len(), 31);
    assert_eq!(receiver.idr_times(), [5 * SECOND_US]);
}

#[test]
fn what_is_late_is_decoded_and_counted_and_its_slots_stay_empty() {
    let mut studio = Studio::new(H264::new(320, 180, 1_000_000), &[(1, SMALL)]);
    for n in 0..30 {
        let late = (10..20).contains(&n);
        if late {
            let unit = studio.source.next();
            let out = &mut studio.out;
            studio
                .transcoder
                .decode(n * 33_333, &unit, false, out)
                .unwrap();
        } else {
            studio.publish(n * 33_333);
        }
    }
    let report = studio.transcoder.report();
    assert_eq!((report.decoded, report.late, report.errors), (30, 10, 0));
    let made = report.renditions[0];
    assert_eq!((made.frames, made.repeated, made.dropped), (20, 0, 10));
    let mut receiver = Receiver::new();
    receiver.see(1, &studio.out);
    assert_eq!(receiver.times()[9..11], [300_000, 666_667]);
}

#[test]
fn a_gap_before_a_picture_is_filled_a_few_at_a_time() {
    let mut studio = Studio::new(H264::new(320, 180, 1_000_000), &[(1, SMALL)]);
    studio.publish(0);
    let mut calls = 0;
    loop {
        let before = studio.out.len();
        calls += 1;
        let done = studio.transcoder.catch_up(SECOND_US, &mut studio.out);
        assert!(studio.out.len() - before <= 8);
        if done {
            break;
        }
    }
    assert_eq!(calls, 3);
    studio.publish(SECOND_US);
    let mut receiver = Receiver::new();
    receiver.see(1, &studio.out);
    let times: Vec<i64> = (0..31).map(|n| (n * SECOND_US + 15) / 30).collect();
    assert_eq!(receiver.times(), times);
}

#[test]
fn time_that_is_left_out_is_not_filled_later() {
    let mut studio = Studio::new(H264::new(320, 180, 1_000_000), &[(1, SMALL)]);
    studio.publish(0);
    studio.transcoder.leave_out(SECOND_US);
    studio.publish(SECOND_US + 33_333);
    let mut receiver = Receiver::new();
    receiver.see(1, &studio.out);
    assert_eq!(receiver.times(), [0, SECOND_US + 33_333]);
    let made = studio.transcoder.report().renditions[0];
    assert_eq!((made.repeated, made.dropped), (0, 30));
}

#[test]
fn a_slate_that_is_shown_again_is_not_drawn_again() {
    let mut studio = Studio::new(H264::new(320, 180, 1_000_000), &[(1, SMALL)]);
    let slate = white(2_000, 1_000);
    let mut receiver = Receiver::new();
    let mut took = Vec::new();
    for n in 0..6 {
        studio.publish(n * 66_667);
        let begin = Instant::now();
        studio.transcoder.show(&slate).unwrap();
        took.push(begin.elapsed());
        fill(&mut studio.transcoder, n * 66_667 + 33_334, &mut studio.out);
    }
    receiver.see(1, &studio.out);
    assert_eq!(receiver.pictures.len(), 12);
    assert!(receiver.last().samples()[90 * 320 + 160] > 225);
    let again = took[1..].iter().min().unwrap();
    assert!(*again < took[0] / 2, "{took:?}");
}
