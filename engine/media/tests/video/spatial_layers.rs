//! Proves: of a picture in spatial layers the highest one is shown, once, from the first keyframe on.
//!
//! The units were recorded from Chromium 156, which sent 640x360 in two layers (`scalabilityMode` `L2T1` of
//! AV1, `L2T1_KEY` of VP9, with its superframe index): a keyframe and two more, each behind its length of
//! four bytes.

use shardcast_link::VideoCodec;
use shardcast_media::Transcoder;

use crate::test_clip::{SECOND_US, SMALL, no_time};

const RECORDED: [(VideoCodec, &[u8]); 2] = [
    (
        VideoCodec::Av1,
        include_bytes!("chromium_av1_two_layers.bin"),
    ),
    (
        VideoCodec::Vp9,
        include_bytes!("chromium_vp9_two_layers.bin"),
    ),
];

fn units(mut file: &[u8]) -> Vec<&[u8]> {
    std::iter::from_fn(|| {
        let (length, rest) = file.split_first_chunk::<4>()?;
        let (unit, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        file = rest;
        Some(unit)
    })
    .collect()
}

#[test]
fn the_highest_layer_is_shown_once_from_the_keyframe_on() {
    for (codec, file) in RECORDED {
        let mut transcoder = Transcoder::new(no_time);
        transcoder.set_renditions(&[(1, SMALL)]);
        transcoder.set_source(codec, None).unwrap();
        let units = units(file);
        assert_eq!(units.len(), 3);
        // The first of what remains when the keyframe is lost is not to be seen.
        let mut out = Vec::new();
        let early = transcoder.decode(0, units[1], true, &mut out);
        assert!(early.is_err() && out.is_empty(), "{codec:?}");
        transcoder.set_source(codec, None).unwrap();
        for (n, unit) in (0..).zip(&units) {
            let pts_us = n * SECOND_US / 30;
            transcoder.decode(pts_us, unit, true, &mut out).unwrap();
            let report = transcoder.report();
            assert_eq!((report.width, report.height), (640, 360), "{codec:?}");
        }
        assert_eq!(out.len(), 3, "{codec:?}");
        assert_eq!(transcoder.report().decoded, 3, "{codec:?}");
    }
}
