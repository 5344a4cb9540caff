//! Proves: an IDR picture that was coded as asked stands under the parameter sets of a publisher's
//! stream, looks the same there, and the stream goes on from it; an IDR picture of the stream can
//! be sent again under another number; what does not fit is refused in words and nothing panics.

use crate::pictures::{Stream, decode, nals};
use bytes::Bytes;
use proptest::prelude::*;
use shardcast_core::h264::{AdoptError, Repeater, adopt, renumber};
use shardcast_core::io::{StillFrame, StillFrameTarget};

#[test]
fn a_picture_stands_under_chromiums_parameter_sets() {
    stands_under(&Stream::of_chromium());
}

#[test]
fn a_picture_stands_under_x264s_parameter_sets() {
    for options in [
        "-profile:v baseline -preset superfast -x264-params slices=3",
        "-profile:v baseline -x264-params deblock=1,2:keyint=4:chroma-qp-offset=-3",
        "-profile:v main -tune zerolatency -x264-params slices=1:8x8dct=0",
        "-profile:v high -tune zerolatency -x264-params slices=2:8x8dct=1:keyint=5",
        "-profile:v high -bf 0 -x264-params 8x8dct=1:cabac=0",
        "-profile:v high -bf 0 -color_range pc -x264-params qp=40",
    ] {
        for size in ["320x180", "64x48"] {
            stands_under(&Stream::by_x264(size, 9, options));
        }
    }
}

#[test]
fn a_keyframe_of_the_stream_is_sent_again_under_another_number() {
    for stream in [
        Stream::of_chromium(),
        Stream::by_x264("320x180", 9, "-profile:v baseline -x264-params slices=4"),
        Stream::by_x264("320x180", 9, "-profile:v high -tune zerolatency"),
    ] {
        let idr = &stream.bodies[0];
        let mut bodies = stream.bodies.clone();
        bodies.extend([7, 8, u16::MAX].map(|id| renumber(&stream.sets, idr, id).unwrap()));
        let mut repeater = Repeater::after(&stream.sets, idr, 0).unwrap();
        bodies.push(repeater.repeat());
        let pictures = decode(&stream, &bodies);
        for picture in &pictures[stream.bodies.len()..] {
            assert!(*picture == pictures[0], "{}", stream.name);
        }
        let again = renumber(&stream.sets, &bodies[bodies.len() - 2], 7).unwrap();
        assert_eq!(again, bodies[bodies.len() - 4], "{}", stream.name);
        let inter = renumber(&stream.sets, &stream.bodies[1], 1);
        assert_eq!(inter, Err(AdoptError::NotIdr), "{}", stream.name);
    }
}

#[test]
fn the_target_is_what_the_parameter_sets_say() {
    assert_eq!(
        Stream::of_chromium().sets.still_target(),
        Some(StillFrameTarget {
            width: 320,
            height: 180,
            profile: 66,
            level: 13,
            cabac: false,
            transform_8x8: false,
            chroma_qp_offset: 0,
            full_range: true,
        })
    );
    let high = "-profile:v high -x264-params chroma-qp-offset=4:no-psy=1:level=40";
    assert_eq!(
        Stream::by_x264("1280x720", 1, high).sets.still_target(),
        Some(StillFrameTarget {
            width: 1_280,
            height: 720,
            profile: 100,
            level: 40,
            cabac: true,
            transform_8x8: true,
            chroma_qp_offset: 4,
            full_range: false,
        })
    );
}

#[test]
fn streams_that_no_picture_of_x264_fits_have_no_target() {
    for options in [
        "-x264-params interlaced=1",
        "-x264-params cqm=jvt",
        "-pix_fmt yuv422p",
        "-pix_fmt yuv420p10le",
        "-qp 0",
    ] {
        let sets = Stream::by_x264("320x192", 1, options).sets;
        assert_eq!(sets.still_target(), None, "{options}");
    }
}

#[test]
fn a_picture_that_does_not_fit_is_refused_with_the_reason() {
    let baseline = Stream::by_x264("320x180", 1, "-profile:v baseline");
    let refused = |stream: &Stream, options: &str, size: &str| {
        adopt(&stream.sets, &still(&Stream::by_x264(size, 1, options)), 0).unwrap_err()
    };
    for (options, size, what) in [
        ("-profile:v baseline", "64x64", "size"),
        (
            "-profile:v main -x264-params 8x8dct=0",
            "320x180",
            "entropy coding",
        ),
        (
            "-profile:v high -x264-params cabac=0",
            "320x180",
            "8x8 transforms",
        ),
        (
            "-profile:v baseline -x264-params chroma-qp-offset=5",
            "320x180",
            "chroma QP",
        ),
    ] {
        let error = refused(&baseline, options, size);
        assert_eq!(error, AdoptError::Differs(what), "{options}");
    }
    let mut inter = still(&baseline);
    inter.slices[0] = Bytes::from_static(&[0x41, 0x9A, 0x02, 0x03, 0x04, 0x05, 0x06]);
    let error = adopt(&baseline.sets, &inter, 0).unwrap_err();
    assert!(
        matches!(error, AdoptError::NotIdr | AdoptError::Slice(_)),
        "{error}"
    );
}

proptest! {
    #[test]
    fn no_damage_makes_it_panic(
        flips in prop::collection::vec((0_usize..400, any::<u8>()), 0..6),
        cut in 1_usize..400,
    ) {
        let stream = Stream::of_chromium();
        let mut slice = still(&stream).slices[0].to_vec();
        for (at, mask) in flips {
            slice[at] ^= mask;
        }
        slice.truncate(cut);
        let picture = StillFrame {
            slices: vec![Bytes::from(slice)],
            ..still(&stream)
        };
        let _ = adopt(&stream.sets, &picture, u16::MAX);
    }

    #[test]
    fn no_garbage_makes_it_panic(
        sps in prop::collection::vec(any::<u8>(), 0..40),
        pps in prop::collection::vec(any::<u8>(), 0..20),
        slice in prop::collection::vec(any::<u8>(), 0..60),
        body in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let stream = Stream::of_chromium();
        let picture = StillFrame {
            sps: Bytes::from(sps),
            pps: Bytes::from(pps),
            slices: vec![Bytes::from(slice)],
        };
        let _ = adopt(&stream.sets, &picture, 0);
        let _ = renumber(&stream.sets, &body, 0);
    }
}

/// The first picture of a stream, with the parameter sets that it was coded under.
fn still(stream: &Stream) -> StillFrame {
    StillFrame {
        sps: stream.sets.sps_nal().clone(),
        pps: stream.sets.pps_nals()[0].clone(),
        slices: slices(&stream.bodies[0]),
    }
}

/// Codes a picture as the stream's target says, lets it stand in the stream after its last
/// picture, and goes on from there.
fn stands_under(stream: &Stream) {
    let target = stream.sets.still_target().expect("a target");
    let options = format!(
        "-bf 0 -x264-params cabac={}:8x8dct={}:chroma-qp-offset={}:no-psy=1:qp=20:weightp=0",
        u8::from(target.cabac),
        u8::from(target.transform_8x8),
        target.chroma_qp_offset,
    );
    let size = format!("{}x{}", target.width, target.height);
    let coded = Stream::by_x264(&size, 1, &options);
    let wanted = decode(&coded, &coded.bodies).remove(0);

    let mut bodies = stream.bodies.clone();
    let mut repeater = Repeater::after(&stream.sets, &bodies[bodies.len() - 1], 0).unwrap();
    bodies.extend((0..3).map(|_| repeater.repeat()));
    let adopted = bodies.len();
    for id in [300, 301] {
        let body = adopt(&stream.sets, &still(&coded), id).unwrap();
        repeater = Repeater::after(&stream.sets, &body, 0).unwrap();
        bodies.push(body);
        bodies.extend((0..3).map(|_| repeater.repeat()));
    }
    let pictures = decode(stream, &bodies);
    for (at, picture) in pictures[adopted..].iter().enumerate() {
        assert!(*picture == wanted, "{}: picture {at}", stream.name);
    }
}

fn slices(body: &[u8]) -> Vec<Bytes> {
    let slices = nals(body).into_iter().filter(|nal| nal[0] & 0x1F == 5);
    slices.map(Bytes::copy_from_slice).collect()
}
