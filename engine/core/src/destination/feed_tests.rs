//! What a connection is sent of a ring: from which frame on, and what is said about it.

use std::{
    collections::VecDeque,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use shardcast_link::Fault;

use super::{
    feed::{Feed, Wire, copied_bytes},
    report::Totals,
    switch::{Step, Switch},
};
use crate::{
    broadcast::renditions::Rings,
    broadcast::ring::{Kind, Ring, Unit},
    broadcast::ring::{MediaFacts, RingId},
    codec::{AudioCodec, aac::AacConfig, h264::ParameterSets},
    ids::ConnId,
    limits::DESTINATION_OUTSTANDING_BYTES_MAX,
    rtmp::{
        Platform, PublishClient, RtmpUrl,
        body::{MessageHeader, gather_behind},
    },
};

const SPS: &[u8] = &[
    0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x00, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10,
    0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x24, 0x80,
];
const PPS: &[u8] = &[0x68, 0xcb, 0x83, 0xcb, 0x20];

fn unit(kind: Kind, pts_ms: i64) -> Unit {
    Unit {
        kind,
        pts_us: pts_ms * 1_000,
        dts_us: pts_ms * 1_000,
        payload: Bytes::from_static(&[0, 0, 0, 1, 0x41]),
    }
}

fn after(start: Instant, ms: i64) -> Instant {
    start + Duration::from_millis(ms.unsigned_abs())
}

fn alone(source: &Ring) -> Rings<'_> {
    Rings {
        source,
        source_facts: MediaFacts::default(),
        renditions: &[],
    }
}

/// A destination that is fed from a ring of its own.
struct Fed {
    client: PublishClient,
    feed: Feed,
    ring: Ring,
    totals: Totals,
}

impl Fed {
    fn new() -> Self {
        Self::of(Platform::generic(), "rtmp://a.example/app/key")
    }

    fn of(platform: &'static Platform, url: &str) -> Self {
        let url = RtmpUrl::parse(url).unwrap();
        Self {
            client: PublishClient::new(&url, platform.publish_config()),
            feed: Feed::new(platform, AudioCodec::Aac),
            ring: Ring::default(),
            totals: Totals::default(),
        }
    }

    fn run(&mut self, now: Instant) {
        let wire = &mut Wire {
            conn: ConnId::numbered(1),
            writer: self.client.writer(),
            totals: &mut self.totals,
            outputs: &mut VecDeque::new(),
            copied_bytes: &mut 0,
        };
        let rings = alone(&self.ring);
        self.feed.run(now, rings, Some(RingId::Source), wire);
    }
}

/// Says what of the units of a ring was sent so far: frames of audio and of video.
fn sender() -> impl FnMut(Unit) -> (u64, u64) {
    let (now, mut fed) = (Instant::now(), Fed::new());
    move |unit| {
        fed.ring.push(unit, None);
        fed.run(now);
        (fed.totals.audio_frames, fed.totals.video_frames)
    }
}

fn picture() -> impl Fn(bool) -> Kind {
    let sets = ParameterSets::new(&Bytes::from_static(SPS), &[Bytes::from_static(PPS)]);
    let config = Rc::new(sets.unwrap());
    move |key| Kind::Video {
        key,
        config: config.clone(),
    }
}

#[test]
fn what_a_slow_destination_leaves_out_is_no_distance_of_the_publishers_keyframes() {
    let start = Instant::now();
    let sets = ParameterSets::new(&Bytes::from_static(SPS), &[Bytes::from_static(PPS)]);
    let config = Rc::new(sets.unwrap());
    let url = "rtmp://a.rtmp.youtube.com/app/key";
    let platform = Platform::of(RtmpUrl::parse(url).unwrap().host());
    let most_ms = i64::from(platform.keyframe_interval_ms_max.unwrap());
    let mut fed = Fed::of(platform, url);
    let mut keyframe = |pts_ms: i64, slow: bool| {
        let (config, now) = (config.clone(), after(start, pts_ms));
        let kind = Kind::Video { key: true, config };
        fed.ring.push(unit(kind, pts_ms), None);
        // The kernel takes nothing more, or all.
        let liveness = &mut fed.feed.liveness;
        match slow {
            true => liveness.written(now, DESTINATION_OUTSTANDING_BYTES_MAX),
            false => liveness.accepted(now, liveness.outstanding()),
        }
        fed.run(now);
        fed.feed.take_complaint()
    };
    // Keyframes a second apart, of which it cannot take those in the middle.
    assert_eq!(keyframe(0, false), None);
    for n in 1..=most_ms / 1_000 {
        assert_eq!(keyframe(n * 1_000, true), None);
    }
    let complaint = keyframe(most_ms + 1_000, false).unwrap();
    assert!(complaint.1.message.contains("slower"), "{complaint:?}");
    assert_eq!(keyframe(most_ms + 2_000, false), None);
    // The publisher's own are complained of as ever.
    let complaint = keyframe(2 * most_ms + 2_001, false).unwrap();
    assert_eq!(complaint.1.fault, Fault::Publisher);
}

const AUDIO: Kind = Kind::Audio {
    config: AacConfig::OURS,
};

#[test]
fn after_a_keyframe_from_before_the_first_sound_pictures_wait_for_the_next_keyframe() {
    let (mut frames, picture) = (sender(), picture());
    assert_eq!(frames(unit(AUDIO, 3_000)), (1, 0));
    assert_eq!(frames(unit(picture(true), 2_900)), (1, 0));
    assert_eq!(frames(unit(picture(false), 3_100)), (1, 0));
    assert_eq!(frames(unit(picture(true), 3_200)), (1, 1));
    assert_eq!(frames(unit(picture(false), 3_300)), (1, 2));
}

#[test]
fn pictures_that_come_behind_the_first_sound_begin_with_a_keyframe() {
    let (mut frames, picture) = (sender(), picture());
    assert_eq!(frames(unit(AUDIO, 3_000)), (1, 0));
    assert_eq!(frames(unit(picture(false), 3_100)), (1, 0));
    assert_eq!(frames(unit(picture(true), 3_200)), (1, 1));
}

#[test]
fn a_ring_with_b_frames_is_begun_where_its_keyframe_is_decoded_and_not_where_it_is_shown() {
    let (now, picture) = (Instant::now(), picture());
    let mut source = Ring::default();
    let keyframe = Unit {
        dts_us: 933_000,
        ..unit(picture(true), 1_000)
    };
    source.push(keyframe, None);
    let step = |sent_ms: i64, next_ms| {
        let next = unit(picture(false), next_ms);
        let mut switch = Switch::new(RingId::Source);
        switch.step(now, alone(&source), Some(sent_ms * 1_000), Some(&next))
    };
    // What was sent is decoded behind this keyframe: another one is waited for.
    assert_eq!(step(950, 980), Step::GoOn { until_us: None });
    // What comes next would be: the keyframe is taken before it.
    let keyframe = source.start();
    let to = RingId::Source;
    assert_eq!(step(900, 930), Step::Take { to, keyframe });
    // What comes next is shown before the keyframe is decoded: it is sent first.
    assert!(matches!(step(860, 900), Step::GoOn { until_us: Some(_) }));
}

/// A destination that stops taking data once it has had the first second, while the publisher sends 30
/// frames a second and a keyframe each `gop`; it takes data again `away_ms` later. Gives the frames that
/// it was sent before and after, those that were left out, and those that came meanwhile.
fn after_a_pause(away_ms: i64, gop: i64) -> (u64, u64, u64, u64) {
    let (start, picture) = (Instant::now(), picture());
    let mut fed = Fed::new();
    let mut blocked = 0;
    let frames = 30 * (1_000 + away_ms) / 1_000;
    for n in 0..=frames {
        let now = after(start, n * 1_000 / 30);
        fed.ring
            .push(unit(picture(n % gop == 0), n * 1_000 / 30), None);
        if n == 30 {
            // The kernel takes nothing more.
            blocked = DESTINATION_OUTSTANDING_BYTES_MAX;
            fed.feed.liveness.written(now, blocked);
        } else if n == frames {
            fed.feed.liveness.accepted(now, blocked);
        }
        fed.run(now);
    }
    let total = u64::try_from(frames).unwrap() + 1;
    (
        30,
        fed.totals.video_frames - 30,
        fed.totals.frames_dropped,
        total,
    )
}

#[test]
fn a_destination_within_its_lag_finds_all_that_it_has_not_taken() {
    for gop in [15, 60, 150] {
        for away_ms in [500, 1_900, 2_900] {
            let (before, after, dropped, total) = after_a_pause(away_ms, gop);
            assert_eq!(dropped, 0, "{away_ms} ms, a keyframe in {gop} frames");
            assert_eq!(before + after, total);
        }
    }
}

#[test]
fn a_destination_beyond_its_lag_finds_the_newest_keyframe_or_goes_on_where_it_is() {
    for away_ms in [3_500, 5_000, 60_000] {
        let (before, after, dropped, total) = after_a_pause(away_ms, 60);
        assert_eq!(before + after + dropped, total, "{away_ms} ms");
        assert!(dropped > 0 && after <= 91, "{away_ms} ms: {after} frames");
    }
    // The newest keyframe, of 4.7 seconds ago, is one that it was sent.
    let (before, after, dropped, total) = after_a_pause(3_700, 150);
    assert_eq!((before + after, dropped), (total, 0));
}

#[test]
fn payloads_that_are_copied_are_counted() {
    let payload = Bytes::from(vec![7; 10_000]);
    let header = MessageHeader {
        csid: 6,
        timestamp_ms: 0,
        type_id: 9,
        stream_id: 1,
    };
    for (chunk_bytes, copied) in [(4_096, 0), (128, 0), (4, 10_000)] {
        let message = gather_behind(header, &[0x27, 1, 0, 0, 0], &payload, chunk_bytes);
        assert_eq!(copied_bytes(&message, &payload), copied, "{chunk_bytes}");
    }
    assert_eq!(copied_bytes(&[], &Bytes::new()), 0);
}

/// A publisher's 4.8 Mbit/s, of which so much comes at once behind a pause of as much, and the rest in its time. The connection takes
/// so many bytes a millisecond. Gives how many pictures were left out, and whether it was ever told that it is slow.
fn after_a_burst(burst_ms: i64, bytes_a_ms: usize) -> (u64, bool) {
    let (start, picture) = (Instant::now(), picture());
    let mut fed = Fed::new();
    let payload = Bytes::from(vec![0; 20_000]);
    let mut blamed = false;
    let mut frames = (0..420).peekable();
    for ms in 0..14_000 {
        let now = after(start, ms);
        let well_ms = 2_000 + burst_ms;
        let held_back = |at_ms: i64| (2_000..well_ms).contains(&at_ms);
        let came = |n: &i64| match n * 1_000 / 30 {
            at_ms if held_back(at_ms) => ms >= well_ms,
            at_ms => ms >= at_ms,
        };
        let mut is_new = false;
        while let Some(n) = frames.next_if(came) {
            let unit = unit(picture(n % 30 == 0), n * 1_000 / 30);
            fed.ring.push(
                Unit {
                    payload: payload.clone(),
                    ..unit
                },
                None,
            );
            is_new = true;
        }
        let taken = fed.feed.liveness.outstanding().min(bytes_a_ms);
        fed.feed.liveness.accepted(now, taken);
        if is_new || taken > 0 {
            fed.run(now);
        }
        blamed |= fed.feed.take_complaint().is_some() || fed.feed.is_slow();
    }
    (fed.totals.frames_dropped, blamed)
}

#[test]
fn who_takes_what_came_at_once_a_little_faster_than_it_is_shown_is_not_slow() {
    for bytes_a_ms in [800, 1_200, 10_000] {
        let left_out = after_a_burst(3_300, bytes_a_ms);
        assert_eq!(left_out, (0, false), "{bytes_a_ms} bytes");
        // The ring does not keep as much as this.
        let (_, blamed) = after_a_burst(5_000, bytes_a_ms);
        assert!(!blamed, "{bytes_a_ms} bytes");
    }
    let (dropped, blamed) = after_a_burst(3_300, 300);
    assert!(dropped > 0 && blamed, "half of what the stream needs");
}
