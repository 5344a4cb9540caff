//! Proves: a rendition has one size and one pair of parameter sets while the publisher's size changes
//! with every picture; the whole picture is seen, in the middle, with black around it.

use ffmpeg_next::format::Pixel;
use shardcast_link::{RenditionSpec, VideoCodec};
use shardcast_media::Transcoder;

use crate::receiver::{Receiver, psnr};
use crate::test_clip::{H264, SMALL, foreign, frames, no_time, samples};

#[test]
fn size_and_parameter_sets_stay_while_the_source_changes_its_size_each_picture() {
    let mut transcoder = Transcoder::new(no_time);
    transcoder.set_renditions(&[(7, SMALL)]);
    let sizes = [(640, 360), (320, 240), (180, 320), (320, 180), (16, 16)];
    let mut out = Vec::new();
    for n in 0..40 {
        let (width, height) = sizes[n % sizes.len()];
        let mut source = H264::new(width, height, 500_000);
        let unit = source.next();
        transcoder
            .set_source(VideoCodec::H264, Some(&source.record))
            .unwrap();
        let pts_us = n as i64 * 33_333;
        transcoder.decode(pts_us, &unit, true, &mut out).unwrap();
    }
    let mut receiver = Receiver::new();
    receiver.see(7, &out);
    assert_eq!(receiver.pictures.len(), 40);
    assert!(receiver.pictures.iter().all(|p| p.size == (320, 180)));
    assert_eq!(receiver.sets.len(), 1);
    assert_eq!(receiver.idr_times(), [0]);
    let report = transcoder.report();
    assert_eq!((report.decoded, report.errors), (40, 0));
    assert_eq!((report.width, report.height), (16, 16));
    let made = report.renditions[0];
    assert_eq!((made.frames, made.repeated, made.dropped), (40, 0, 0));
}

#[test]
fn a_decoder_follows_the_sizes_within_a_stream() {
    let sizes = [(320, 180), (176, 144), (90, 160), (640, 360), (320, 180)];
    for (codec, encoder) in [
        (VideoCodec::Vp8, "libvpx"),
        (VideoCodec::Vp9, "libvpx-vp9"),
        (VideoCodec::Av1, "libaom-av1"),
    ] {
        let mut transcoder = Transcoder::new(no_time);
        transcoder.set_renditions(&[(1, SMALL)]);
        transcoder.set_source(codec, None).unwrap();
        let mut out = Vec::new();
        for (n, (width, height)) in sizes.into_iter().enumerate() {
            let pictures = frames(Pixel::YUV420P, false, width, height, 1);
            let unit = &foreign(encoder, &[("cpu-used", "8")], &pictures)[0];
            let pts_us = n as i64 * 33_333;
            transcoder.decode(pts_us, unit, true, &mut out).unwrap();
            let report = transcoder.report();
            assert_eq!((report.width, report.height), (width, height), "{codec:?}");
        }
        let mut receiver = Receiver::new();
        receiver.see(1, &out);
        assert_eq!((receiver.pictures.len(), receiver.sets.len()), (5, 1));
        assert!(receiver.pictures.iter().all(|p| p.size == (320, 180)));
        let psnr = psnr(&receiver.last(), &samples(320, 180, 0));
        assert!(psnr > 20.0, "{codec:?}: {psnr} dB");
    }
}

#[test]
fn a_picture_of_another_shape_stands_in_the_middle_of_black() {
    let windows = [
        ((180, 320), (108, 0, 102, 180)),
        ((320, 90), (0, 44, 320, 90)),
        ((240, 180), (40, 0, 240, 180)),
    ];
    for (source, (left, top, width, height)) in windows {
        let mut source_stream = H264::new(source.0, source.1, 1_000_000);
        let unit = source_stream.next();
        let mut transcoder = Transcoder::new(no_time);
        transcoder.set_renditions(&[(
            1,
            RenditionSpec {
                video_bps: 4_000_000,
                ..SMALL
            },
        )]);
        transcoder
            .set_source(VideoCodec::H264, Some(&source_stream.record))
            .unwrap();
        let mut out = Vec::new();
        transcoder.decode(0, &unit, true, &mut out).unwrap();
        let mut receiver = Receiver::new();
        receiver.see(1, &out);
        let picture = receiver.last();
        let luma = |x: usize, y: usize| picture.samples()[y * 320 + x];
        for y in 0..180 {
            for x in 0..320 {
                let within = |margin: usize| {
                    (left..left + width + 2 * margin).contains(&(x + margin))
                        && (top..top + height + 2 * margin).contains(&(y + margin))
                };
                // What the edge of the picture does to its neighbours is the encoder's.
                let (near, inside) = (within(8), within(0));
                if !near {
                    assert!(
                        luma(x, y).abs_diff(16) <= 3,
                        "{source:?} {x} {y}: {}",
                        luma(x, y)
                    );
                } else if inside {
                    assert!(luma(x, y) > 24, "{source:?} {x} {y}: {}", luma(x, y));
                }
            }
        }
    }
}

#[test]
fn the_width_follows_from_the_first_picture_and_stays() {
    let mut transcoder = Transcoder::new(no_time);
    let settings = RenditionSpec {
        width: None,
        height: 90,
        ..SMALL
    };
    transcoder.set_renditions(&[(1, settings)]);
    let mut out = Vec::new();
    for (n, (width, height)) in [(320, 240), (320, 180)].into_iter().enumerate() {
        let mut source = H264::new(width, height, 500_000);
        let unit = source.next();
        let record = Some(&source.record[..]);
        transcoder.set_source(VideoCodec::H264, record).unwrap();
        transcoder
            .decode(n as i64 * 33_333, &unit, true, &mut out)
            .unwrap();
    }
    let mut receiver = Receiver::new();
    receiver.see(1, &out);
    assert!(receiver.pictures.iter().all(|p| p.size == (120, 90)));
}

#[test]
fn a_source_of_the_same_size_is_encoded_as_it_came() {
    let mut source = H264::new(320, 180, 4_000_000);
    let unit = source.next();
    let mut transcoder = Transcoder::new(no_time);
    transcoder.set_renditions(&[(
        1,
        RenditionSpec {
            video_bps: 4_000_000,
            ..SMALL
        },
    )]);
    let record = Some(&source.record[..]);
    transcoder.set_source(VideoCodec::H264, record).unwrap();
    let mut out = Vec::new();
    transcoder.decode(0, &unit, true, &mut out).unwrap();
    let mut receiver = Receiver::new();
    receiver.see(1, &out);
    let psnr = psnr(&receiver.last(), &samples(320, 180, 0));
    assert!(psnr > 35.0, "{psnr} dB");
}
