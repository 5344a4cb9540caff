//! Proves: pictures of a rendition have the times of its constant frame rate, without one missing, and
//! keyframes stand at a constant distance, at every rate of the publisher and of the rendition and while
//! the publisher's varies.

use rand::{Rng, SeedableRng, rngs::StdRng};
use shardcast_link::RenditionSpec;

use crate::receiver::Receiver;
use crate::test_clip::{H264, SECOND_US, SMALL, Studio};

const BEGIN_US: i64 = 1_234_567;
const RATES: [u32; 5] = [15, 24, 30, 48, 60];

/// A rendition of each rate from a publisher with these times, which last three seconds.
fn publish(times: impl Iterator<Item = i64>) -> Studio {
    let renditions = RATES.map(|frames_per_second| {
        let settings = RenditionSpec {
            width: Some(64),
            height: 48,
            frames_per_second,
            gop_ms: 1_000,
            ..SMALL
        };
        (frames_per_second.into(), settings)
    });
    let mut studio = Studio::new(H264::new(64, 48, 200_000), &renditions);
    times.for_each(|time| studio.publish(BEGIN_US + time));
    studio
}

/// Each slot from the first on has a picture, and each second begins with an IDR.
fn check(studio: &Studio, until_us: i64) {
    for rate in RATES {
        let mut receiver = Receiver::new();
        receiver.see(rate.into(), &studio.out);
        let slot = |k: usize| {
            let rate = i64::from(rate);
            BEGIN_US + (k as i64 * SECOND_US + rate / 2) / rate
        };
        let times: Vec<i64> = (0..receiver.pictures.len()).map(slot).collect();
        assert_eq!(receiver.times(), times, "{rate} fps");
        let last = times[times.len() - 1];
        let behind = BEGIN_US + until_us - last;
        assert!(
            behind <= SECOND_US / i64::from(rate),
            "{rate} fps: {behind} us"
        );
        let idrs: Vec<i64> = (0..)
            .map(|second| BEGIN_US + second * SECOND_US)
            .take_while(|time| *time <= last)
            .collect();
        assert_eq!(receiver.idr_times(), idrs, "{rate} fps");
        assert_eq!(receiver.sets.len(), 1, "{rate} fps");
    }
}

#[test]
fn every_rate_becomes_every_other_one() {
    for rate in RATES {
        let mut times = (0..3 * i64::from(rate)).map(|n| n * SECOND_US / i64::from(rate));
        let studio = publish(times.clone());
        check(&studio, times.next_back().unwrap());
        let report = studio.transcoder.report();
        for made in report.renditions {
            let same = made.frames_per_second <= rate;
            assert_eq!(
                made.repeated == 0,
                same,
                "{rate} to {}",
                made.frames_per_second
            );
            assert_eq!(made.dropped, 0);
        }
    }
}

#[test]
fn a_rate_that_varies_at_random_becomes_a_constant_one() {
    let seed = 4_711;
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..3 {
        let mut times = vec![0];
        while let Some(last) = times.last().filter(|last| **last < 3 * SECOND_US) {
            let step = match random.random_range(0..20) {
                0 => random.random_range(200_000..1_500_000),
                1..4 => random.random_range(1..5_000),
                _ => random.random_range(10_000..80_000),
            };
            times.push(last + step);
        }
        let studio = publish(times.iter().copied());
        check(&studio, times[times.len() - 1]);
    }
}

#[test]
fn each_slot_shows_the_picture_that_is_nearest_or_the_last_one_before() {
    // 30 pictures a second that jitter by a third of their distance: none is lost, none comes twice.
    let mut random = StdRng::seed_from_u64(7);
    let times: Vec<i64> = (0..90)
        .map(|n| {
            n * SECOND_US / 30
                + if n > 0 {
                    random.random_range(-11_000..11_000)
                } else {
                    0
                }
        })
        .collect();
    let studio = publish(times.iter().copied());
    let made = studio.transcoder.report().renditions;
    let made = made
        .iter()
        .find(|made| made.frames_per_second == 30)
        .unwrap();
    assert_eq!((made.frames, made.repeated), (90, 0));
}
