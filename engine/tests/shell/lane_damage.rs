//! Whatever a publisher sends in place of video, the lane asks for a keyframe and goes on with it.

use bytes::Bytes;
use shardcast_core::io::{Output, RenditionId, VideoJob, VideoLaneId, VideoResult};
use shardcast_link::VideoCodec;

use crate::{
    film::Film,
    rig::{Rig, Seen},
};

const LANE: VideoLaneId = VideoLaneId(3);
const RENDITION: RenditionId = RenditionId(5);

fn wait_for(rig: &Rig, wanted: impl Fn(&VideoResult) -> bool) {
    loop {
        match rig.next() {
            Seen::Video(LANE, result) if wanted(&result) => return,
            Seen::Video(LANE, VideoResult::Failed { reason, .. }) => panic!("{reason}"),
            _ => {}
        }
    }
}

/// Sends keyframes until one has come through.
fn goes_on(rig: &Rig, film: &mut Film) {
    let first = film.decode(LANE, true);
    rig.ask([film.source(LANE), first]);
    loop {
        match rig.next() {
            Seen::Video(LANE, VideoResult::Encoded(_)) => return,
            Seen::Video(LANE, VideoResult::Failed { reason, .. }) => panic!("{reason}"),
            // On a busy machine the last one came too late to be encoded.
            Seen::Video(LANE, VideoResult::Report(_)) => rig.ask([film.decode(LANE, true)]),
            _ => {}
        }
    }
}

fn decode(pts_us: i64, unit: Vec<u8>) -> Output {
    Output::Video(VideoJob::Decode {
        lane: LANE,
        pts_us,
        unit: Bytes::from(unit),
    })
}

/// Noise that is the same each time.
fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let byte = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    std::iter::repeat_with(byte).take(length).collect()
}

#[test]
fn a_damaged_stream_asks_for_a_keyframe_and_goes_on_with_it() {
    let rig = Rig::encoding(121);
    let mut film = Film::new();
    rig.ask(film.open(LANE, RENDITION));
    // A slice of an IDR by its first byte, and noise after it.
    rig.ask((0..20).map(|n| {
        let mut unit = noise(n, 404);
        unit[..5].copy_from_slice(&[0, 0, 1, 0x90, 0x65]);
        decode(i64::from(n) * 1_000 + 100_000, unit)
    }));
    wait_for(&rig, |result| *result == VideoResult::KeyframeWanted);
    wait_for(
        &rig,
        |result| matches!(result, VideoResult::Report(report) if report.errors > 0),
    );
    goes_on(&rig, &mut film);
}

#[test]
fn garbage_in_every_codec_is_survived() {
    let rig = Rig::encoding(122);
    let mut film = Film::new();
    rig.ask(film.open(LANE, RENDITION));
    for (index, codec) in VideoCodec::ALL.into_iter().enumerate() {
        let source = Output::Video(VideoJob::Source {
            lane: LANE,
            codec,
            record: Some(Bytes::from(noise(99, 60))),
        });
        let units = (0..30).map(|n| decode(i64::from(n), noise(n, 1 << (n % 12))));
        rig.ask(std::iter::once(source).chain(units));
        if codec == VideoCodec::H264 {
            // Noise is no record, and no keyframe changes that: each other source may.
            wait_for(
                &rig,
                |result| matches!(result, VideoResult::Failed { reason, .. } if reason.contains("record")),
            );
        }
        let errors = (index as u64 + 1) * 10;
        wait_for(
            &rig,
            |result| matches!(result, VideoResult::Report(report) if report.errors >= errors),
        );
    }
    goes_on(&rig, &mut film);
}

#[test]
fn a_slate_that_is_no_image_is_survived() {
    let rig = Rig::encoding(123);
    let mut film = Film::new();
    let image = Bytes::from(noise(7, 4_000));
    let slate = Output::Video(VideoJob::Slate { lane: LANE, image });
    let fill = Output::Video(VideoJob::Fill {
        lane: LANE,
        until_us: 10_000_000,
    });
    rig.ask(film.open(LANE, RENDITION).into_iter().chain([slate, fill]));
    goes_on(&rig, &mut film);
}
