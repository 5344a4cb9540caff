//! Proves: an image file becomes a picture of the wanted size with its proportions and colours, and
//! files and streams that are damaged, hostile or too large are refused with a reason.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test"
)]

use std::io::Cursor;

use bytes::Bytes;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use rand::{Rng, SeedableRng, rngs::StdRng};
use shardcast_link::VideoCodec;
use shardcast_media::limits::{GOP_ACCESS_UNITS_MAX, IMAGE_BYTES_MAX, IMAGE_SIDE_PIXELS_MAX};
use shardcast_media::still_frame::last_of;
use shardcast_media::{StillFrameError, VideoDecoder, draw};

const RED: Rgb<u8> = Rgb([255, 0, 0]);

#[test]
fn an_image_is_scaled_with_its_proportions_into_the_middle_of_black() {
    let wide = file(
        &RgbImage::from_pixel(200, 50, Rgb([255; 3])).into(),
        ImageFormat::Png,
    );
    let picture = draw(&wide, 320, 180, false).unwrap();
    assert_eq!((picture.width(), picture.height()), (320, 180));
    // 320 by 80, between the rows 50 and 130.
    let luma = |x: usize, y: usize| picture.samples()[y * 320 + x];
    assert_eq!([luma(0, 49), luma(319, 130)], [16, 16]);
    for (x, y) in [(0, 50), (319, 50), (160, 90), (0, 129), (319, 129)] {
        assert_eq!(luma(x, y), 235, "{x},{y}");
    }
    let tall = file(
        &RgbImage::from_pixel(10, 90, Rgb([255; 3])).into(),
        ImageFormat::Png,
    );
    let picture = draw(&tall, 320, 180, true).unwrap();
    let row: Vec<u8> = picture.samples()[90 * 320..91 * 320].to_vec();
    assert_eq!(row.iter().filter(|luma| **luma == 255).count(), 20);
    assert_eq!((row[149], row[150], row[169], row[170]), (0, 255, 255, 0));
}

#[test]
fn colours_are_those_of_bt_709_in_the_range_of_the_stream() {
    let red = file(&RgbImage::from_pixel(64, 64, RED).into(), ImageFormat::Png);
    for (full_range, expected) in [(false, [63, 102, 240]), (true, [54, 99, 255])] {
        let picture = draw(&red, 64, 64, full_range).unwrap();
        let samples = picture.samples();
        let seen = [samples[0], samples[64 * 64], samples[64 * 64 * 5 / 4]];
        assert_eq!((seen, picture.full_range()), (expected, full_range));
    }
    let clear = RgbaImage::from_pixel(64, 64, Rgba([255, 255, 255, 0]));
    let picture = draw(&file(&clear.into(), ImageFormat::Png), 64, 64, false).unwrap();
    assert!(picture.samples()[..64 * 64].iter().all(|luma| *luma == 16));
}

#[test]
fn files_that_are_no_usable_image_are_refused_with_a_reason() {
    let words = |file: &[u8]| draw(file, 320, 180, false).unwrap_err().to_string();
    let gif = b"GIF89a\x01\0\x01\0\0\0\0;";
    assert!(
        words(gif).contains("neither PNG nor JPEG"),
        "{}",
        words(gif)
    );
    assert!(words(b"").contains("neither PNG nor JPEG"));
    assert!(words(&vec![0xFF; IMAGE_BYTES_MAX + 1]).contains("at most"));
    let png = file(&RgbImage::from_pixel(20, 20, RED).into(), ImageFormat::Png);
    assert!(words(&png[..40]).contains("cannot be used"));
    // The header promises a side that no picture needs; nothing is allocated for it.
    let wide = |width| {
        file(
            &RgbImage::from_pixel(width, 1, RED).into(),
            ImageFormat::Png,
        )
    };
    let too_wide = wide(IMAGE_SIDE_PIXELS_MAX + 1);
    let refusal = words(&too_wide);
    assert!(refusal.contains("cannot be used"), "{refusal}");
    assert!(draw(&wide(IMAGE_SIDE_PIXELS_MAX), 320, 180, false).is_ok());
    let odd = draw(&png, 321, 180, false);
    assert!(matches!(
        odd,
        Err(StillFrameError::Size {
            width: 321,
            height: 180
        })
    ));
}

#[test]
fn damaged_images_do_not_panic() {
    let mut random = StdRng::seed_from_u64(1);
    let photo = DynamicImage::from(noise(48, 48, &mut random));
    for format in [ImageFormat::Png, ImageFormat::Jpeg] {
        let sound = file(&photo, format);
        for _ in 0..300 {
            let mut damaged = sound.clone();
            for _ in 0..random.random_range(1..6) {
                let at = random.random_range(0..damaged.len());
                damaged[at] = random.random();
            }
            let _ = draw(&damaged, 64, 64, false);
        }
    }
}

#[test]
fn what_is_no_stream_is_refused_with_a_reason() {
    assert!(VideoDecoder::new(VideoCodec::H264, Some(&[])).is_err());
    assert!(VideoDecoder::new(VideoCodec::H264, Some(&[0, 0, 0, 1, 0x67, 66, 0xC0, 31])).is_err());
    let many = vec![Bytes::from_static(&[0]); GOP_ACCESS_UNITS_MAX + 1];
    assert!(matches!(
        last_of(&[], &many),
        Err(StillFrameError::TooMuch { .. })
    ));
    let long = vec![Bytes::from(vec![0; 3 << 20]); 3];
    assert!(matches!(
        last_of(&[], &long),
        Err(StillFrameError::TooMuch { .. })
    ));
}

#[cfg(not(feature = "x264"))]
#[test]
fn a_build_without_an_encoder_reports_it() {
    use shardcast_media::{StillFrameSource, StillFrameTarget, still_frame};
    let target = StillFrameTarget {
        width: 64,
        height: 64,
        cabac: false,
        transform_8x8: false,
        chroma_qp_offset: 0,
        full_range: false,
    };
    let error = still_frame::make(StillFrameSource::Image(&[]), &target).unwrap_err();
    assert!(matches!(error, StillFrameError::NoEncoder), "{error}");
}

fn noise(width: u32, height: u32, random: &mut StdRng) -> RgbImage {
    RgbImage::from_fn(width, height, |_, _| Rgb(random.random()))
}

fn file(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    image
        .write_to(&mut Cursor::new(&mut bytes), format)
        .unwrap();
    bytes
}
