//! One hour of a browser and one of an encoder, whose clocks are not the shard's: sound stays within 20 ms of the
//! picture all through it, at a destination, in the recording and in HLS; while packets get lost, the line stalls,
//! and camera and microphone pause. Where a browser sends packets of 60 ms it is 36 ms, since whole ones are left out.

use bytes::Bytes;
use shardcast_cmaf::{TrackRun, read_fragment, read_init_segment};
use shardcast_core::{
    io::Fragment,
    rtmp::{MediaKind, Message, flv},
};
use shardcast_link::{
    Command, DestinationId, WantedBroadcast, WantedDestination, WantedHls, WantedRecording,
};
use shardcast_sim::{
    codecs::aac_frame_number,
    picture::{Picture, Shows},
    udp::{Path, Traffic},
};

use crate::sim::{
    FaultMode, World, broadcast,
    client::{Client, Sends},
    encoder::Pictures,
    recorded_files::RecordedFile,
    recording::Recording,
};

const HOUR_MS: u64 = 3_600_000;
/// Sound may be so far from the picture, in microseconds.
const APART_US_MAX: i64 = 20_000;
/// The same where a browser sends packets of 60 ms: the shard leaves out whole ones, at 55 % of one.
const APART_US_MAX_LONG: i64 = 36_000;
/// Quartz is as far from its frequency, in millionths.
const CLOCK_PPM: u64 = 80;
const SOUND_CARD_PPM: u64 = 60;
/// Distance of pictures.
const FRAME_MS: u64 = 100;
const AAC_SAMPLES: u64 = 1_024;
/// What audio codecs delay, which the shard makes up for: 312 samples of Opus, a frame of AAC.
const CODEC_SAMPLES: u64 = 312 + AAC_SAMPLES;

/// When something was taken by its sender's clock, and when it is to be seen or heard, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Mark {
    taken_us: i64,
    at_us: i64,
}

/// What one consumer was sent.
#[derive(Debug, Default)]
struct Marks {
    pictures: Vec<Mark>,
    sounds: Vec<Mark>,
}

impl Marks {
    /// Each sound is at its place behind the picture that is shown meanwhile.
    fn assert_in_sync(&self, whose: &str, length_s: i64, apart_us_max: i64) {
        let by_time = self.pictures.windows(2).all(|it| it[0].at_us < it[1].at_us);
        assert!(by_time, "{whose}: pictures step back");
        let mut worst = (0, 0);
        let mut compared = 0;
        for sound in &self.sounds {
            let behind = self.pictures.partition_point(|it| it.at_us <= sound.at_us);
            let Some(picture) = behind.checked_sub(1).map(|index| self.pictures[index]) else {
                continue;
            };
            // While the camera pauses there is nothing to compare with.
            if sound.at_us - picture.at_us > 1_000_000 {
                continue;
            }
            let moved = |mark: Mark| mark.at_us - mark.taken_us;
            let apart_us = moved(*sound) - moved(picture);
            if apart_us.abs() > i64::abs(worst.0) {
                worst = (apart_us, sound.at_us / 1_000_000);
            }
            compared += 1;
        }
        let (apart_us, at_s) = worst;
        println!("{whose}: {compared} sounds, {apart_us} us apart at most, after {at_s} s");
        assert!(
            apart_us.abs() <= apart_us_max,
            "{whose}: {apart_us} us after {at_s} s"
        );
        let lasts = |marks: &[Mark]| {
            let ends = marks.first().zip(marks.last());
            ends.map_or(0, |(first, last)| (last.at_us - first.at_us) / 1_000_000)
        };
        let lengths = (lasts(&self.pictures), lasts(&self.sounds));
        assert!(
            lengths.0 >= length_s && lengths.1 >= length_s,
            "{whose}: {lengths:?} s"
        );
    }
}

/// When pictures and audio frames were taken; `None` for what nobody has sent.
trait Sender {
    fn picture_us(&self, number: u64) -> Option<i64>;
    fn sound_us(&self, frame: &[u8]) -> Option<i64>;
}

/// Notes what a consumer is sent.
struct Notes<'a, S> {
    sender: &'a S,
    marks: Marks,
}

impl<S: Sender> Notes<'_, S> {
    fn picture(&mut self, picture: Option<Picture>, at_us: i64) {
        let Some(Picture {
            shows: Shows::Sent(number),
            idr_pic_id,
            ..
        }) = picture
        else {
            return;
        };
        // A keyframe that is sent again is filler.
        let is_again = idr_pic_id.is_some_and(|id| id > 1);
        let taken_us = self.sender.picture_us(number).filter(|_| !is_again);
        let mark = taken_us.map(|taken_us| Mark { taken_us, at_us });
        self.marks.pictures.extend(mark);
    }

    fn sound(&mut self, frame: &[u8], at_us: i64) {
        let taken_us = self.sender.sound_us(frame);
        let mark = taken_us.map(|taken_us| Mark { taken_us, at_us });
        self.marks.sounds.extend(mark);
    }

    fn run(&mut self, run: &TrackRun, timescale: u32, is_video: bool) {
        let us = |ticks: i64| ticks * 1_000_000 / i64::from(timescale);
        let mut at = i64::try_from(run.decoded_at).unwrap();
        for sample in &run.samples {
            if is_video {
                let shown_us = us(at + i64::from(sample.composition_offset));
                // Behind the head that a message of RTMP has.
                let body = [&[0; 5], &sample.payload[..]].concat();
                self.picture(Picture::read(&body), shown_us);
            } else {
                self.sound(&sample.payload, us(at));
            }
            at += i64::from(sample.duration);
        }
    }
}

fn of_destination(sender: &impl Sender, server: &Recording) -> Marks {
    let marks = Marks::default();
    let mut notes = Notes { sender, marks };
    let at_us = |message: &Message| i64::from(message.timestamp_ms) * 1_000;
    for message in server.video() {
        let composition_ms = i32::from_be_bytes(message.payload[1..5].try_into().unwrap());
        let composition_us = i64::from(composition_ms & 0xff_ffff) * 1_000;
        let picture = Picture::read(&message.payload);
        notes.picture(picture, at_us(message) + composition_us);
    }
    for message in server.audio() {
        notes.sound(&message.payload[2..], at_us(message));
    }
    notes.marks
}

/// Fragments with their tracks: numbers and ticks a second of video and audio.
fn of_fragments(
    sender: &impl Sender,
    init: &[u8],
    fragments: impl IntoIterator<Item = Bytes>,
) -> Marks {
    let marks = Marks::default();
    let mut notes = Notes { sender, marks };
    let tracks = read_init_segment(init);
    for fragment in fragments {
        for run in read_fragment(&fragment).expect("a whole fragment") {
            let track = tracks.iter().find(|it| it.id == run.track).unwrap();
            notes.run(&run, track.timescale, track.is_video());
        }
    }
    notes.marks
}

fn of_recording(sender: &impl Sender, file: &RecordedFile) -> Marks {
    let (head, fragments) = file.fragments();
    of_fragments(sender, &head, fragments)
}

fn of_hls(sender: &impl Sender, parts: &[Fragment]) -> Marks {
    let init_bytes = |part: &Fragment| {
        let begins = part.head.begins.as_ref();
        begins.map_or(0, |it| usize::try_from(it.init_bytes).unwrap())
    };
    let init = Bytes::from(parts[0].slices.concat()).split_to(init_bytes(&parts[0]));
    let fragments = parts.iter().map(|part| {
        let mut bytes = Bytes::from(part.slices.concat());
        let begins = bytes.split_to(init_bytes(part));
        assert!(begins.is_empty() || begins == init, "a discontinuity");
        bytes
    });
    of_fragments(sender, &init, fragments)
}

/// A broadcast with one consumer of each kind.
fn world() -> World {
    let mut world = World::new();
    world.add_hosts(&[("one", FaultMode::Well)]);
    let id = DestinationId("one".to_owned());
    let mut wanted = WantedBroadcast::new(broadcast());
    wanted.hold_ms = 60_000;
    wanted
        .destinations
        .push(WantedDestination::new(id, "rtmp://one/app/key".to_owned()));
    wanted.recording = Some(WantedRecording {
        id: "r1".to_owned(),
        folder: "/recordings".to_owned(),
        label: String::new(),
        file_ms_max: 0,
        filler: true,
    });
    wanted.hls = Some(WantedHls {
        segment_ms: 2_000,
        ladder: false,
    });
    world.command(Command::Want { broadcast: wanted });
    world
}

fn assert_in_sync(world: &World, sender: &impl Sender, kind: &str, apart_us_max: i64) {
    assert_eq!(world.connections("one"), 1);
    assert_eq!(world.files.files.len(), 1, "one file");
    let length_s = i64::try_from(HOUR_MS / 1_000).unwrap() - 10;
    let check = |marks: Marks, whose: &str| {
        marks.assert_in_sync(&format!("{whose} of {kind}"), length_s, apart_us_max);
    };
    check(
        of_destination(sender, world.server("one", 0)),
        "destination",
    );
    check(of_recording(sender, &world.files.files[0]), "recording");
    check(of_hls(sender, &world.fragments), "HLS");
}

/// Runs for an hour. In each ten minutes the camera pauses for a while, and then the microphone.
fn run_hour(world: &mut World, mut pause: impl FnMut(&mut World, bool, bool)) {
    let mut ran_ms = 0;
    while ran_ms < HOUR_MS {
        for (camera, microphone, ms) in [
            (true, true, 200_000),
            (false, true, 4_000),
            (true, true, 196_000),
            (true, false, 5_000),
            (true, true, 191_000),
            (false, false, 4_000),
        ] {
            pause(world, camera, microphone);
            world.run_ms(ms);
            ran_ms += ms;
        }
    }
    pause(world, true, true);
    world.run_ms(10_000);
}

/// What the browser knows.
struct OfBrowser<'a> {
    client: &'a Client,
    first: u64,
    /// Numbers of Opus packets, which count 20 ms, and what was decoded before each, in samples.
    packets: &'a [(u32, u64)],
    packet_samples: u64,
}

impl Sender for OfBrowser<'_> {
    fn picture_us(&self, number: u64) -> Option<i64> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let taken = self.client.pictures_taken.get(index)?;
        Some(i64::try_from(taken.as_micros()).unwrap())
    }

    /// None where its first sample was made up for a packet that was lost.
    fn sound_us(&self, frame: &[u8]) -> Option<i64> {
        let (transcoder, number) = aac_frame_number(frame)?;
        assert_eq!(transcoder, 0, "one transcoder for the hour");
        let sample = (u64::from(number) * AAC_SAMPLES).checked_sub(CODEC_SAMPLES)?;
        let behind = self
            .packets
            .partition_point(|(_, before)| *before <= sample);
        let (packet, before) = self.packets[behind.checked_sub(1)?];
        let into = sample - before;
        let taken = self.client.audio_taken(u64::from(packet) * 960 + into);
        (into < self.packet_samples).then(|| i64::try_from(taken.as_micros()).unwrap())
    }
}

fn hour_of_a_browser(long_packets: bool, apart_us_max: i64) {
    let mut world = world();
    let sends = Sends {
        frame_ms: FRAME_MS,
        frame_bytes: 60,
        long_packets,
        ..Sends::default()
    };
    let mut client = Client::new(world.now, 4_000, sends);
    client.clock_ppm = CLOCK_PPM;
    client.sound_card_ppm = SOUND_CARD_PPM;
    client.traffic = Some(Traffic::on(Path {
        loss_permille: 5,
        burst: 2,
        delay_ms: 40,
        jitter_ms: 20,
        seed: 1,
        ..Path::default()
    }));
    world.publish("first", client);
    run_hour(&mut world, |world, camera, microphone| {
        world.clients[0].no_video = !camera;
        world.clients[0].no_audio = !microphone;
    });
    let sender = OfBrowser {
        client: &world.clients[0],
        first: world.clients[0].first_number(),
        packets: &world.audio_decoded,
        packet_samples: if long_packets { 2_880 } else { 960 },
    };
    let lost = world.clients[0].traffic.as_ref().unwrap();
    assert!(lost.audio_lost > 200 && lost.video_lost > 100);
    assert_in_sync(&world, &sender, "a browser", apart_us_max);
}

#[test]
fn sound_stays_at_the_picture_for_an_hour_of_a_browser() {
    hour_of_a_browser(false, APART_US_MAX);
}

#[test]
fn sound_stays_within_half_a_packet_of_60_ms_for_an_hour_of_a_browser() {
    hour_of_a_browser(true, APART_US_MAX_LONG);
}

/// An encoder whose media has the timestamps of its own clock. Its sound card is faster than that.
struct OfEncoder {
    pictures: Vec<u32>,
    sounds: Vec<u32>,
}

/// What an AAC frame of the encoder begins with; its number follows.
const FRAME_HEAD: [u8; 2] = [7, 7];

impl Sender for OfEncoder {
    fn picture_us(&self, number: u64) -> Option<i64> {
        let ms = self.pictures.get(usize::try_from(number).ok()?)?;
        Some(i64::from(*ms) * 1_000)
    }

    fn sound_us(&self, frame: &[u8]) -> Option<i64> {
        let number = frame.strip_prefix(&FRAME_HEAD)?;
        let number = u32::from_be_bytes(number.try_into().ok()?);
        let ms = self.sounds.get(usize::try_from(number).ok()?)?;
        Some(i64::from(*ms) * 1_000)
    }
}

/// An encoder at work.
struct Encoder {
    index: usize,
    pictures: Pictures,
    sent: OfEncoder,
    /// Frames of audio, those included that a pause has left out.
    frames: u64,
    samples_per_s: u64,
    /// What is on its line.
    held: Vec<(MediaKind, u32, Bytes)>,
}

impl Encoder {
    fn begin(world: &mut World, aac: [u8; 2], samples_per_s: u64) -> Self {
        let index = world.publish_rtmp("first");
        world.encode_headers(index, 0, false, &aac);
        Self {
            index,
            pictures: Pictures::new(false),
            sent: OfEncoder {
                pictures: Vec::new(),
                sounds: Vec::new(),
            },
            frames: 0,
            samples_per_s,
            held: Vec::new(),
        }
    }

    /// Its clock, when the shard's shows this.
    fn clock_us(ms: u64) -> u64 {
        ms * (1_000_000 + CLOCK_PPM) / 1_000
    }

    /// When the next frame of audio is whole by its clock.
    fn sound_us(&self) -> u64 {
        let heard_us = self.frames * AAC_SAMPLES * 1_000_000 / self.samples_per_s;
        heard_us - heard_us * SOUND_CARD_PPM / (1_000_000 + SOUND_CARD_PPM)
    }

    /// Makes the picture of now, and the audio up to it.
    fn make(&mut self, at_ms: u64, camera: bool, microphone: bool) {
        let now_us = Self::clock_us(at_ms);
        while self.sound_us() <= now_us {
            let timestamp_ms = u32::try_from(self.sound_us() / 1_000).unwrap();
            self.frames += 1;
            if microphone {
                let number = u32::try_from(self.sent.sounds.len()).unwrap();
                self.sent.sounds.push(timestamp_ms);
                let head = [&flv::AAC_RAW_HEADER[..], &FRAME_HEAD].concat();
                let body = [&head[..], &number.to_be_bytes()].concat();
                self.held
                    .push((MediaKind::Audio, timestamp_ms, body.into()));
            }
        }
        if camera {
            let timestamp_ms = u32::try_from(now_us / 1_000).unwrap();
            let is_due = self.sent.pictures.len().is_multiple_of(20);
            let picture = self.pictures.next(is_due, 60);
            self.sent.pictures.push(timestamp_ms);
            let head = flv::avc_header(picture.key, 0);
            let body = [&head[..], &picture.avcc].concat();
            self.held
                .push((MediaKind::Video, timestamp_ms, body.into()));
        }
    }

    fn send(&mut self, world: &mut World) {
        for (kind, timestamp_ms, body) in self.held.drain(..) {
            world.encode(self.index, kind, timestamp_ms, &body);
        }
    }
}

fn hour_of_an_encoder(aac: [u8; 2], samples_per_s: u64) {
    let mut world = world();
    let mut encoder = Encoder::begin(&mut world, aac, samples_per_s);
    for step in 0..HOUR_MS / FRAME_MS {
        let at_ms = step * FRAME_MS;
        let (camera, microphone) = match at_ms % 600_000 {
            200_000..204_000 => (false, true),
            400_000..405_000 => (true, false),
            590_000..594_000 => (false, false),
            _ => (true, true),
        };
        // What its line holds back comes at once.
        let is_stalled = (500_000..501_200).contains(&(at_ms % 600_000));
        encoder.make(at_ms, camera, microphone);
        if !is_stalled {
            encoder.send(&mut world);
        }
        world.run_ms(FRAME_MS);
    }
    assert_in_sync(&world, &encoder.sent, "an encoder", APART_US_MAX);
}

#[test]
fn sound_stays_at_the_picture_for_an_hour_of_an_encoder_at_44_100_hz() {
    hour_of_an_encoder([0x12, 0x10], 44_100);
}

#[test]
fn sound_stays_at_the_picture_for_an_hour_of_an_encoder_at_48_000_hz() {
    hour_of_an_encoder([0x11, 0x90], 48_000);
}
