//! Proves: a throttled rendition costs less, keeps its parameter sets, its bit rate and its keyframes,
//! and comes back to what it was.

use std::fs;
use std::time::Duration;

use shardcast_link::{Preset, RenditionSpec};
use shardcast_media::Transcoder;

use crate::receiver::Receiver;
use crate::test_clip::{H264, SECOND_US, SMALL, Studio};

/// The CPU time of this thread: the first number in nanoseconds (Documentation/scheduler/sched-stats of
/// Linux).
fn cpu_time() -> Duration {
    let numbers = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let first = numbers.split_ascii_whitespace().next().unwrap();
    Duration::from_nanos(first.parse().unwrap())
}

#[test]
fn steps_of_preset_and_frame_rate_keep_the_parameter_sets() {
    for preset in [
        Preset::Ultrafast,
        Preset::Superfast,
        Preset::Veryfast,
        Preset::Faster,
    ] {
        let settings = RenditionSpec {
            preset,
            gop_ms: 500,
            ..SMALL
        };
        let mut studio = Studio::new(H264::new(320, 180, 1_000_000), &[(1, settings)]);
        let steps = [(0, 1), (1, 1), (2, 2), (9, 3), (1, 3), (0, 2), (0, 1)];
        for n in 0..7 * 30 {
            let (preset_steps, frame_divisor) = steps[n / 30];
            studio.transcoder.throttle(preset_steps, frame_divisor);
            studio.publish(n as i64 * SECOND_US / 30);
            let made = studio.transcoder.report().renditions[0];
            assert_eq!(made.preset, preset.faster_by(preset_steps));
            assert_eq!(made.frames_per_second, 30 / frame_divisor);
        }
        let mut receiver = Receiver::new();
        receiver.see(1, &studio.out);
        assert_eq!(receiver.sets.len(), 1, "{preset:?}");
        // Each half second has its IDR, at the first picture from there on.
        let halves: Vec<i64> = (0..14).map(|n| n * SECOND_US / 2).collect();
        let idrs = receiver.idr_times();
        assert_eq!(idrs.len(), halves.len(), "{idrs:?}");
        for (idr, half) in idrs.iter().zip(halves) {
            assert!((0..100_000).contains(&(idr - half)), "{idrs:?}");
        }
        let report = studio.transcoder.report().renditions[0];
        assert_eq!((report.repeated, report.dropped), (0, 0));
    }
}

#[test]
fn a_faster_preset_in_force_costs_less_and_the_wanted_one_comes_back() {
    let settings = RenditionSpec {
        width: Some(640),
        height: 360,
        video_bps: 1_500_000,
        preset: Preset::Faster,
        ..SMALL
    };
    let mut studio = Studio::new(H264::new(640, 360, 3_000_000), &[]);
    studio.transcoder = Transcoder::new(cpu_time);
    studio.transcoder.set_renditions(&[(1, settings)]);
    let mut n = 0;
    let mut cost = |preset_steps: u32| {
        studio.transcoder.throttle(preset_steps, 1);
        let before = studio.transcoder.report().renditions[0].encode_us;
        for _ in 0..30 {
            studio.publish(n * SECOND_US / 30);
            n += 1;
        }
        studio.transcoder.report().renditions[0].encode_us - before
    };
    let costs = [0, 1, 2, 3, 0].map(&mut cost);
    println!("{costs:?} us for 30 pictures");
    let [faster, veryfast, superfast, ultrafast, again] = costs.map(|us| us as f64);
    assert!(veryfast < faster * 0.9, "{costs:?}");
    assert!(superfast < faster * 0.75, "{costs:?}");
    assert!(ultrafast < faster * 0.7, "{costs:?}");
    assert!(again > ultrafast * 1.3, "{costs:?}");
}

#[test]
fn the_bit_rate_stays_when_pictures_are_left_out() {
    for frame_divisor in [1, 2, 3] {
        let mut studio = Studio::new(H264::new(320, 180, 3_000_000), &[(1, SMALL)]);
        studio.transcoder.throttle(0, frame_divisor);
        for n in 0..300 {
            studio.publish(n * SECOND_US / 30);
        }
        let mut receiver = Receiver::new();
        receiver.see(1, &studio.out);
        let pictures = 300 / frame_divisor as usize;
        assert!(receiver.pictures.len().abs_diff(pictures) <= 1);
        let bits: usize = receiver.pictures.iter().map(|seen| seen.bytes * 8).sum();
        let ratio = bits as f64 / 10.0 / f64::from(SMALL.video_bps);
        println!("each {frame_divisor}. picture: {ratio:.3} of the bit rate");
        assert!((ratio - 1.0).abs() < 0.05, "each {frame_divisor}.: {ratio}");
    }
}
