//! Proves: VP8, VP9 and AV1 become the same rendition as H.264, also one after the other, without a
//! step in time and without other parameter sets.

use bytes::Bytes;
use ffmpeg_next::format::Pixel;
use shardcast_link::{RenditionSpec, VideoCodec};
use shardcast_media::{MediaError, Transcoder};

use crate::receiver::{Receiver, psnr};
use crate::test_clip::{
    H264, LIBAOM_LIVE, LIBVPX_LIVE, SECOND_US, SMALL, foreign, frames, no_time, samples,
};

const PICTURES: u32 = 15;

/// A publisher's pictures in each codec, and the record of H.264.
fn streams() -> Vec<(VideoCodec, Option<Vec<u8>>, Vec<Bytes>)> {
    let pictures = frames(Pixel::YUV420P, false, 320, 180, PICTURES);
    let mut h264 = H264::new(320, 180, 1_000_000);
    let units = (0..PICTURES).map(|_| h264.next()).collect();
    vec![
        (
            VideoCodec::Vp8,
            None,
            foreign("libvpx", &LIBVPX_LIVE, &pictures),
        ),
        (VideoCodec::H264, Some(h264.record), units),
        (
            VideoCodec::Vp9,
            None,
            foreign("libvpx-vp9", &LIBVPX_LIVE, &pictures),
        ),
        (
            VideoCodec::Av1,
            None,
            foreign("libaom-av1", &LIBAOM_LIVE, &pictures),
        ),
    ]
}

#[test]
fn every_codec_becomes_the_same_rendition_one_after_the_other() {
    let settings = RenditionSpec {
        video_bps: 2_000_000,
        gop_ms: SECOND_US as u32 / 1_000,
        ..SMALL
    };
    let mut transcoder = Transcoder::new(no_time);
    transcoder.set_renditions(&[(1, settings)]);
    let mut receiver = Receiver::new();
    let mut n = 0;
    for (codec, record, units) in streams() {
        transcoder.set_source(codec, record.as_deref()).unwrap();
        for unit in units {
            let mut out = Vec::new();
            let pts_us = n * SECOND_US / 30;
            transcoder.decode(pts_us, &unit, true, &mut out).unwrap();
            assert_eq!(out.len(), 1, "{codec:?}");
            receiver.see(1, &out);
            n += 1;
        }
        let psnr = psnr(&receiver.last(), &samples(320, 180, PICTURES - 1));
        assert!(psnr > 26.0, "{codec:?}: {psnr} dB");
    }
    assert_eq!(receiver.sets.len(), 1);
    assert_eq!(receiver.idr_times(), [0, SECOND_US]);
    let times: Vec<i64> = (0..4 * i64::from(PICTURES))
        .map(|n| (n * SECOND_US + 15) / 30)
        .collect();
    assert_eq!(receiver.times(), times);
    assert_eq!(transcoder.report().decoded, 4 * u64::from(PICTURES));
}

#[test]
fn a_stream_that_does_not_begin_with_a_keyframe_waits_for_one() {
    for (codec, record, units) in streams() {
        let mut transcoder = Transcoder::new(no_time);
        transcoder.set_renditions(&[(1, SMALL)]);
        transcoder.set_source(codec, record.as_deref()).unwrap();
        let mut out = Vec::new();
        for unit in units.iter().skip(1) {
            let refused = transcoder.decode(0, unit, true, &mut out);
            assert!(
                matches!(refused, Err(MediaError::Video { .. })),
                "{codec:?}: {refused:?}"
            );
        }
        assert!(out.is_empty());
        transcoder.decode(1, &units[0], true, &mut out).unwrap();
        assert_eq!(out.len(), 1);
    }
}

#[test]
fn after_a_damaged_picture_none_is_seen_until_the_next_keyframe() {
    let mut source = H264::new(320, 180, 1_000_000);
    let mut transcoder = Transcoder::new(no_time);
    transcoder.set_renditions(&[(1, SMALL)]);
    let mut out = Vec::new();
    let mut results = Vec::new();
    for n in 0..12 {
        let unit = source.next_as(n == 0 || n == 9);
        if n == 0 {
            let record = Some(&source.record[..]);
            transcoder.set_source(VideoCodec::H264, record).unwrap();
        }
        let damaged = unit.slice(..unit.len() / 2);
        let unit = if n == 4 { damaged } else { unit };
        let result = transcoder.decode(n * 33_333, &unit, true, &mut out);
        results.push(result.is_ok());
    }
    assert_eq!(
        results,
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11].map(|n| !(4..9).contains(&n))
    );
    // The picture before stands for those that were not seen.
    let report = transcoder.report();
    assert_eq!(report.errors, 5);
    assert_eq!(
        (report.renditions[0].frames, report.renditions[0].repeated),
        (12, 5)
    );
    let mut receiver = Receiver::new();
    receiver.see(1, &out);
    assert_eq!(receiver.pictures.len(), 12);
}

#[test]
fn without_a_source_units_are_refused() {
    let mut transcoder = Transcoder::new(no_time);
    let refused = transcoder.decode(0, &[0, 0, 0, 1, 9], true, &mut Vec::new());
    assert!(matches!(refused, Err(MediaError::NoSource)));
    assert!(transcoder.set_source(VideoCodec::H264, None).is_err());
    assert!(
        transcoder
            .set_source(VideoCodec::H264, Some(&[1; 3]))
            .is_err()
    );
}
