//! An encoder that publishes by RTMP: destinations are sent its video and audio as they came, to the byte and
//! to the millisecond, B-frames included; when it goes away they are held with filler and silence in its own
//! form; another publisher of any kind may follow it; and what is not taken is refused in words.

use bytes::Bytes;
use shardcast_core::rtmp::{MediaKind, flv, message::type_id};
use shardcast_link::{EndReason, IngestProtocol, Reencode};

use crate::sim::{
    FaultMode, World,
    client::{Client, Sends},
    encoder::Pictures,
    renditions::{reencoding, run_s, want},
};

/// AAC-LC at 44.1 kHz in stereo, as FFmpeg describes it.
pub(crate) const AAC: [u8; 5] = [0x12, 0x10, 0x56, 0xE5, 0x00];
const FRAME_MS: u32 = 40;

/// An encoder with what it has sent: payloads and times of messages.
pub(crate) struct Show {
    pub(crate) index: usize,
    pictures: Pictures,
    at_ms: u32,
    audio_frames: u32,
    pub(crate) video: Vec<(u32, Bytes)>,
    pub(crate) audio: Vec<(u32, Bytes)>,
    /// What the line holds back, while it does.
    held: Option<Vec<(MediaKind, u32, Bytes)>>,
    /// Pictures from one keyframe to the next.
    pub(crate) group: usize,
    /// And how large they are.
    pub(crate) picture_bytes: usize,
    /// With B-frames a keyframe cannot come at any time.
    key_wanted: bool,
}

impl Show {
    pub(crate) fn begin(world: &mut World, name: &str, start_ms: u32, b_frames: bool) -> Self {
        Self::begin_with(world, name, start_ms, b_frames, &AAC)
    }

    /// The same with other audio.
    pub(crate) fn begin_with(
        world: &mut World,
        name: &str,
        start_ms: u32,
        b_frames: bool,
        aac: &[u8],
    ) -> Self {
        let index = world.publish_rtmp(name);
        assert!(world.encoders[index].is_publishing());
        world.encode_headers(index, start_ms, b_frames, aac);
        Self {
            index,
            pictures: Pictures::new(b_frames),
            at_ms: start_ms,
            audio_frames: 0,
            video: Vec::new(),
            audio: Vec::new(),
            held: None,
            group: 25,
            picture_bytes: 600,
            key_wanted: true,
        }
    }

    /// Sends for so long, with a keyframe each second.
    pub(crate) fn run(&mut self, world: &mut World, seconds: u32) {
        self.run_ms(world, seconds * 1_000);
    }

    /// The same in milliseconds.
    pub(crate) fn run_ms(&mut self, world: &mut World, ms: u32) {
        for _ in 0..ms / FRAME_MS {
            self.key_wanted |= self.video.len().is_multiple_of(self.group);
            // No two are alike.
            let bytes = self.picture_bytes + self.video.len();
            let picture = self.pictures.next(self.key_wanted, bytes);
            self.key_wanted &= !picture.key;
            let cts_ms = picture.composition_frames * FRAME_MS as i32;
            let head = flv::avc_header(picture.key, cts_ms);
            let body = Bytes::from([&head[..], &picture.avcc].concat());
            self.video.push((self.at_ms, body.clone()));
            self.send(world, MediaKind::Video, self.at_ms, &body);
            while self.audio_frames * 1_024 * 10 / 441 <= self.elapsed_ms() {
                let at_ms = self
                    .start_ms()
                    .wrapping_add(self.audio_frames * 10_240 / 441);
                let [.., high, low] = self.audio_frames.to_be_bytes();
                let frame = Bytes::copy_from_slice(&[0xAF, 1, 7, 7, high, low]);
                self.audio.push((at_ms, frame.clone()));
                self.send(world, MediaKind::Audio, at_ms, &frame);
                self.audio_frames += 1;
            }
            self.at_ms = self.at_ms.wrapping_add(FRAME_MS);
            world.run_ms(FRAME_MS.into());
        }
    }

    fn send(&mut self, world: &mut World, kind: MediaKind, at_ms: u32, body: &Bytes) {
        match &mut self.held {
            Some(held) => held.push((kind, at_ms, body.clone())),
            None => world.encode(self.index, kind, at_ms, body),
        }
    }

    /// What is sent from now on stays in the line.
    pub(crate) fn stall(&mut self) {
        self.held.get_or_insert_default();
    }

    /// The line brings what it has held back, in reads of so many messages.
    pub(crate) fn deliver(&mut self, world: &mut World, messages_a_read: usize) {
        let held = self.held.take().unwrap_or_default();
        for read in held.chunks(messages_a_read) {
            world.encode_together(self.index, read);
        }
    }

    fn start_ms(&self) -> u32 {
        self.video[0].0
    }

    fn elapsed_ms(&self) -> u32 {
        self.at_ms.wrapping_sub(self.start_ms())
    }
}

/// Payloads, and times from the first on.
fn relative(messages: &[(u32, Bytes)]) -> Vec<(u32, Bytes)> {
    let first = messages[0].0;
    let messages = messages.iter();
    messages
        .map(|(at, body)| (at.wrapping_sub(first), body.clone()))
        .collect()
}

pub(crate) fn received(world: &World, kind: u8) -> Vec<(u32, Bytes)> {
    let recording = world.server("a", 0);
    let messages = match kind {
        type_id::VIDEO => recording.video(),
        _ => recording.audio(),
    };
    let messages = messages.into_iter();
    messages
        .map(|m| (m.timestamp_ms, m.payload.clone()))
        .collect()
}

/// What was sent from the first that arrived on.
fn sent_from(sent: &[(u32, Bytes)], first: &Bytes) -> Vec<(u32, Bytes)> {
    let from = sent.iter().position(|(_, body)| body == first);
    relative(&sent[from.expect("it was sent")..])
}

pub(crate) fn world() -> World {
    let mut world = World::new();
    world.want(&[("a", FaultMode::Well)]);
    world
}

#[test]
fn video_and_audio_reach_a_destination_as_they_were_sent_whatever_the_encoder_counts_from() {
    for b_frames in [false, true] {
        for start_ms in [0, 90_000, u32::MAX - 3_000, (1 << 24) - 3_000] {
            let mut world = world();
            let mut show = Show::begin(&mut world, "first", start_ms, b_frames);
            show.run(&mut world, 8);
            let what = format!("B-frames {b_frames}, from {start_ms}");
            let video = received(&world, type_id::VIDEO);
            assert!(video.len() > 150, "{what}: {}", video.len());
            let sent = sent_from(&show.video, &video[0].1);
            assert_eq!(relative(&video), sent[..video.len()], "{what}");
            let audio = received(&world, type_id::AUDIO);
            let sent = sent_from(&show.audio, &audio[0].1);
            assert_eq!(relative(&audio), sent[..audio.len()], "{what}");
            let recording = world.server("a", 0);
            recording.assert_well_formed();
            let mut headers = recording.media.iter();
            let header = headers.find(|m| m.type_id == type_id::AUDIO).unwrap();
            assert_eq!(header.payload, flv::aac_sequence_header(&AAC), "{what}");
            assert_eq!(recording.sequence_headers(type_id::AUDIO), 1);
            let status = world.latest();
            let publisher = status.broadcasts[0].publisher.clone().unwrap();
            assert_eq!(publisher.protocol, IngestProtocol::Rtmp);
            assert_eq!(publisher.remote, "192.0.2.9:40000");
            assert_eq!(publisher.audio.unwrap().codec, "aac");
        }
    }
}

#[test]
fn b_frames_are_passed_on_even_where_a_rendition_could_be_made() {
    let mut world = World::with_codecs(1_000);
    want(&mut world, &[("a", reencoding(Reencode::Auto))]);
    let mut show = Show::begin(&mut world, "first", 0, true);
    show.run(&mut world, 8);
    assert!(world.video.is_empty(), "nothing was decoded");
    assert!(received(&world, type_id::VIDEO).len() > 100);
}

#[test]
fn an_encoder_that_is_lost_is_waited_for_with_filler_and_silence_in_its_own_form() {
    let mut world = world();
    let mut show = Show::begin(&mut world, "first", 0, false);
    show.run(&mut world, 4);
    world.lose_encoder(show.index);
    run_s(&mut world, 4);
    assert_eq!(world.ended("first"), Some(EndReason::Lost));
    assert!(world.latest().broadcasts[0].holding);
    let mut again = Show::begin(&mut world, "second", 1_000_000, false);
    again.run(&mut world, 4);
    let recording = world.server("a", 0);
    recording.assert_well_formed();
    assert!(recording.ended_by.is_empty() && world.history["a"].len() == 1);
    assert_eq!(recording.sequence_headers(type_id::AUDIO), 1);
    assert!(recording.largest_gap_ms(2_000) <= 1_000);
    let audio = received(&world, type_id::AUDIO);
    let steps = audio.windows(2).map(|two| two[1].0 - two[0].0);
    assert!(steps.max().unwrap() <= 120, "audio has a gap");
    let last = &again.video.last().unwrap().1;
    assert!(
        received(&world, type_id::VIDEO)
            .iter()
            .any(|(_, body)| body == last)
    );
}

#[test]
fn a_browser_may_follow_an_encoder_and_an_encoder_a_browser() {
    let mut world = world();
    let mut show = Show::begin(&mut world, "first", 0, false);
    show.run(&mut world, 3);
    let client = Client::new(world.now, 4_000, Sends::default());
    world.publish("browser", client);
    run_s(&mut world, 4);
    assert!(world.encoders[0].closed, "the encoder was replaced");
    let refusal = world.encoders[0].refusal().unwrap().to_string();
    assert!(refusal.contains("taken the stream over"), "{refusal}");
    let mut again = Show::begin(&mut world, "third", 0, true);
    again.run(&mut world, 4);
    let recording = world.server("a", 0);
    recording.assert_well_formed();
    // The encoder's, the browser's and the encoder's.
    assert_eq!(recording.sequence_headers(type_id::AUDIO), 3);
    let last = &again.audio[again.audio.len() - 3].1;
    assert!(
        received(&world, type_id::AUDIO)
            .iter()
            .any(|(_, body)| body == last)
    );
}

#[test]
fn an_encoder_that_ends_its_stream_says_so() {
    let mut world = world();
    let mut show = Show::begin(&mut world, "first", 0, false);
    show.run(&mut world, 2);
    world.end_encoding(show.index);
    world.run_ms(10);
    assert_eq!(world.ended("first"), Some(EndReason::PeerClosed));
    assert!(world.encoders[0].closed);
}

#[test]
fn what_is_not_taken_is_refused_in_words_and_a_start_without_media_ends() {
    let he_aac: &[u8] = &[0xAF, 0, 0x2B, 0x92, 0x08, 0x00];
    for (kind, body, words) in [
        (MediaKind::Video, &b"\x90hvc1\x01"[..], "HEVC"),
        (MediaKind::Audio, b"\x2F\xFF\xFB", "MP3"),
        (MediaKind::Audio, b"\xB2\x00", "Speex"),
        (MediaKind::Audio, he_aac, "AAC-LC"),
        (MediaKind::Video, b"\x17\x00\x00\x00\x00\x01\x42", "H.264"),
    ] {
        let mut world = world();
        let index = world.publish_rtmp("first");
        world.encode(index, kind, 0, &Bytes::copy_from_slice(body));
        world.run_ms(10);
        let encoder = &world.encoders[index];
        assert!(encoder.closed);
        let refusal = encoder.refusal().expect("a refusal").to_string();
        assert!(refusal.contains(words), "{refusal}");
    }
    let mut world = world();
    world.publish_rtmp("first");
    run_s(&mut world, 11);
    assert!(world.encoders[0].closed);
    assert_eq!(world.ended("first"), Some(EndReason::StartTimeout));
}

#[test]
fn a_connection_that_is_not_as_it_should_be_is_closed() {
    let mut world = World::new();
    world.publish_rtmp_read("first", b"what another version would write");
    world.run_ms(10);
    assert!(world.encoders[0].closed);
    assert_eq!(world.ended("first"), Some(EndReason::Internal));
}

#[test]
fn rubbish_ends_its_own_session_and_nothing_else() {
    for seed in 0..200_u32 {
        let mut world = World::new();
        let index = world.publish_rtmp("first");
        world.encode_headers(index, 0, false, &AAC);
        let mut state = seed.wrapping_mul(2_654_435_761).max(1);
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        };
        for length in [1, 7, 100, 3_000] {
            let bytes: Vec<u8> = (0..length).map(|_| random()).collect();
            match seed % 3 {
                0 => world.from_encoder(index, &bytes),
                kind => {
                    let mut bytes = bytes;
                    bytes[0] = if kind == 1 { 0x17 } else { 0xAF };
                    if let Some(second) = bytes.get_mut(1) {
                        *second = u8::from(*second < 200);
                    }
                    let kind = if kind == 1 {
                        MediaKind::Video
                    } else {
                        MediaKind::Audio
                    };
                    let at_ms = u32::from(random()) << 24;
                    world.encode(index, kind, at_ms, &Bytes::from(bytes));
                }
            }
            world.run_ms(20);
        }
        // The shard goes on with others.
        let mut show = Show::begin(&mut world, "second", 0, false);
        show.run(&mut world, 1);
        assert!(!world.encoders[1].closed, "seed {seed}");
    }
}
