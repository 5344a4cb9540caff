//! Proves: whatever format a publisher's samples have, those of a rendition are 4:2:0 with eight bits in
//! limited range, and look the same.

use bytes::Bytes;
use ffmpeg_next::format::Pixel;
use shardcast_link::{RenditionSpec, VideoCodec};
use shardcast_media::{I420, Transcoder};

use crate::receiver::{Receiver, psnr};
use crate::test_clip::{SMALL, foreign, frame_of, frames, no_time, samples};

const VP9: [(&str, &str); 3] = [("deadline", "realtime"), ("cpu-used", "8"), ("crf", "10")];

/// The first picture of a rendition of this size.
fn rendition(units: &[Bytes], width: u32, height: u32) -> I420 {
    let settings = RenditionSpec {
        width: Some(width),
        height,
        video_bps: 8_000_000,
        ..SMALL
    };
    let mut transcoder = Transcoder::new(no_time);
    transcoder.set_renditions(&[(1, settings)]);
    transcoder.set_source(VideoCodec::Vp9, None).unwrap();
    let mut out = Vec::new();
    transcoder.decode(0, &units[0], true, &mut out).unwrap();
    let mut receiver = Receiver::new();
    receiver.see(1, &out);
    receiver.last()
}

#[test]
fn more_chroma_or_more_bits_become_420_of_eight_bits() {
    for format in [
        Pixel::YUV420P,
        Pixel::YUV444P,
        Pixel::YUV422P,
        Pixel::YUV420P10LE,
        Pixel::YUV444P10LE,
    ] {
        let units = foreign("libvpx-vp9", &VP9, &frames(format, false, 320, 180, 1));
        let seen = rendition(&units, 320, 180);
        assert!(!seen.full_range(), "{format:?}");
        let psnr = psnr(&seen, &samples(320, 180, 0));
        assert!(psnr > 30.0, "{format:?}: {psnr} dB");
    }
}

#[test]
fn the_full_range_is_narrowed_at_every_size() {
    for (format, size) in [
        (Pixel::YUV420P, (320, 180)),
        (Pixel::YUV420P, (160, 90)),
        (Pixel::YUV420P, (640, 360)),
        (Pixel::YUV444P, (320, 180)),
        (Pixel::YUV420P10LE, (160, 90)),
    ] {
        for (sample, narrow) in [(0, 16), (128, 126), (255, 235)] {
            let mut grey = vec![sample; 320 * 180];
            grey.resize(320 * 180 * 3 / 2, 128);
            let grey = I420::from_samples(320, 180, false, grey).unwrap();
            let picture = frame_of(&grey, format, true);
            let units = foreign("libvpx-vp9", &VP9, &[picture]);
            let seen = rendition(&units, size.0, size.1);
            assert!(!seen.full_range());
            let found = seen.samples()[(size.0 * size.1 / 2 + size.0 / 2) as usize];
            assert!(
                found.abs_diff(narrow) <= 2,
                "{format:?} {size:?}: {sample} became {found}, not {narrow}"
            );
        }
    }
}

#[test]
fn odd_sides_are_taken() {
    for (width, height) in [(319, 179), (161, 91)] {
        let picture = samples(320, 180, 0);
        let even = frame_of(&picture, Pixel::YUV420P, false);
        let mut odd = ffmpeg_next::frame::Video::empty();
        let mut scaler = ffmpeg_next::software::scaling::Context::get(
            Pixel::YUV420P,
            320,
            180,
            Pixel::YUV420P,
            width,
            height,
            ffmpeg_next::software::scaling::Flags::BICUBIC,
        )
        .unwrap();
        scaler.run(&even, &mut odd).unwrap();
        let units = foreign("libvpx-vp9", &VP9, &[odd]);
        let seen = rendition(&units, 320, 180);
        let psnr = psnr(&seen, &picture);
        assert!(psnr > 18.0, "{width}x{height}: {psnr} dB");
    }
}
