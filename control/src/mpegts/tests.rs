//! Segments are read again as a demultiplexer does: every sample is there once with its time, tables and clock are right,
//! and counters go on from segment to segment, whichever follows which.

use std::collections::BTreeMap;

use shardcast_cmaf::Sample;

use super::{packets::crc32, *};

const SPS: &[u8] = &[0x67, 0x42, 0xC0, 0x1F, 0x01];
const PPS: &[u8] = &[0x68, 0xCE, 0x3C, 0x80];

fn video_track() -> Track {
    let lengths = |set: &[u8]| [&(set.len() as u16).to_be_bytes(), set].concat();
    let record = [
        &[1, 0x42, 0xC0, 0x1F, 0xFF, 0xE1],
        &lengths(SPS)[..],
        &[1],
        &lengths(PPS),
    ];
    Track::video(1, record.concat().into(), 640, 360)
}

fn audio_track() -> Track {
    // AAC-LC, 44.1 kHz, stereo.
    Track::audio(2, Bytes::from_static(&[0x12, 0x10]), 44_100, 2)
}

/// An access unit of one slice.
fn picture(kind: u8, len: usize) -> Bytes {
    let slice = [&[kind][..], &vec![0xAB; len - 1]].concat();
    let len = (slice.len() as u32).to_be_bytes();
    // A delimiter that an encoder has put in front.
    [&[0, 0, 0, 2, 9, 0x10], &len[..], &slice].concat().into()
}

fn video_run(decoded_at: u64, lens: &[usize], composition_offset: i32) -> TrackRun {
    let samples = lens.iter().enumerate().map(|(n, len)| Sample {
        duration: 3_600,
        composition_offset,
        key: n == 0,
        parameter_sets: None,
        payload: picture(if n == 0 { 0x65 } else { 0x41 }, *len),
    });
    TrackRun {
        track: 1,
        decoded_at,
        samples: samples.collect(),
    }
}

fn audio_run(decoded_at: u64, count: usize) -> TrackRun {
    let sample = |n: usize| Sample {
        duration: 1_024,
        composition_offset: 0,
        key: true,
        parameter_sets: None,
        payload: vec![n as u8; 4 + n % 300].into(),
    };
    TrackRun {
        track: 2,
        decoded_at,
        samples: (0..count).map(sample).collect(),
    }
}

/// What is read of one PES packet.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    shown_at: u64,
    decoded_at: u64,
    random_access: bool,
    payload: Vec<u8>,
}

/// A demultiplexer that believes nothing.
#[derive(Default)]
struct Demuxer {
    counters: BTreeMap<u16, u8>,
    clock: Option<u64>,
    open: BTreeMap<u16, (Vec<u8>, bool)>,
    found: BTreeMap<u16, Vec<Found>>,
    tables: usize,
}

impl Demuxer {
    fn read(&mut self, bytes: &[u8]) {
        assert!(bytes.len().is_multiple_of(188));
        for packet in bytes.chunks(188) {
            self.packet(packet);
        }
        let pids: Vec<u16> = self.open.keys().copied().collect();
        pids.into_iter().for_each(|pid| self.close(pid));
    }

    fn packet(&mut self, packet: &[u8]) {
        assert_eq!(packet[0], 0x47);
        let head = u16::from_be_bytes([packet[1], packet[2]]);
        let (pid, begins) = (head & 0x1FFF, head & 0x4000 != 0);
        let counter = packet[3] & 0x0F;
        if let Some(before) = self.counters.insert(pid, counter) {
            assert_eq!((before + 1) % 16, counter, "of {pid:x}");
        }
        let (mut body, mut random_access) = (&packet[4..], false);
        if packet[3] & 0x20 != 0 {
            let (field, rest) = body[1..].split_at(body[0].into());
            body = rest;
            if let Some(flags) = field.first() {
                random_access = flags & 0x40 != 0;
                if flags & 0x10 != 0 {
                    let clock = u32::from_be_bytes(field[1..5].try_into().unwrap());
                    self.clock = Some(u64::from(clock) << 1 | u64::from(field[5] >> 7));
                }
            }
        }
        assert!(packet[3] & 0x10 != 0, "a packet without payload");
        if pid == 0 || pid == PID_PMT {
            assert!(begins);
            let len = usize::from(u16::from_be_bytes([body[2], body[3]]) & 0xFFF);
            // With its own CRC behind it, the CRC of a table is 0.
            assert_eq!(crc32(&body[1..4 + len]), 0);
            self.tables += 1;
            return;
        }
        assert!(self.tables >= 2, "media in front of the tables");
        if begins {
            self.close(pid);
            self.open.insert(pid, (Vec::new(), random_access));
        }
        self.open.get_mut(&pid).unwrap().0.extend_from_slice(body);
    }

    fn close(&mut self, pid: u16) {
        let Some((pes, random_access)) = self.open.remove(&pid) else {
            return;
        };
        assert_eq!(pes[..3], [0, 0, 1]);
        let len = usize::from(u16::from_be_bytes([pes[4], pes[5]]));
        assert!(len == pes.len() - 6 || (len == 0 && pid == PID_VIDEO));
        let time = |at: usize| {
            let [a, b, c, d, e] = pes[at..at + 5].try_into().unwrap();
            assert_eq!((a & 1, c & 1, e & 1), (1, 1, 1));
            u64::from(a >> 1 & 7) << 30
                | u64::from(u16::from_be_bytes([b, c]) >> 1) << 15
                | u64::from(u16::from_be_bytes([d, e]) >> 1)
        };
        let shown_at = time(9);
        let decoded_at = if pes[7] == 0xC0 { time(14) } else { shown_at };
        let payload = pes[9 + usize::from(pes[8])..].to_vec();
        self.found.entry(pid).or_default().push(Found {
            shown_at,
            decoded_at,
            random_access,
            payload,
        });
    }
}

fn access_unit(nals: &[&[u8]]) -> Vec<u8> {
    let nals = nals.iter().map(|nal| [&[0, 0, 0, 1], *nal].concat());
    [[0, 0, 0, 1, 9, 0xF0].to_vec()]
        .into_iter()
        .chain(nals)
        .flatten()
        .collect()
}

#[test]
fn each_sample_is_there_once_and_any_segment_may_follow_any_other() {
    let (video, audio) = (video_track(), audio_track());
    let mut demuxer = Demuxer::default();
    let mut expected = Vec::new();
    // Lengths around what fits into one packet, and one that no 16 bits hold.
    let all: Vec<usize> = (1..400).chain([65_500, 70_000, 183, 184, 185]).collect();
    for (n, lens) in all.chunks(29).enumerate() {
        let begins_at = 900_000 + n as u64 * 29 * 3_600;
        let pictures = video_run(begins_at, lens, 7_200);
        let sound = audio_run(begins_at * 441 / 900, 40 + n);
        let bytes = segment(
            Some(Input {
                track: &video,
                run: Some(&pictures),
            }),
            Some(Input {
                track: &audio,
                run: Some(&sound),
            }),
        );
        demuxer.read(&bytes);
        expected.extend(pictures.samples);
        let frames = demuxer.found.remove(&PID_AUDIO).unwrap();
        assert_eq!(frames[0].shown_at, begins_at);
        let mut stream = frames.iter().flat_map(|it| it.payload.clone());
        for sample in &sound.samples {
            let head: Vec<u8> = stream.by_ref().take(7).collect();
            let len = sample.payload.len() + 7;
            // 44.1 kHz has index 4; two channels.
            assert_eq!(head[..3], [0xFF, 0xF1, 0x50]);
            let read = usize::from(head[3] & 3) << 11
                | usize::from(head[4]) << 3
                | usize::from(head[5] >> 5);
            assert_eq!((head[3] >> 6, read), (2, len));
            assert!(
                stream
                    .by_ref()
                    .take(len - 7)
                    .eq(sample.payload.iter().copied())
            );
        }
        assert_eq!(stream.next(), None);
    }
    let pictures = &demuxer.found[&PID_VIDEO];
    assert_eq!(pictures.len(), expected.len());
    for (n, (found, sample)) in pictures.iter().zip(expected).enumerate() {
        let decoded_at = 900_000 + n as u64 * 3_600;
        assert_eq!(
            (found.decoded_at, found.shown_at),
            (decoded_at, decoded_at + 7_200)
        );
        let slice = &sample.payload[10..];
        let nals = match sample.key {
            true => vec![SPS, PPS, slice],
            false => vec![slice],
        };
        assert_eq!(found.random_access, sample.key);
        assert_eq!(found.payload, access_unit(&nals), "{n}");
    }
    let clock = demuxer.clock.unwrap();
    let last = pictures.last().unwrap();
    assert_eq!(clock + CLOCK_BEHIND, last.decoded_at);
}

#[test]
fn audio_alone_has_the_clock_and_times_go_around() {
    let audio = audio_track();
    // A second before the end of 33 bits.
    let end = (1 << 33) * 441 / 900;
    let sound = audio_run(end - 44_100, 100);
    let bytes = segment(
        None,
        Some(Input {
            track: &audio,
            run: Some(&sound),
        }),
    );
    let mut demuxer = Demuxer::default();
    demuxer.read(&bytes);
    let frames = &demuxer.found[&PID_AUDIO];
    assert_eq!(frames.len(), 25);
    assert!(frames.iter().all(|it| it.random_access));
    assert!(frames[0].shown_at > frames[24].shown_at && demuxer.clock.is_some());
}

#[test]
fn a_segment_that_lacks_a_track_or_has_nothing_is_a_segment_all_the_same() {
    let (video, audio) = (video_track(), audio_track());
    let pictures = video_run(0, &[100; 3], 0);
    for run in [Some(&pictures), None] {
        let video = Input { track: &video, run };
        let audio = Input {
            track: &audio,
            run: None,
        };
        let mut demuxer = Demuxer::default();
        demuxer.read(&segment(Some(video), Some(audio)));
        assert_eq!(demuxer.tables, 2 * TABLES);
        let found = demuxer.found.get(&PID_VIDEO).map_or(0, Vec::len);
        assert_eq!(found, run.map_or(0, |_| 3));
    }
}

#[test]
fn access_units_that_are_cut_off_lose_what_is_cut_off_and_no_more() {
    let whole = picture(0x65, 50);
    for len in 0..whole.len() {
        let mut out = BytesMut::new();
        put_access_unit(&mut out, &whole[..len], None);
        assert_eq!(out[..], access_unit(&[]), "{len}");
    }
    for config in [&[][..], &[0x12], &[0x0A, 0x10], &[0x17, 0x90, 0]] {
        let track = Track::audio(2, Bytes::copy_from_slice(config), 44_100, 2);
        assert_eq!(Adts::of(&track), None, "{config:?}");
    }
}
