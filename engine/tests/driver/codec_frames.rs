//! Pictures go in as jobs and come back encoded, in order and as a stream that decodes, while the
//! executor does everything else.

use std::{net::UdpSocket, time::Duration};

use shardcast_core::io::{RenditionId, VideoResult, VideoTranscoderId};
use shardcast_link::VideoCodec;
use shardcast_media::{Picture, VideoDecoder};

use crate::{
    rig::{Rig, Seen},
    test_clip::{TestClip, record},
};

const TRANSCODER: VideoTranscoderId = VideoTranscoderId::numbered(4);
const RENDITION: RenditionId = RenditionId(9);

/// A busy machine leaves pictures out, so the clip runs until enough have come.
const PICTURES: usize = 40;

#[test]
fn encoded_pictures_come_in_order_and_decode() {
    let rig = Rig::encoding(101);
    let mut clip = TestClip::new();
    rig.ask(clip.open(TRANSCODER, RENDITION));
    let mut pictures = Vec::new();
    let mut report = None;
    while pictures.len() < PICTURES || report.is_none() {
        let Some(seen) = rig.next_within(Duration::from_millis(33)) else {
            rig.ask([clip.decode(TRANSCODER, false)]);
            continue;
        };
        match seen {
            Seen::Video(TRANSCODER, VideoResult::Encoded(picture)) => pictures.push(picture),
            Seen::Video(TRANSCODER, VideoResult::Report(latest)) if latest.decode_us > 0 => {
                report = Some(latest);
            }
            Seen::Video(TRANSCODER, VideoResult::Report(_) | VideoResult::KeyframeWanted) => {}
            other => panic!("{other:?}"),
        }
    }

    assert!(pictures.is_sorted_by(|one, next| one.pts_us < next.pts_us));
    assert!(
        pictures
            .iter()
            .all(|picture| picture.rendition == RENDITION)
    );
    let (sps, pps) = pictures[0].parameter_sets.as_ref().expect("an IDR first");
    let record = record(sps, pps);
    let mut decoder = VideoDecoder::new(VideoCodec::H264, Some(&record)).unwrap();
    let mut decoded = Picture::empty();
    for picture in &pictures {
        assert_eq!(picture.key, picture.parameter_sets.is_some());
        let nals = &picture.unit[..];
        decoder.send(nals, picture.pts_us).unwrap();
        assert!(decoder.receive(&mut decoded).unwrap());
        assert_eq!((decoded.width(), decoded.height()), (160, 90));
        assert!(!decoded.is_damaged());
    }

    let report = report.unwrap();
    assert_eq!((report.width, report.height, report.errors), (320, 180, 0));
    let made = &report.renditions[0];
    assert_eq!(
        (made.rendition, made.width, made.height),
        (RENDITION, 160, 90)
    );
    assert!(made.frames > 0 && made.encode_us > 0, "{report:?}");
}

#[test]
fn the_executor_answers_while_a_codec_thread_has_a_queue_before_it() {
    let rig = Rig::encoding(102);
    let mut clip = TestClip::new();
    let jobs = clip.open(TRANSCODER, RENDITION);
    let queue: Vec<_> = (0..200).map(|_| clip.decode(TRANSCODER, false)).collect();
    rig.ask(jobs.into_iter().chain(queue));
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.send_to(b"are you there", rig.udp).unwrap();
    // Everything but the datagram is of the transcoder, which is at work for longer.
    let mut of_lane = 0;
    loop {
        match rig.next() {
            Seen::Datagram { .. } => break,
            Seen::Video(..) => of_lane += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(of_lane < 200, "{of_lane} results came first");
}
