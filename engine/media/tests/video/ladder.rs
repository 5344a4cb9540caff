//! Proves: renditions of one publisher share one decoder, have their keyframes at the same times, and
//! are as good when they are drawn from each other; one that fails or is changed is none of the others'
//! business.

use shardcast_link::{Profile, RenditionSpec};
use shardcast_media::limits::RENDITIONS_MAX;

use crate::receiver::{Receiver, psnr};
use crate::test_clip::{H264, SECOND_US, SMALL, Studio, samples};

fn of_height(height: u32) -> RenditionSpec {
    RenditionSpec {
        width: None,
        height,
        video_bps: 3_000_000,
        ..SMALL
    }
}

#[test]
fn one_decode_makes_three_renditions_with_aligned_keyframes() {
    let ladder = [
        (360, of_height(360)),
        (180, of_height(180)),
        (90, of_height(90)),
    ];
    let mut studio = Studio::new(H264::new(640, 360, 2_000_000), &ladder);
    for n in 0..70 {
        studio.publish(n * SECOND_US / 30);
    }
    let report = studio.transcoder.report();
    assert_eq!((report.decoded, report.renditions.len()), (70, 3));
    for (made, height) in report.renditions.iter().zip([360, 180, 90]) {
        assert_eq!((made.height, made.width), (height, height * 16 / 9));
        assert_eq!((made.frames, made.keyframes), (70, 2));
        let mut receiver = Receiver::new();
        receiver.see(u64::from(height), &studio.out);
        assert_eq!(receiver.idr_times(), [0, 2 * SECOND_US]);
    }
}

#[test]
fn a_rendition_that_joins_later_or_has_another_rate_has_its_keyframes_with_the_others() {
    let slow = RenditionSpec {
        frames_per_second: 15,
        ..SMALL
    };
    let mut studio = Studio::new(H264::new(320, 180, 1_000_000), &[(1, SMALL), (2, slow)]);
    for n in 0..135 {
        if n == 17 {
            let more = [(1, SMALL), (2, slow), (3, of_height(90))];
            studio.transcoder.set_renditions(&more);
        }
        studio.publish(n * SECOND_US / 30);
    }
    for (key, begin) in [(1, 0), (2, 0), (3, 566_667)] {
        let mut receiver = Receiver::new();
        receiver.see(key, &studio.out);
        let idrs = [begin, 2 * SECOND_US, 4 * SECOND_US];
        assert_eq!(receiver.idr_times(), idrs, "rendition {key}");
        assert_eq!(receiver.sets.len(), 1, "rendition {key}");
    }
}

#[test]
fn a_picture_drawn_from_a_larger_one_is_as_good_as_one_drawn_from_the_source() {
    let seen = |renditions: &[(u64, RenditionSpec)]| {
        let mut studio = Studio::new(H264::new(640, 360, 8_000_000), renditions);
        studio.publish(0);
        let mut receiver = Receiver::new();
        receiver.see(90, &studio.out);
        receiver.last()
    };
    let alone = seen(&[(90, of_height(90))]);
    let behind = seen(&[
        (240, of_height(240)),
        (180, of_height(180)),
        (90, of_height(90)),
    ]);
    let psnr = psnr(&alone, &behind);
    assert!(psnr > 28.0, "{psnr} dB");
}

#[test]
fn a_rendition_that_cannot_be_made_fails_once_and_the_others_go_on() {
    let odd = RenditionSpec {
        height: 181,
        ..SMALL
    };
    let huge = RenditionSpec {
        width: Some(8_192),
        height: 8_192,
        ..SMALL
    };
    let still = RenditionSpec {
        frames_per_second: 0,
        ..SMALL
    };
    let cheap = RenditionSpec {
        video_bps: 1,
        ..SMALL
    };
    let wanted = [(1, SMALL), (2, odd), (3, huge), (4, still), (5, cheap)];
    let mut studio = Studio::new(H264::new(320, 180, 1_000_000), &wanted);
    for n in 0..5 {
        studio.transcoder.set_renditions(&wanted);
        studio.publish(n * SECOND_US / 30);
    }
    let failed: Vec<(u64, String)> =
        std::iter::from_fn(|| studio.transcoder.take_failure()).collect();
    let keys: Vec<u64> = failed.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, [2, 3, 4, 5], "{failed:?}");
    assert!(
        failed
            .iter()
            .all(|(_, words)| words.contains(char::is_numeric))
    );
    assert!(
        studio
            .out
            .iter()
            .all(|picture| picture.key_of_rendition == 1)
    );
    assert_eq!(studio.out.len(), 5);
    // Wanted otherwise, it is tried again.
    studio
        .transcoder
        .set_renditions(&[(1, SMALL), (2, of_height(90))]);
    studio.publish(5 * SECOND_US / 30);
    assert_eq!(studio.out.len(), 7);
    assert_eq!(studio.transcoder.take_failure(), None);
}

#[test]
fn too_many_renditions_are_refused_with_a_reason() {
    let wanted: Vec<_> = (0..RENDITIONS_MAX as u64 + 2)
        .map(|key| {
            (
                key,
                RenditionSpec {
                    width: Some(16),
                    height: 16,
                    ..SMALL
                },
            )
        })
        .collect();
    let mut studio = Studio::new(H264::new(320, 180, 1_000_000), &wanted);
    studio.publish(0);
    assert_eq!(studio.out.len(), RENDITIONS_MAX);
    let (key, words) = studio.transcoder.take_failure().unwrap();
    assert_eq!(key, RENDITIONS_MAX as u64);
    let most = RENDITIONS_MAX.to_string();
    assert!(words.contains(&most), "{words}");
}

#[test]
fn profiles_are_those_of_the_parameter_sets() {
    for (profile, profile_idc) in [
        (Profile::Baseline, 66),
        (Profile::Main, 77),
        (Profile::High, 100),
    ] {
        let settings = RenditionSpec { profile, ..SMALL };
        let mut studio = Studio::new(H264::new(320, 180, 1_000_000), &[(1, settings)]);
        studio.publish(0);
        let mut receiver = Receiver::new();
        receiver.see(1, &studio.out);
        assert_eq!(receiver.sets[0].0[1], profile_idc);
        let psnr = psnr(&receiver.last(), &samples(320, 180, 0));
        assert!(psnr > 22.0, "{profile:?}: {psnr} dB");
    }
}
