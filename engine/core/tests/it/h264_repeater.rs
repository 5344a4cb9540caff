//! Proves: a stream that goes on by repeating its last picture decodes without a complaint, and
//! every repeated picture is the last one bit for bit, whatever encoder and tools made it; streams
//! that cannot be carried on are refused in words, and nothing makes the repeater panic.

use crate::pictures::{Stream, decode, nals};
use bytes::Bytes;
use proptest::prelude::*;
use shardcast_core::h264::{
    ParameterSets, RepeatError, Repeater, SliceError, SyntaxError, VideoUnit,
};

/// Six pictures by the encoder of Chromium with `scalabilityMode: "L1T2"`: every second one is no
/// reference.
const LAYERS: &[u8] = include_bytes!("pictures/chromium_layers.h264");

/// More than `frame_num` and `pic_order_cnt_lsb` of x264 (4 and 6 bits) count to.
const REPEATED: usize = 40;

#[test]
fn what_chromium_sends_goes_on() {
    goes_on(&Stream::of_chromium());
}

#[test]
fn after_a_picture_that_is_no_reference_the_one_before_it_is_repeated() {
    let stream = Stream::cut("Chromium in layers", LAYERS);
    let mut repeater = Repeater::after(&stream.sets, &stream.bodies[5], 0).unwrap();
    let mut bodies = stream.bodies.clone();
    bodies.extend((0..REPEATED).map(|_| repeater.repeat()));
    let pictures = decode(&stream, &bodies);
    assert!(pictures[5] != pictures[4]);
    assert!(pictures[6..].iter().all(|picture| *picture == pictures[4]));

    let mut cut_after_reference = stream;
    cut_after_reference.bodies.truncate(5);
    goes_on(&cut_after_reference);
}

#[test]
fn what_x264_makes_in_the_baseline_profile_goes_on() {
    goes_on(&Stream::by_x264(
        "320x180",
        12,
        "-profile:v baseline -preset superfast",
    ));
    goes_on(&Stream::by_x264(
        "320x180",
        12,
        "-profile:v baseline -preset medium -refs 3 -x264-params slices=4:deblock=2,-1:qp=30",
    ));
    goes_on(&Stream::by_x264(
        "64x64",
        5,
        "-profile:v baseline -x264-params no-deblock=1",
    ));
}

#[test]
fn what_x264_makes_with_cabac_weights_and_8x8_transforms_goes_on() {
    let live = "-tune zerolatency -x264-params slices=1";
    goes_on(&Stream::by_x264(
        "1280x720",
        8,
        &format!("-profile:v main -preset superfast {live}"),
    ));
    for size in ["16x16", "48x80", "320x180", "1920x1080"] {
        goes_on(&Stream::by_x264(
            size,
            6,
            &format!("-profile:v high -preset medium -x264-params weightp=2:8x8dct=1 {live}"),
        ));
    }
}

#[test]
fn behind_b_frames_the_picture_that_is_shown_last_is_repeated() {
    let live = "-preset medium -g 60";
    for (b_frames, pyramid) in [(1, "none"), (2, "none"), (3, "normal"), (3, "strict")] {
        let options = format!(
            "{live} -bf {b_frames} -x264-params b-adapt=0:scenecut=0:b-pyramid={pyramid}:slices=1"
        );
        let stream = Stream::by_x264("320x180", 20, &options);
        // Each place of the last group of pictures is one at which the publisher may be lost.
        for sent in 16..=stream.bodies.len() {
            goes_on_in_order(&stream, sent);
        }
    }
}

#[test]
fn a_stream_goes_on_after_its_keyframe_too() {
    let mut stream = Stream::by_x264("320x180", 12, "-profile:v high -tune zerolatency");
    stream.bodies.truncate(1);
    goes_on(&stream);
}

#[test]
fn a_keyframe_in_between_is_followed() {
    let stream = Stream::of_chromium();
    let mut repeater = Repeater::after(&stream.sets, &stream.bodies[7], 0).unwrap();
    let mut bodies = stream.bodies[..8].to_vec();
    bodies.extend((0..3).map(|_| repeater.repeat()));
    bodies.push(stream.bodies[0].clone());
    repeater = Repeater::after(&stream.sets, &stream.bodies[0], 0).unwrap();
    bodies.extend((0..3).map(|_| repeater.repeat()));
    let pictures = decode(&stream, &bodies);
    assert!(
        pictures[8..11]
            .iter()
            .all(|picture| *picture == pictures[7])
    );
    assert!(pictures[11..].iter().all(|picture| *picture == pictures[0]));
}

#[test]
fn streams_that_cannot_be_carried_on_are_refused_in_words() {
    let last = |stream: &Stream, at: usize| {
        Repeater::after(&stream.sets, &stream.bodies[at], 0).map(|_| ())
    };
    let b_pictures = Stream::by_x264("320x180", 12, "-bf 2 -x264-params b-adapt=0:scenecut=0");
    assert_eq!(last(&b_pictures, 2), Err(SliceError::NotIOrP.into()));
    let interlaced = Stream::by_x264("320x192", 4, "-x264-params interlaced=1:bframes=0");
    assert_eq!(last(&interlaced, 0), Err(SyntaxError::Interlaced.into()));
    let chromium = Stream::of_chromium();
    let empty = Repeater::after(&chromium.sets, &[], 0).map(|_| ());
    assert_eq!(empty, Err(SliceError::Missing.into()));
    let cut = Repeater::after(&chromium.sets, &[0, 0, 0, 2, 0x41, 0x9A], 0).map(|_| ());
    assert_eq!(cut, Err(RepeatError::Slice(SliceError::Malformed)));
}

proptest! {
    #[test]
    fn no_slice_makes_it_panic(
        cabac in any::<bool>(),
        kind in prop::sample::select(vec![0x41_u8, 0x65, 0x01, 0x25]),
        rest in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let pps: &[u8] = if cabac { &[0x68, 0xEB, 0xE3, 0xCB, 0x22, 0xC0] } else { &[0x68, 0xCB, 0x83, 0xCB, 0x20] };
        let sets = ParameterSets::new(&Bytes::from_static(SPS), &[Bytes::from_static(pps)]).unwrap();
        let mut body = vec![0, 0, 0, rest.len() as u8 + 1, kind];
        body.extend(rest);
        if let Ok(mut repeater) = Repeater::after(&sets, &body, 0) {
            prop_assert!(repeater.repeat().len() > 9);
        }
    }

    #[test]
    fn no_parameter_set_makes_it_panic(
        mut sps in Just(SPS.to_vec()),
        flips in prop::collection::vec((4_usize..24, any::<u8>()), 0..3),
        pps in prop::collection::vec(any::<u8>(), 0..24),
    ) {
        for (at, mask) in flips {
            sps[at] ^= mask;
        }
        let pps = [&[0x68], &pps[..]].concat();
        if let Ok(sets) = ParameterSets::new(&Bytes::from(sps), &[Bytes::from(pps)]) {
            let _ = sets.still_target();
            if let Ok(mut repeater) = Repeater::after(&sets, &[0, 0, 0, 4, 0x65, 0xB8, 0x40, 0x0B], 0) {
                prop_assert!(repeater.repeat().len() > 4);
            }
        }
    }
}

/// A sequence parameter set of x264 for 1280×720.
const SPS: &[u8] = &[
    0x67, 0x42, 0xC0, 0x1F, 0xD9, 0x00, 0x50, 0x05, 0xBB, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10,
    0x00, 0x00, 0x03, 0x03, 0xC0, 0xF1, 0x83, 0x24, 0x80,
];

/// Cuts a stream with B-frames after so many pictures and goes on after the one that is shown last.
fn goes_on_in_order(stream: &Stream, sent: usize) {
    let is_b = |body: &Bytes| {
        let picture = VideoUnit::from_nals(nals(body), body.len()).unwrap();
        (picture.b_slices, picture.reference)
    };
    let mut bodies = stream.bodies[..sent].to_vec();
    let last = bodies.iter().rposition(|body| !is_b(body).0).unwrap();
    let behind = bodies[last + 1..].iter().filter(|body| is_b(body).1);
    let references = behind.count() as u32;
    let mut repeater = Repeater::after(&stream.sets, &bodies[last], references).unwrap();
    bodies.extend((0..REPEATED).map(|_| repeater.repeat()));
    let pictures = decode(stream, &bodies);
    let (shown, repeated) = pictures.split_at(sent);
    assert!(shown[sent - 1] != shown[sent - 2]);
    for (at, picture) in repeated.iter().enumerate() {
        assert!(
            picture == shown.last().unwrap(),
            "{}: picture {at} behind {sent}, {references} references in between",
            stream.name
        );
    }
}

/// Cuts a stream after its last picture and goes on.
fn goes_on(stream: &Stream) {
    let mut bodies = stream.bodies.clone();
    let sent = bodies.len();
    let mut repeater = Repeater::after(&stream.sets, &bodies[sent - 1], 0).unwrap();
    bodies.extend((0..REPEATED).map(|_| repeater.repeat()));
    let largest = bodies[sent..].iter().map(Bytes::len).max();
    assert!(largest < Some(120), "{}: {largest:?} bytes", stream.name);
    let pictures = decode(stream, &bodies);
    let (shown, repeated) = pictures.split_at(sent);
    for (at, picture) in repeated.iter().enumerate() {
        assert!(
            picture == shown.last().unwrap(),
            "{}: picture {at}",
            stream.name
        );
    }
}
