//! Still pictures are made beside the executor, each is answered, and in reason when there is none.

use bytes::Bytes;
use shardcast_core::io::{Output, StillFrameId, StillFrameJob, StillFrameSource, StillFrameTarget};

use crate::rig::{Rig, Seen};

/// Two by two red pixels.
const PNG: &[u8] = &[
    0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A, 0x00, 0x00, 0x00, 0x0D, 0x49, 0x48, 0x44, 0x52,
    0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x02, 0x08, 0x02, 0x00, 0x00, 0x00, 0xFD, 0xD4, 0x9A,
    0x73, 0x00, 0x00, 0x00, 0x10, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9C, 0x63, 0xF8, 0xCF, 0xC0, 0x00,
    0x44, 0x0C, 0x10, 0x0A, 0x00, 0x1F, 0xEE, 0x03, 0xFD, 0x8B, 0x5F, 0x14, 0xD4, 0x00, 0x00, 0x00,
    0x00, 0x49, 0x45, 0x4E, 0x44, 0xAE, 0x42, 0x60, 0x82,
];

fn still(id: u64, image: &'static [u8]) -> Output {
    Output::StillFrame(StillFrameJob {
        still: StillFrameId::numbered(id),
        source: StillFrameSource::Image(Bytes::from_static(image)),
        target: StillFrameTarget {
            width: 320,
            height: 180,
            profile: 66,
            level: 13,
            cabac: false,
            transform_8x8: false,
            chroma_qp_offset: 0,
            full_range: false,
        },
    })
}

#[cfg(feature = "x264")]
#[test]
fn pictures_are_made_in_the_order_in_which_they_were_asked_for() {
    let rig = Rig::new();
    rig.ask((1..=5).map(|id| still(id, PNG)));
    for id in 1..=5 {
        let Seen::Still(seen, Ok(picture)) = rig.next() else {
            panic!("no picture {id}");
        };
        assert_eq!((seen.number(), picture.slices.len()), (id, 1));
        assert_eq!((picture.sps[0] & 0x1F, picture.pps[0] & 0x1F), (7, 8));
    }
}

#[test]
fn a_picture_that_cannot_be_made_is_answered_with_a_reason() {
    let rig = Rig::new();
    rig.ask([still(1, &PNG[..40])]);
    match rig.next() {
        Seen::Still(still, Err(reason)) if still.number() == 1 => {
            assert!(
                reason.contains("PNG") || reason.contains("x264"),
                "{reason}"
            );
        }
        other => panic!("{other:?}"),
    }
}
