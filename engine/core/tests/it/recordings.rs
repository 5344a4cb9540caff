//! A broadcast is recorded while it is on air: every picture and audio frame from a keyframe on, of encoders with
//! B-frames and of browsers; in files that can be played up to their last fragment; anew after a disk was full,
//! at the length that is set, and when the audio is coded otherwise; with the time in which the publisher
//! was away, or without it. Destinations notice nothing.

use std::io::Cursor;

use shardcast_cmaf::{Scan, ScanError, read_fragment, read_init_segment};
use shardcast_core::rtmp::{MediaKind, flv};
use shardcast_link::{Command, Event, RecordingStatus, WantedBroadcast, WantedRecording};
use shardcast_sim::picture::{Picture, Shows};

use crate::{
    encoders::Show,
    sim::{
        FaultMode, World, broadcast,
        client::{Client, Sends},
        encoder::{Pictures, record},
        session,
    },
};

fn recording(id: &str) -> WantedRecording {
    WantedRecording {
        id: id.to_owned(),
        folder: "/recordings".to_owned(),
        label: format!("label of {id}"),
        file_ms_max: 0,
        filler: true,
    }
}

fn want(world: &mut World, recording: Option<WantedRecording>) {
    let mut wanted = WantedBroadcast::new(broadcast());
    wanted.hold_ms = 10_000;
    wanted.recording = recording;
    world.command(Command::Want { broadcast: wanted });
}

fn recorded(recording: WantedRecording) -> World {
    let mut world = World::new();
    want(&mut world, Some(recording));
    world
}

fn scan(world: &World, file: usize) -> Scan {
    let bytes = &world.files.files[file].bytes;
    Scan::of(&mut Cursor::new(bytes)).expect("a recording that can be played")
}

fn seconds(scan: &Scan) -> f64 {
    scan.duration_us() as f64 / 1e6
}

fn status(world: &mut World) -> RecordingStatus {
    let broadcasts = world.latest().broadcasts;
    broadcasts[0].recording.clone().expect("a recording")
}

/// Numbers of the publishers' pictures in a file.
fn pictures(world: &World, file: usize) -> Vec<u64> {
    let (head, fragments) = world.files.files[file].fragments();
    let tracks = read_init_segment(&head);
    let runs = fragments.iter().flat_map(|it| read_fragment(it).unwrap());
    let of_video = runs.filter(|run| {
        let mut tracks = tracks.iter();
        tracks.any(|it| it.id == run.track && it.is_video())
    });
    let units = of_video.flat_map(|run| run.samples);
    let shows = units.filter_map(|unit| {
        // Behind the head that a message of RTMP has.
        let body = [&[0; 5], &unit.payload[..]].concat();
        Some(Picture::read(&body)?.shows)
    });
    let numbers = shows.filter_map(|shows| match shows {
        Shows::Sent(number) => Some(number),
        _ => None,
    });
    numbers.collect()
}

/// Samples a second of its audio, by its head.
fn audio_rate(world: &World, file: usize) -> u32 {
    let (head, _) = world.files.files[file].fragments();
    let tracks = read_init_segment(&head);
    let audio = tracks.iter().find(|it| !it.is_video());
    audio.unwrap().timescale
}

/// The file as control leaves it.
fn finished(bytes: &[u8]) -> Vec<u8> {
    let scan = Scan::of(&mut Cursor::new(bytes)).unwrap();
    let whole = usize::try_from(scan.whole_bytes).unwrap();
    let mut bytes = bytes[..whole].to_vec();
    bytes.extend_from_slice(&scan.moov());
    let (at, head) = scan.mdat_head();
    let at = usize::try_from(at).unwrap();
    bytes[at..at + head.len()].copy_from_slice(&head);
    bytes
}

#[test]
fn every_picture_and_frame_of_an_encoder_is_in_the_file() {
    for b_frames in [false, true] {
        let mut world = recorded(recording("r1"));
        let mut show = Show::begin(&mut world, "first", 90_000, b_frames);
        show.run(&mut world, 10);
        let told = status(&mut world);
        assert_eq!(told.id, "r1");
        assert_eq!(told.problem, None);
        assert!((7_000..=10_500).contains(&told.duration_ms), "{told:?}");
        world.end_encoding(show.index);
        want(&mut world, None);
        world.run_ms(2_000);
        assert_eq!(world.files.files.len(), 1);
        let file = &world.files.files[0];
        assert!(file.is_closed);
        let event = Event::Recorded {
            file: "/recordings/r1_0.mp4".to_owned(),
        };
        assert!(world.events.contains(&event), "control was not told");
        let scan = scan(&world, 0);
        assert_eq!(scan.label, "label of r1");
        assert_eq!(scan.whole_bytes, file.bytes.len() as u64);
        // Two B-frames are still to be decoded by the look of the first group; all others are in.
        let video = scan.sample_count(true);
        assert!(
            (show.video.len() - 5..=show.video.len() + 60).contains(&video),
            "{video}"
        );
        assert!(scan.sample_count(false) + 60 >= show.audio.len());
        for (_, body) in show.video.iter().skip(30).take(150) {
            let payload = &body[5..];
            let is_in = file.bytes.windows(payload.len()).any(|it| it == payload);
            assert!(is_in, "a picture is missing");
        }
    }
}

#[test]
fn a_file_is_whole_wherever_it_is_cut_off_and_is_finished_once() {
    let mut world = recorded(recording("r1"));
    let mut show = Show::begin(&mut world, "first", 0, true);
    show.run(&mut world, 5);
    let bytes = world.files.files[0].bytes.clone();
    let mut before = 0.0;
    for cut in (0..bytes.len()).step_by(997) {
        match Scan::of(&mut Cursor::new(&bytes[..cut])) {
            Ok(scan) => {
                assert!(scan.whole_bytes <= cut as u64);
                let length = seconds(&scan);
                assert!(length >= before, "less in more");
                before = length;
            }
            Err(ScanError::NotARecording) => assert_eq!(before, 0.0, "{cut}"),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(before >= 2.5, "{before}");
    let once = finished(&bytes);
    let scan = Scan::of(&mut Cursor::new(&once)).unwrap();
    assert!(scan.is_finished);
    assert_eq!(finished(&once), once);
    // A crash between the two steps leaves a file of fragments.
    let torn = Scan::of(&mut Cursor::new(&once[..once.len() - 1])).unwrap();
    assert!(!torn.is_finished);
    assert_eq!(seconds(&torn), seconds(&scan));
}

#[test]
fn a_browser_is_recorded_with_sound_though_nobody_else_takes_it() {
    let mut world = recorded(recording("r1"));
    let client = Client::new(world.now, 4000, Sends::default());
    world.publish("first", client);
    world.run_ms(8_000);
    let scan = scan(&world, 0);
    let length = seconds(&scan);
    assert!((5.0..=8.5).contains(&length), "{length}");
    let audio = scan.sample_count(false) as f64 * 1_024.0 / 48_000.0;
    assert!((length - audio).abs() < 1.2, "{audio} of {length}");
    assert!(scan.sample_count(true) > 100);
}

#[test]
fn recording_begins_and_ends_in_mid_show() {
    let mut world = World::new();
    want(&mut world, None);
    let client = Client::new(world.now, 4000, Sends::default());
    world.publish("first", client);
    world.run_ms(4_000);
    assert!(world.files.files.is_empty());
    for (n, id) in ["r1", "r2"].into_iter().enumerate() {
        want(&mut world, Some(recording(id)));
        world.run_ms(5_000);
        want(&mut world, None);
        world.run_ms(3_000);
        assert_eq!(world.files.files.len(), n + 1);
        assert!(world.files.files[n].is_closed);
        let length = seconds(&scan(&world, n));
        assert!((3.0..=7.5).contains(&length), "{length}");
    }
}

#[test]
fn files_are_no_longer_than_is_set_and_nothing_is_missing_between_them() {
    let mut world = recorded(WantedRecording {
        file_ms_max: 3_000,
        ..recording("r1")
    });
    let mut show = Show::begin(&mut world, "first", 0, false);
    show.run(&mut world, 11);
    want(&mut world, None);
    world.run_ms(1_000);
    let files = world.files.files.len();
    assert!((3..=5).contains(&files), "{files}");
    let scans: Vec<Scan> = (0..files).map(|n| scan(&world, n)).collect();
    for scan in &scans[..files - 1] {
        let length = seconds(scan);
        assert!((2.8..=4.2).contains(&length), "{length}");
    }
    let pictures: usize = scans.iter().map(|it| it.sample_count(true)).sum();
    assert!(pictures + 3 >= show.video.len(), "{pictures}");
}

#[test]
fn no_picture_is_missing_where_audio_is_coded_otherwise_from_then_on() {
    let mut world = recorded(recording("r1"));
    let mut show = Show::begin(&mut world, "first", 0, false);
    show.run(&mut world, 5);
    world.lose_encoder(show.index);
    world.run_ms(1_000);
    let client = Client::new(world.now, 4000, Sends::default());
    let first = client.first_number();
    world.publish("second", client);
    world.run_ms(8_000);
    want(&mut world, None);
    world.run_ms(1_000);
    let files = world.files.files.len();
    let rates: Vec<u32> = (0..files).map(|n| audio_rate(&world, n)).collect();
    assert_eq!(rates, [44_100, 48_000]);
    let numbers = (0..files).flat_map(|n| pictures(&world, n));
    let numbers: Vec<u64> = numbers.filter(|number| *number >= first).collect();
    let last = first + world.clients[0].frames_sent;
    assert!(numbers.len() > 200 && last - numbers[numbers.len() - 1] < 40);
    let missing = numbers.windows(2).find(|two| two[1] != two[0] + 1);
    assert_eq!(missing, None);
}

#[test]
fn audio_that_comes_behind_the_first_fragment_is_not_heard_at_another_speed() {
    let mut world = recorded(recording("r1"));
    let encoder = world.publish_rtmp("first");
    let header = flv::avc_sequence_header(&record(false));
    world.encode(encoder, MediaKind::Video, 0, &header);
    let mut pictures = Pictures::new(false);
    for sent in 0..100 {
        let at_ms = sent * 40;
        if at_ms == 1_200 {
            let header = flv::aac_sequence_header(&[0x12, 0x10]);
            world.encode(encoder, MediaKind::Audio, at_ms, &header);
        }
        if at_ms >= 1_200 {
            let body = [&flv::AAC_RAW_HEADER[..], &[7, 7]].concat();
            world.encode(encoder, MediaKind::Audio, at_ms, &body.into());
        }
        let picture = pictures.next(sent % 25 == 0, 200);
        let body = [&flv::avc_header(picture.key, 0)[..], &picture.avcc].concat();
        world.encode(encoder, MediaKind::Video, at_ms, &body.into());
        world.run_ms(40);
    }
    want(&mut world, None);
    world.run_ms(1_000);
    for file in 0..world.files.files.len() {
        let rate = audio_rate(&world, file);
        let frames = scan(&world, file).sample_count(false);
        assert!(
            rate == 44_100 || frames == 0,
            "{frames} frames at {rate} Hz"
        );
    }
    assert!(world.files.files.len() > 1);
}

#[test]
fn a_full_disk_is_told_costs_the_show_nothing_and_is_tried_again() {
    let mut world = World::new();
    world.want(&[("a", FaultMode::Well)]);
    let mut wanted = WantedBroadcast::new(broadcast());
    wanted.recording = Some(recording("r1"));
    wanted
        .destinations
        .push(shardcast_link::WantedDestination::new(
            shardcast_link::DestinationId("a".to_owned()),
            "rtmp://a/app/key-of-a".to_owned(),
        ));
    world.command(Command::Want { broadcast: wanted });
    let client = Client::new(world.now, 4000, Sends::default());
    world.publish("first", client);
    world.run_ms(5_000);
    world.files.is_full = true;
    world.run_ms(3_000);
    let told = status(&mut world);
    let problem = told.problem.expect("a problem");
    assert!(problem.message.contains("no space"), "{problem:?}");
    assert_eq!(told.file, None);
    world.files.is_full = false;
    world.run_ms(12_000);
    assert_eq!(status(&mut world).problem, None);
    assert_eq!(world.files.files.len(), 2);
    assert!(seconds(&scan(&world, 0)) > 2.0);
    assert!(seconds(&scan(&world, 1)) > 1.0);
    let server = world.server("a", 0);
    server.assert_well_formed();
    assert!(server.largest_gap_ms(0) < 200);
    assert_eq!(world.connections("a"), 1);
}

#[test]
fn what_waits_for_a_disk_that_stands_still_is_bounded_whatever_file_it_is_of() {
    let mut world = recorded(WantedRecording {
        file_ms_max: 2_000,
        ..recording("r1")
    });
    let encoder = world.publish_rtmp("first");
    world.encode_headers(encoder, 0, false, &[0x11, 0x90]);
    let mut pictures = Pictures::new(false);
    let mut sent = 0;
    // 40 Mbit/s.
    let mut run = |world: &mut World, seconds: u32| {
        for _ in 0..seconds * 25 {
            let picture = pictures.next(sent % 25 == 0, 200_000);
            let body = [&flv::avc_header(picture.key, 0)[..], &picture.avcc].concat();
            world.encode(encoder, MediaKind::Video, sent * 40, &body.into());
            sent += 1;
            world.run_ms(40);
        }
    };
    let written = |world: &World| -> usize {
        let files = world.files.files.iter();
        files.map(|it| it.bytes.len()).sum()
    };
    run(&mut world, 3);
    assert!(written(&world) > 8 << 20);
    world.files.stands_still = true;
    let before = written(&world);
    run(&mut world, 12);
    assert!(world.files.files.len() > 4, "files of two seconds");
    let waiting = written(&world) - before;
    // And what one fragment has.
    assert!((8 << 20..12 << 20).contains(&waiting), "{waiting} bytes");
    let problem = status(&mut world).problem.expect("a problem");
    assert!(problem.message.contains("more slowly"), "{problem:?}");
}

#[test]
fn what_is_shown_while_the_publisher_is_away_is_in_it_or_not() {
    let mut lengths = Vec::new();
    for filler in [true, false] {
        let mut world = recorded(WantedRecording {
            filler,
            ..recording("r1")
        });
        let client = Client::new(world.now, 4000, Sends::default());
        world.publish("first", client);
        world.run_ms(5_000);
        world.clients[0].dead = true;
        world.command(Command::Unpublish {
            session: session("first"),
        });
        world.run_ms(6_000);
        let client = Client::new(world.now, 4001, Sends::default());
        world.publish("second", client);
        world.run_ms(5_000);
        want(&mut world, None);
        world.run_ms(1_000);
        assert_eq!(world.files.files.len(), 1);
        lengths.push(seconds(&scan(&world, 0)));
    }
    let [with, without] = lengths[..] else {
        unreachable!()
    };
    assert!((13.0..=16.6).contains(&with), "{with}");
    assert!((7.0..=11.5).contains(&without), "{without}");
}

#[test]
fn the_end_of_the_show_is_the_end_of_the_file() {
    let mut world = recorded(recording("r1"));
    let client = Client::new(world.now, 4000, Sends::default());
    world.publish("first", client);
    world.run_ms(5_000);
    world.command(Command::Forget {
        broadcast: broadcast(),
    });
    world.run_ms(1_000);
    assert!(world.files.files[0].is_closed);
    let told = |event: &Event| matches!(event, Event::Recorded { .. });
    assert!(world.events.iter().any(told), "control was not told");
    assert!(seconds(&scan(&world, 0)) > 3.0);
}
