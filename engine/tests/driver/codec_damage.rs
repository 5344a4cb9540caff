//! Whatever a publisher sends in place of video, the transcoder requests a keyframe and goes on with it.

use bytes::Bytes;
use shardcast_core::io::{Output, RenditionId, VideoJob, VideoResult, VideoTranscoderId};
use shardcast_link::VideoCodec;

use crate::{
    rig::{Rig, Seen},
    test_clip::TestClip,
};

const TRANSCODER: VideoTranscoderId = VideoTranscoderId::numbered(3);
const RENDITION: RenditionId = RenditionId(5);

fn wait_for(rig: &Rig, wanted: impl Fn(&VideoResult) -> bool) {
    loop {
        match rig.next() {
            Seen::Video(TRANSCODER, result) if wanted(&result) => return,
            Seen::Video(TRANSCODER, VideoResult::Failed { reason, .. }) => panic!("{reason}"),
            _ => {}
        }
    }
}

/// Sends keyframes until one has come through.
fn goes_on(rig: &Rig, clip: &mut TestClip) {
    let first = clip.decode(TRANSCODER, true);
    rig.ask([clip.source(TRANSCODER), first]);
    loop {
        match rig.next() {
            Seen::Video(TRANSCODER, VideoResult::Encoded(_)) => return,
            Seen::Video(TRANSCODER, VideoResult::Failed { reason, .. }) => panic!("{reason}"),
            // On a busy machine the last one came too late to be encoded.
            Seen::Video(TRANSCODER, VideoResult::Report(_)) => {
                rig.ask([clip.decode(TRANSCODER, true)]);
            }
            _ => {}
        }
    }
}

fn decode(pts_us: i64, unit: Vec<u8>) -> Output {
    Output::Video(VideoJob::Decode {
        transcoder: TRANSCODER,
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
    let mut clip = TestClip::new();
    rig.ask(clip.open(TRANSCODER, RENDITION));
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
    goes_on(&rig, &mut clip);
}

#[test]
fn garbage_in_every_codec_is_survived() {
    let rig = Rig::encoding(122);
    let mut clip = TestClip::new();
    rig.ask(clip.open(TRANSCODER, RENDITION));
    for (index, codec) in VideoCodec::ALL.into_iter().enumerate() {
        let source = Output::Video(VideoJob::Source {
            transcoder: TRANSCODER,
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
    goes_on(&rig, &mut clip);
}

#[test]
fn a_slate_that_is_no_image_is_survived() {
    let rig = Rig::encoding(123);
    let mut clip = TestClip::new();
    let image = Bytes::from(noise(7, 4_000));
    let slate = Output::Video(VideoJob::Slate {
        transcoder: TRANSCODER,
        image,
    });
    let fill = Output::Video(VideoJob::Fill {
        transcoder: TRANSCODER,
        until_us: 10_000_000,
    });
    rig.ask(
        clip.open(TRANSCODER, RENDITION)
            .into_iter()
            .chain([slate, fill]),
    );
    goes_on(&rig, &mut clip);
}
