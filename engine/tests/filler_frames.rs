//! Proves: while a publisher is away its stream goes on as one: the last picture repeated, then
//! encoded again as a keyframe, then a slate from a file, each repeated in turn, all under the
//! publisher's own parameter sets. FFmpeg decodes it without a warning, repeated pictures are the
//! picture before them bit for bit, and the keyframes look like their sources.
#![cfg(feature = "x264")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test"
)]

#[path = "../core/tests/it/pictures/mod.rs"]
mod pictures;

use pictures::{Stream, decode, ffmpeg};
use shardcast_core::h264::{ParameterSets, Repeater, adopt};
use shardcast_core::io::StillFrame;
use shardcast_media::{StillFrameSource, StillFrameTarget, draw, still_frame};

const REPEATED: usize = 20;

#[test]
fn chromiums_stream_goes_on_while_it_is_away() {
    goes_on(&Stream::of_chromium());
}

#[test]
fn streams_in_cavlc_go_on_while_their_publisher_is_away() {
    goes_on(&Stream::by_x264(
        "640x360",
        15,
        "-profile:v baseline -preset superfast -b:v 1M -maxrate 1M -bufsize 1M",
    ));
    goes_on(&Stream::by_x264(
        "320x180",
        15,
        "-profile:v baseline -x264-params slices=4:chroma-qp-offset=3",
    ));
}

#[test]
fn streams_in_cabac_go_on_while_their_publisher_is_away() {
    goes_on(&Stream::by_x264(
        "640x360",
        15,
        "-profile:v main -preset superfast -tune zerolatency",
    ));
    goes_on(&Stream::by_x264(
        "1280x720",
        8,
        "-profile:v high -preset medium -tune zerolatency -x264-params 8x8dct=1:weightp=2",
    ));
}

/// Cuts a stream after its last picture and goes on without its publisher.
fn goes_on(stream: &Stream) {
    let slate = slate();
    let access_units = stream.bodies.clone();
    let last = StillFrameSource::LastOf {
        record: stream.sets.record(),
        access_units: &access_units,
    };

    let mut bodies = stream.bodies.clone();
    let mut repeater = Repeater::after(&stream.sets, &bodies[bodies.len() - 1], 0).unwrap();
    bodies.extend((0..REPEATED).map(|_| repeater.repeat()));
    let mut keyframes = Vec::new();
    for (id, source) in [(1, last), (2, StillFrameSource::Image(&slate)), (3, last)] {
        let body = adopt(&stream.sets, &made(source, &stream.sets), id).unwrap();
        repeater = Repeater::after(&stream.sets, &body, 0).unwrap();
        keyframes.push(bodies.len());
        bodies.push(body);
        bodies.extend((0..REPEATED).map(|_| repeater.repeat()));
    }

    let shown = decode(stream, &bodies);
    for at in stream.bodies.len()..shown.len() {
        let same = shown[at] == shown[at - 1];
        assert!(
            same || keyframes.contains(&at),
            "{}: picture {at}",
            stream.name
        );
    }
    let target = target(&stream.sets);
    let drawn = draw(&slate, target.width, target.height, target.full_range).unwrap();
    let before = &shown[stream.bodies.len() - 1];
    for (at, wanted) in keyframes
        .into_iter()
        .zip([&before[..], drawn.samples(), before])
    {
        let psnr = psnr(&shown[at], wanted);
        assert!(psnr > 33.0, "{}: picture {at} has {psnr} dB", stream.name);
    }
}

fn made(source: StillFrameSource<'_>, sets: &ParameterSets) -> StillFrame {
    let made = still_frame::make(source, &target(sets)).unwrap();
    StillFrame {
        sps: made.sps,
        pps: made.pps,
        slices: made.slices,
    }
}

fn target(sets: &ParameterSets) -> StillFrameTarget {
    let target = sets.still_target().expect("a target");
    StillFrameTarget {
        width: target.width,
        height: target.height,
        cabac: target.cabac,
        transform_8x8: target.transform_8x8,
        chroma_qp_offset: target.chroma_qp_offset,
        full_range: target.full_range,
    }
}

/// A picture of other proportions than any stream here, as a JPEG file.
fn slate() -> Vec<u8> {
    let source = "testsrc=size=400x300";
    let output = ffmpeg(
        &[
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            source,
            "-frames:v",
            "1",
            "-q:v",
            "2",
            "-f",
            "mjpeg",
            "-",
        ],
        &[],
    );
    assert!(output.status.success());
    output.stdout
}

fn psnr(one: &[u8], other: &[u8]) -> f64 {
    let pairs = one.iter().zip(other);
    let squares: f64 = pairs
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
        .sum();
    10.0 * (255.0 * 255.0 * one.len() as f64 / squares.max(1.0)).log10()
}
