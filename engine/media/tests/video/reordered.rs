//! Proves: H.264 with B-frames is seen whole and in its order, also from a keyframe after damage on,
//! of which the picture comes only with later units.

use bytes::Bytes;
use ffmpeg_next::format::Pixel;
use shardcast_link::{RenditionSpec, VideoCodec};
use shardcast_media::{MediaError, Transcoder};

use crate::receiver::{Receiver, psnr};
use crate::test_clip::{SECOND_US, SMALL, frames, no_time, record, samples};

const PICTURES: u32 = 36;
/// Pictures from one IDR to the next.
const GOP: u32 = 12;

/// An access unit, and the number of the picture in it.
struct Unit {
    n: i64,
    bytes: Bytes,
}

/// A publisher's H.264 with two B-frames between others, in the order of decoding; and its record.
fn stream() -> (Vec<u8>, Vec<Unit>) {
    let codec = ffmpeg_next::encoder::find_by_name("libx264").unwrap();
    let mut context = ffmpeg_next::codec::Context::new_with_codec(codec);
    context.set_threading(ffmpeg_next::threading::Config::count(1));
    let mut video = context.encoder().video().unwrap();
    video.set_width(320);
    video.set_height(180);
    video.set_format(Pixel::YUV420P);
    video.set_time_base((1, 30));
    video.set_frame_rate(Some((30, 1)));
    video.set_bit_rate(2_000_000);
    let mut options = ffmpeg_next::Dictionary::new();
    let words = format!("bframes=2:b-adapt=0:keyint={GOP}:min-keyint={GOP}:scenecut=0:slices=1");
    options.set("preset", "ultrafast");
    options.set("x264-params", &words);
    let mut encoder = video.open_as_with(codec, options).unwrap();
    let mut packets = Vec::new();
    let mut packet = ffmpeg_next::Packet::empty();
    let mut take = |encoder: &mut ffmpeg_next::encoder::video::Encoder| {
        while encoder.receive_packet(&mut packet).is_ok() {
            packets.push((packet.pts().unwrap(), packet.data().unwrap().to_vec()));
        }
    };
    for (n, mut picture) in (0..).zip(frames(Pixel::YUV420P, false, 320, 180, PICTURES)) {
        picture.set_pts(Some(n));
        encoder.send_frame(&picture).unwrap();
        take(&mut encoder);
    }
    encoder.send_eof().unwrap();
    take(&mut encoder);
    let (mut sps, mut pps) = (Vec::new(), Vec::new());
    let units = packets
        .into_iter()
        .map(|(n, packet)| {
            let mut bytes = Vec::new();
            for nal in nals(&packet) {
                match nal[0] & 0x1F {
                    7 => sps = nal.to_vec(),
                    8 => pps = nal.to_vec(),
                    _ => {
                        bytes.extend_from_slice(&(nal.len() as u32).to_be_bytes());
                        bytes.extend_from_slice(nal);
                    }
                }
            }
            let bytes = bytes.into();
            Unit { n, bytes }
        })
        .collect();
    (record(&sps, &pps), units)
}

/// NAL units behind start codes (ITU-T H.264 annex B).
fn nals(stream: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> = (3..stream.len())
        .filter(|at| stream[at - 3..*at] == [0, 0, 1])
        .collect();
    let ends = starts.iter().skip(1).map(|next| next - 3);
    let ends = ends.chain([stream.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(start, end)| {
            let nal = &stream[*start..end];
            let zeros = nal.iter().rev().take_while(|byte| **byte == 0).count();
            &nal[..nal.len() - zeros]
        })
        .collect()
}

fn transcoder(record: &[u8]) -> Transcoder {
    let settings = RenditionSpec {
        video_bps: 4_000_000,
        ..SMALL
    };
    let mut transcoder = Transcoder::new(no_time);
    transcoder.set_renditions(&[(1, settings)]);
    let codec = VideoCodec::H264;
    transcoder.set_source(codec, Some(record)).unwrap();
    transcoder
}

fn time(n: i64) -> i64 {
    (n * SECOND_US + 15) / 30
}

#[test]
fn pictures_come_in_their_order_and_none_is_refused() {
    let (record, units) = stream();
    assert!(units.iter().any(|unit| unit.n > 0 && units[1].n > unit.n));
    let mut transcoder = transcoder(&record);
    let mut out = Vec::new();
    for unit in &units {
        let decoded = transcoder.decode(time(unit.n), &unit.bytes, true, &mut out);
        assert!(decoded.is_ok(), "{}: {decoded:?}", unit.n);
    }
    let mut receiver = Receiver::new();
    let mut shown = 0;
    for picture in &out {
        receiver.see(1, [picture]);
        let psnr = psnr(&receiver.last(), &samples(320, 180, shown));
        assert!(psnr > 24.0, "{shown}: {psnr} dB");
        shown += 1;
    }
    // Those that are held back at the end have not been seen.
    assert!((PICTURES - 4..=PICTURES).contains(&shown), "{shown}");
    let times: Vec<i64> = (0..i64::from(shown)).map(time).collect();
    assert_eq!(receiver.times(), times);
}

#[test]
fn after_damage_the_next_keyframe_is_waited_for_and_nothing_from_before_is_seen() {
    let (record, units) = stream();
    let mut transcoder = transcoder(&record);
    let mut out = Vec::new();
    let mut refused = Vec::new();
    let key = units.iter().position(|unit| unit.n == i64::from(GOP));
    let damaged = key.unwrap() - 3;
    for (index, unit) in units.iter().enumerate() {
        let bytes = if index == damaged {
            unit.bytes.slice(..5)
        } else {
            unit.bytes.clone()
        };
        let before = out.len();
        match transcoder.decode(time(unit.n), &bytes, true, &mut out) {
            Ok(()) => {}
            Err(MediaError::Video { .. }) => refused.push(index),
            Err(other) => panic!("{other}"),
        }
        if index == damaged {
            out.truncate(before);
        }
    }
    assert_eq!(refused, [damaged, damaged + 1, damaged + 2]);
    let gop = time(i64::from(GOP));
    let before = out.iter().filter(|picture| picture.pts_us < gop);
    let generations = transcoder.report().renditions[0];
    assert!(before.count() > 0 && generations.repeated > 0);
    // The picture of the keyframe is the first one after the damage.
    let mut receiver = Receiver::new();
    receiver.see(1, out.iter().filter(|picture| picture.pts_us <= gop));
    let psnr = psnr(&receiver.last(), &samples(320, 180, GOP));
    assert!(psnr > 24.0, "{psnr} dB");
}
