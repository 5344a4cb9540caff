//! Proves: whatever comes in place of video, a transcoder does not panic, gives no more pictures than
//! its frame rate allows, takes no more memory with time, and makes good pictures again of a good stream.
#![cfg(feature = "x264")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test"
)]

#[path = "video/test_clip.rs"]
mod test_clip;

use std::collections::HashMap;
use std::fs;

use bytes::Bytes;
use ffmpeg_next::format::Pixel;
use rand::{Rng, SeedableRng, rngs::StdRng};
use shardcast_link::{RenditionSpec, VideoCodec};
use shardcast_media::limits::REPEAT_MS_MAX;
use shardcast_media::{MediaError, Transcoded, Transcoder};

use test_clip::{
    H264, LIBAOM_LIVE, LIBVPX_LIVE, SECOND_US, SMALL, Studio, foreign, frames, no_time,
};

const SEED: u64 = 20_261_125;
const ROUNDS: u32 = 60;
const PICTURES: u32 = 24;

struct Stream {
    codec: VideoCodec,
    record: Option<Vec<u8>>,
    units: Vec<Bytes>,
}

fn streams() -> Vec<Stream> {
    let pictures = frames(Pixel::YUV420P, false, 160, 96, PICTURES);
    let mut h264 = H264::new(160, 96, 500_000);
    let units = (0..PICTURES).map(|n| h264.next_as(n % 8 == 0)).collect();
    let stream = |codec, units| Stream {
        codec,
        record: None,
        units,
    };
    vec![
        Stream {
            codec: VideoCodec::H264,
            record: Some(h264.record),
            units,
        },
        stream(VideoCodec::Vp8, foreign("libvpx", &LIBVPX_LIVE, &pictures)),
        stream(
            VideoCodec::Vp9,
            foreign("libvpx-vp9", &LIBVPX_LIVE, &pictures),
        ),
        stream(
            VideoCodec::Av1,
            foreign("libaom-av1", &LIBAOM_LIVE, &pictures),
        ),
    ]
}

fn damage(unit: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut unit = unit.to_vec();
    match random.random_range(0..6) {
        0 => unit.truncate(random.random_range(0..=unit.len())),
        1 => {
            unit = vec![0; random.random_range(0..2_000)];
            random.fill(&mut unit[..]);
        }
        2 => {
            let from = random.random_range(0..=unit.len());
            unit.drain(from..(from + random.random_range(0..100)).min(unit.len()));
        }
        // The first bytes hold the type and the size of the picture.
        3 => {
            for _ in 0..random.random_range(1..4) {
                let bit = random.random_range(0..unit.len().min(24) * 8);
                unit[bit / 8] ^= 1 << (bit % 8);
            }
        }
        _ => {
            for _ in 0..random.random_range(1..32) {
                let bit = random.random_range(0..unit.len() * 8);
                unit[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
    unit
}

/// Resident memory in bytes (proc_pid_statm(5)).
fn memory() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages = statm.split_ascii_whitespace().nth(1).unwrap();
    pages.parse::<usize>().unwrap() * 4_096
}

/// The same checks after each call.
#[derive(Default)]
struct Watch {
    last: HashMap<u64, i64>,
}

impl Watch {
    fn see(&mut self, out: &[Transcoded]) {
        for picture in out {
            let before = self.last.insert(picture.key_of_rendition, picture.pts_us);
            assert!(before.is_none_or(|before| before < picture.pts_us));
        }
        let most = 3 * (60 * REPEAT_MS_MAX as usize / 1_000 + 1);
        assert!(out.len() <= most, "{} pictures", out.len());
    }
}

#[test]
fn damaged_streams_do_not_panic_nor_take_memory_and_good_ones_are_seen_again() {
    println!("seed {SEED}");
    let mut random = StdRng::seed_from_u64(SEED);
    let streams = streams();
    let small = |width, frames_per_second| RenditionSpec {
        width,
        height: 90,
        frames_per_second,
        ..SMALL
    };
    let mut wanted = vec![(1, SMALL), (2, small(None, 60)), (3, small(Some(90), 15))];
    let mut transcoder = Transcoder::new(no_time);
    let (mut watch, mut now, mut base, mut refused) = (Watch::default(), 0, 0, 0);
    for round in 0..ROUNDS {
        transcoder.set_renditions(&wanted);
        let stream = &streams[random.random_range(0..streams.len())];
        transcoder
            .set_source(stream.codec, stream.record.as_deref())
            .unwrap();
        for unit in &stream.units {
            let other = &streams[random.random_range(0..streams.len())];
            let unit = match random.random_range(0..10) {
                0 => continue,
                1 => other.units[random.random_range(0..other.units.len())].to_vec(),
                2..6 => damage(unit, &mut random),
                _ => unit.to_vec(),
            };
            now += match random.random_range(0..60) {
                0 => 100 * SECOND_US,
                1 => -SECOND_US,
                2 => SECOND_US,
                _ => SECOND_US / 30,
            };
            let mut out = Vec::new();
            let encode = random.random_bool(0.9);
            refused += u32::from(transcoder.decode(now, &unit, encode, &mut out).is_err());
            watch.see(&out);
            if random.random_bool(0.1) {
                let mut out = Vec::new();
                let until_us = now + random.random_range(0..SECOND_US);
                while !transcoder.fill(until_us, &mut out) {}
                watch.see(&out);
                transcoder.throttle(random.random_range(0..5), random.random_range(0..5));
            }
        }
        // A rendition that begins again starts behind the time that it had reached.
        wanted[2].0 += u64::from(random.random_bool(0.3));
        if round == ROUNDS / 3 {
            base = memory();
        }
    }
    let grown = memory().saturating_sub(base);
    assert!(grown < 64 << 20, "{grown} bytes more");
    assert!(refused > 100, "{refused}");
    assert_eq!(transcoder.take_failure(), None);
    transcoder.throttle(0, 1);
    see_all(&mut transcoder, &streams, now + 200 * SECOND_US, &mut watch);
}

/// Intact streams give a frame of the first rendition for each unit.
fn see_all(transcoder: &mut Transcoder, streams: &[Stream], mut now: i64, watch: &mut Watch) {
    for stream in streams {
        transcoder
            .set_source(stream.codec, stream.record.as_deref())
            .unwrap();
        for unit in &stream.units {
            now += SECOND_US / 30;
            let mut out = Vec::new();
            transcoder.decode(now, unit, true, &mut out).unwrap();
            assert!(out.iter().any(|picture| picture.key_of_rendition == 1));
            watch.see(&out);
        }
    }
}

/// Appends bits and exp-Golomb codes (ITU-T H.264 §9.1).
#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn bits(&mut self, value: u32, count: u32) {
        (0..count)
            .rev()
            .for_each(|bit| self.0.push(value >> bit & 1 == 1));
    }

    fn ue(&mut self, value: u32) {
        let length = (value + 1).ilog2();
        self.bits(0, length);
        self.bits(value + 1, length + 1);
    }

    fn bytes(mut self) -> Vec<u8> {
        self.bits(1, 1);
        let byte =
            |bits: &[bool]| (0..8).fold(0, |b, n| b << 1 | u8::from(bits.get(n) == Some(&true)));
        self.0.chunks(8).map(byte).collect()
    }
}

/// A sequence parameter set of Baseline with so many macroblocks (§7.3.2.1.1).
fn sps(width: u32, height: u32) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.bits(0x67, 8);
    bits.bits(66, 8);
    bits.bits(0xC0, 8);
    bits.bits(52, 8);
    // Its number, log2_max_frame_num, pic_order_cnt_type 2, one reference, no gaps.
    for value in [0, 0, 2, 1] {
        bits.ue(value);
    }
    bits.bits(0, 1);
    bits.ue(width - 1);
    bits.ue(height - 1);
    // Frames only, direct_8x8_inference, no cropping, no VUI.
    bits.bits(0b1100, 4);
    bits.bytes()
}

#[test]
fn absurd_sizes_are_refused_before_memory_is_taken() {
    let mut source = H264::new(160, 96, 500_000);
    let unit = source.next();
    let before = memory();
    for (width, height) in [(1_024, 1_024), (4_096, 1), (1, 65_535), (16_384, 16_384)] {
        let record = test_clip::record(&sps(width, height), &[0x68, 0xCE, 0x3C, 0x80]);
        let mut transcoder = Transcoder::new(no_time);
        transcoder.set_renditions(&[(1, SMALL)]);
        if transcoder
            .set_source(VideoCodec::H264, Some(&record))
            .is_err()
        {
            continue;
        }
        let mut out = Vec::new();
        let refused = transcoder.decode(0, &unit, true, &mut out);
        assert!(
            matches!(refused, Err(MediaError::Video { .. })),
            "{refused:?}"
        );
        assert!(out.is_empty());
    }
    // Fourteen bits each for the sides of a keyframe (RFC 6386 §9.1).
    let mut vp8 = foreign("libvpx", &[], &frames(Pixel::YUV420P, false, 160, 96, 1))[0].to_vec();
    vp8[6..10].copy_from_slice(&[0xFF, 0x3F, 0xFF, 0x3F]);
    let mut transcoder = Transcoder::new(no_time);
    transcoder.set_source(VideoCodec::Vp8, None).unwrap();
    assert!(transcoder.decode(0, &vp8, true, &mut Vec::new()).is_err());
    let grown = memory().saturating_sub(before);
    assert!(grown < 256 << 20, "{grown} bytes more");
}

#[test]
fn empty_and_endless_units_are_refused() {
    let mut studio = Studio::new(H264::new(160, 96, 500_000), &[(1, SMALL)]);
    studio.publish(0);
    for unit in [Vec::new(), vec![0; 5 << 20]] {
        let refused = studio.transcoder.decode(1, &unit, true, &mut studio.out);
        assert!(matches!(refused, Err(MediaError::Video { .. })));
    }
    assert_eq!(studio.transcoder.report().errors, 2);
}
