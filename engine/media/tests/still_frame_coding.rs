//! Proves: a picture is coded as asked, is small, and decodes to what it was; the last picture of a
//! stream is found and encoded again; no damage to a stream makes the decoder panic.
#![cfg(feature = "x264")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test"
)]

use std::io::Cursor;

use bytes::{BufMut, Bytes};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use rand::{Rng, SeedableRng, rngs::StdRng};
use shardcast_media::still_frame::{self, last_of};
use shardcast_media::{
    I420, StillFrameError, StillFrameNals, StillFrameSource, StillFrameTarget, draw,
};

const RED: Rgb<u8> = Rgb([255, 0, 0]);

const TARGET: StillFrameTarget = StillFrameTarget {
    width: 320,
    height: 180,
    cabac: true,
    transform_8x8: true,
    chroma_qp_offset: 0,
    full_range: false,
};

#[test]
fn a_picture_is_one_idr_slice_and_decodes_to_what_it_was() {
    let image = file(&gradient(640, 360), ImageFormat::Jpeg);
    for (cabac, transform_8x8, full_range) in [
        (true, true, false),
        (true, false, true),
        (false, false, false),
    ] {
        let target = StillFrameTarget {
            cabac,
            transform_8x8,
            full_range,
            chroma_qp_offset: -4,
            ..TARGET
        };
        let nals = still_frame::make(StillFrameSource::Image(&image), &target).unwrap();
        assert_eq!((nals.slices.len(), nals.slices[0][0] & 0x1F), (1, 5));
        let seen = last_of(&record(&nals), &[unit(&nals)]).unwrap();
        let wanted = draw(&image, 320, 180, full_range).unwrap();
        assert_eq!(seen.full_range(), full_range);
        let psnr = psnr(&seen, &wanted);
        assert!(psnr > 38.0, "{psnr} dB for {target:?}");
    }
}

#[test]
fn the_last_picture_of_a_stream_is_coded_anew() {
    let first = file(&gradient(320, 180), ImageFormat::Png);
    let second = file(
        &RgbImage::from_pixel(320, 180, RED).into(),
        ImageFormat::Png,
    );
    let [first, second] = [first, second]
        .map(|image| still_frame::make(StillFrameSource::Image(&image), &TARGET).unwrap());
    let source = StillFrameSource::LastOf {
        record: &record(&first),
        access_units: &[unit(&first), unit(&second)],
    };
    let target = StillFrameTarget {
        cabac: false,
        transform_8x8: false,
        ..TARGET
    };
    let again = still_frame::make(source, &target).unwrap();
    let seen = last_of(&record(&again), &[unit(&again)]).unwrap();
    let wanted = last_of(&record(&second), &[unit(&second)]).unwrap();
    let psnr = psnr(&seen, &wanted);
    assert!(psnr > 38.0, "{psnr} dB");
    let larger = StillFrameTarget {
        width: 640,
        height: 360,
        ..TARGET
    };
    let error = still_frame::make(source, &larger).unwrap_err();
    assert!(matches!(error, StillFrameError::Size { .. }), "{error}");
}

#[test]
fn the_worst_picture_is_made_coarse_until_it_is_small() {
    let mut random = StdRng::seed_from_u64(2);
    let noise = RgbImage::from_fn(1_280, 720, |_, _| Rgb(random.random()));
    let image = file(&noise.into(), ImageFormat::Jpeg);
    let target = StillFrameTarget {
        width: 1_280,
        height: 720,
        ..TARGET
    };
    let nals = still_frame::make(StillFrameSource::Image(&image), &target).unwrap();
    assert!(
        nals.slices[0].len() < 200_000,
        "{} bytes",
        nals.slices[0].len()
    );
}

#[test]
fn damaged_streams_do_not_panic() {
    let mut random = StdRng::seed_from_u64(3);
    let image = file(&gradient(320, 180), ImageFormat::Png);
    let nals = still_frame::make(StillFrameSource::Image(&image), &TARGET).unwrap();
    let sound = unit(&nals);
    let mut decoded = 0;
    for _ in 0..200 {
        let mut damaged = sound.to_vec();
        for _ in 0..random.random_range(1..8) {
            let at = random.random_range(0..damaged.len());
            damaged[at] = random.random();
        }
        damaged.truncate(random.random_range(1..=sound.len()));
        let mut record = record(&nals);
        if random.random_bool(0.2) {
            let at = random.random_range(8..record.len());
            record[at] = random.random();
        }
        decoded += usize::from(last_of(&record, &[Bytes::from(damaged)]).is_ok());
    }
    assert!(decoded > 0);
}

/// ISO/IEC 14496-15 5.3.3.1.2, without the fields of high profiles, which decoders do not miss.
fn record(nals: &StillFrameNals) -> Vec<u8> {
    let (sps, pps) = (&nals.sps, &nals.pps);
    let mut record = vec![1, sps[1], sps[2], sps[3], 0xFF, 0xE1];
    record.put_u16(sps.len() as u16);
    record.put_slice(sps);
    record.put_u8(1);
    record.put_u16(pps.len() as u16);
    record.put_slice(pps);
    record
}

fn unit(nals: &StillFrameNals) -> Bytes {
    let mut unit = Vec::new();
    for slice in &nals.slices {
        unit.put_u32(slice.len() as u32);
        unit.put_slice(slice);
    }
    Bytes::from(unit)
}

fn gradient(width: u32, height: u32) -> DynamicImage {
    let part = |value: u32, of: u32| (value * 255 / of) as u8;
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([part(x, width), part(y, height), part(width - x, width)])
    })
    .into()
}

fn psnr(one: &I420, other: &I420) -> f64 {
    let pairs = one.samples().iter().zip(other.samples());
    let squares: f64 = pairs
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
        .sum();
    10.0 * (255.0 * 255.0 * one.samples().len() as f64 / squares.max(1.0)).log10()
}

fn file(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    image
        .write_to(&mut Cursor::new(&mut bytes), format)
        .unwrap();
    bytes
}
