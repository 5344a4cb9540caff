//! Proves: a viewer begins at the newest keyframe and is live then, is sent no burst, changes rings at a keyframe with its
//! time going on, and is sent nothing of a ring that its network does not carry.

use std::{rc::Rc, time::Duration};

use bytes::Bytes;
use shardcast_sim::picture::{PPS, SPS_720P};

use shardcast_link::RenditionSpec;

use super::*;
use crate::{
    broadcast::{renditions::Rendition, ring::MediaFacts},
    codec::h264::ParameterSets,
    ids::RenditionId,
    limits::VIEWER_BURST_BYTES,
};

const FRAME_US: i64 = 33_333;
const VIDEO_BPS: u64 = 2_500_000;

fn terms(wanted: RingId) -> Terms {
    Terms {
        wanted: Some(wanted),
        takes_source: true,
        is_held: false,
        carried_bps: None,
    }
}

fn unit(n: i64, key: bool, bytes: usize) -> Unit {
    let sets = ParameterSets::new(&Bytes::from_static(SPS_720P), &[Bytes::from_static(PPS)]);
    let mut payload = u32::try_from(bytes).unwrap().to_be_bytes().to_vec();
    payload.resize(bytes + 4, if key { 0x65 } else { 0x41 });
    Unit {
        kind: Kind::Video {
            key,
            config: Rc::new(sets.unwrap()),
        },
        pts_us: n * FRAME_US,
        dts_us: n * FRAME_US,
        payload: payload.into(),
    }
}

fn push(ring: &mut Ring, n: i64) {
    let key = n % 60 == 0;
    ring.push(unit(n, key, if key { 60_000 } else { 9_000 }), None);
}

fn source(ring: &Ring) -> Rings<'_> {
    Rings {
        source: ring,
        source_facts: MediaFacts {
            video_bps: VIDEO_BPS,
            ..MediaFacts::default()
        },
        renditions: &[],
    }
}

fn drain(feed: &mut VideoFeed, now: &mut Instant, ring: &Ring) -> Vec<(Arc<[u8]>, i64, bool)> {
    drain_of(feed, now, source(ring), RingId::Source)
}

/// What is sent until nothing is due, with the time that passes by the pacer.
fn drain_of(
    feed: &mut VideoFeed,
    now: &mut Instant,
    rings: Rings<'_>,
    wanted: RingId,
) -> Vec<(Arc<[u8]>, i64, bool)> {
    let mut sent = Vec::new();
    loop {
        match feed.next(*now, rings, terms(wanted)) {
            Next::Packet(it) => sent.push((it.payload, it.at_us, it.marker)),
            Next::At(at) => *now = at,
            Next::Nothing => return sent,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_viewer_begins_at_the_newest_keyframe_and_ends_at_the_live_edge_in_time() {
    let (mut ring, mut now) = (Ring::default(), Instant::now());
    (0..100).for_each(|n| push(&mut ring, n));
    let mut feed = VideoFeed::new(now);
    let sent = drain(&mut feed, &mut now, &ring);
    // STAP-A first: parameter sets.
    assert_eq!(sent[0].0[0] & 0x1f, 24);
    let times: Vec<i64> = sent.iter().filter(|it| it.2).map(|it| it.1).collect();
    assert_eq!(times.len(), 40);
    assert_eq!(*times.last().unwrap(), 99 * FRAME_US);
    assert!(
        times
            .windows(2)
            .all(|pair| pair[1] - pair[0] == CATCH_UP_US)
    );
    push(&mut ring, 100);
    let sent = drain(&mut feed, &mut now, &ring);
    assert!(sent.iter().all(|(_, at_us, _)| *at_us == 100 * FRAME_US));
}

#[test]
fn a_group_is_not_sent_in_one_burst() {
    let (mut ring, mut now) = (Ring::default(), Instant::now());
    (0..60).for_each(|n| push(&mut ring, n));
    let (mut feed, start) = (VideoFeed::new(now), now);
    let mut at_once = 0;
    while let Next::Packet(packet) = feed.next(now, source(&ring), terms(RingId::Source)) {
        at_once += packet.payload.len();
    }
    let burst = VIEWER_BURST_BYTES as usize;
    assert!((burst..burst + 2_000).contains(&at_once), "{at_once}");
    drain(&mut feed, &mut now, &ring);
    let took = now - start;
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_keyframe_of_a_viewer_that_is_live_is_out_within_milliseconds() {
    let (mut ring, mut now) = (Ring::default(), Instant::now());
    (0..60).for_each(|n| push(&mut ring, n));
    let mut feed = VideoFeed::new(now);
    drain(&mut feed, &mut now, &ring);
    now += Duration::from_millis(33);
    ring.push(unit(60, true, 100_000), None);
    let came = now;
    assert!(drain(&mut feed, &mut now, &ring).len() > 80);
    let took = now - came;
    assert!(took <= Duration::from_millis(10), "{took:?}");
}

#[test]
fn a_viewer_that_begins_anew_goes_on_in_time() {
    let (mut ring, mut now) = (Ring::default(), Instant::now());
    (0..90).for_each(|n| push(&mut ring, n));
    let mut feed = VideoFeed::new(now);
    let before = drain(&mut feed, &mut now, &ring).pop().unwrap().1;
    feed.restart();
    let sent = drain(&mut feed, &mut now, &ring);
    assert_eq!(sent[0].0[0] & 0x1f, 24);
    assert!(sent.iter().all(|(_, at_us, _)| *at_us > before));
}

#[test]
fn a_picture_that_is_begun_is_sent_to_its_end_before_the_viewer_begins_anew() {
    let (mut ring, mut now) = (Ring::default(), Instant::now());
    ring.push(unit(0, true, 200_000), None);
    let mut feed = VideoFeed::new(now);
    while let Next::Packet(packet) = feed.next(now, source(&ring), terms(RingId::Source)) {
        assert!(!packet.marker, "the pace holds it up");
    }
    feed.restart();
    ring.push(unit(1, true, 3_000), None);
    let sent = drain(&mut feed, &mut now, &ring);
    let end = sent.iter().position(|it| it.2).unwrap();
    assert!(sent[..end].iter().all(|it| it.1 == sent[end].1));
    assert!(sent[..=end].iter().map(|it| it.0.len()).sum::<usize>() > 100_000);
}

#[test]
fn nothing_is_sent_before_a_keyframe_or_of_what_browsers_do_not_take() {
    let (mut ring, now) = (Ring::default(), Instant::now());
    let mut feed = VideoFeed::new(now);
    ring.push(unit(1, false, 100), None);
    let mut next = |ring: &Ring, takes_source| {
        let terms = Terms {
            takes_source,
            ..terms(RingId::Source)
        };
        feed.next(now, source(ring), terms)
    };
    assert!(matches!(next(&ring, true), Next::KeyframeWanted));
    ring.push(unit(2, true, 3_000), None);
    assert!(matches!(next(&ring, false), Next::Nothing));
    assert!(matches!(next(&ring, true), Next::Packet(_)));
    // It becomes so in the middle of a picture, which is sent to its end.
    let rest = std::iter::from_fn(|| match next(&ring, false) {
        Next::Packet(packet) => Some(packet.marker),
        _ => None,
    });
    assert_eq!(rest.last(), Some(true));
}

#[test]
fn a_viewer_goes_over_at_a_keyframe_that_has_just_come_and_time_goes_on() {
    let (mut ring, mut now) = (Ring::default(), Instant::now());
    (0..90).for_each(|n| push(&mut ring, n));
    let mut feed = VideoFeed::new(now);
    drain(&mut feed, &mut now, &ring);
    let id = RenditionId(1);
    let mut rung = [Rendition::new(id, RenditionSpec::of_height(360), 0)];
    let to = RingId::Rendition(id);
    let mut last_us = 89 * FRAME_US;
    let mut keyframes = Vec::new();
    // The rung is three pictures behind, and had a keyframe some time ago.
    for n in 90..180 {
        push(&mut ring, n);
        let behind = n - 3;
        rung[0]
            .ring
            .push(unit(behind, behind % 60 == 0 || n == 90, 900), None);
        if n < 120 {
            continue;
        }
        let wanted = if n < 170 { to } else { RingId::Source };
        let rings = Rings {
            renditions: &rung,
            ..source(&ring)
        };
        for (payload, at_us, _) in drain_of(&mut feed, &mut now, rings, wanted) {
            assert!(
                at_us >= last_us,
                "picture {n}: {at_us} us behind {last_us} us"
            );
            assert!(at_us - last_us < 31 * FRAME_US);
            last_us = at_us;
            if payload[0] & 0x1f == 24 {
                keyframes.push((n, feed.ring()));
            }
        }
    }
    assert_eq!(keyframes, [(120, RingId::Source), (123, to)]);
    push(&mut ring, 180);
    let rings = Rings {
        renditions: &rung,
        ..source(&ring)
    };
    let sent = drain_of(&mut feed, &mut now, rings, RingId::Source);
    assert_eq!(feed.ring(), RingId::Source);
    assert_eq!(sent[0].0[0] & 0x1f, 24);
    assert!(sent.iter().all(|(_, at_us, _)| *at_us == 180 * FRAME_US));
    // The rung is gone.
    feed.restart();
    drain(&mut feed, &mut now, &ring);
    assert_eq!(feed.ring(), RingId::Source);
}

#[test]
fn a_viewer_whose_network_is_full_is_sent_nothing_before_the_rung_comes() {
    let (mut ring, mut now) = (Ring::default(), Instant::now());
    (0..90).for_each(|n| push(&mut ring, n));
    let mut feed = VideoFeed::new(now);
    drain(&mut feed, &mut now, &ring);
    push(&mut ring, 90);
    let held = |wanted| Terms {
        wanted,
        is_held: true,
        ..terms(RingId::Source)
    };
    // It is not made yet.
    assert!(matches!(
        feed.next(now, source(&ring), held(None)),
        Next::Nothing
    ));
    let id = RenditionId(1);
    let mut rung = [Rendition::new(id, RenditionSpec::of_height(360), 0)];
    let to = held(Some(RingId::Rendition(id)));
    for n in 90..93 {
        let rings = Rings {
            renditions: &rung,
            ..source(&ring)
        };
        let next = feed.next(now, rings, to);
        assert_eq!(matches!(next, Next::Nothing), n == 90, "{n}: {next:?}");
        rung[0].ring.push(unit(n, n == 90, 900), None);
    }
    assert_eq!(feed.ring(), RingId::Rendition(id));
    // A rung that cannot be made leaves the viewer where it was.
    let mut stays = VideoFeed::new(now);
    drain(&mut stays, &mut now, &ring);
    push(&mut ring, 91);
    let next = stays.next(now, source(&ring), held(Some(RingId::Source)));
    assert!(!matches!(next, Next::Nothing), "{next:?}");
}

#[test]
fn a_viewer_that_falls_behind_goes_on_at_the_newest_keyframe() {
    let (mut ring, mut now) = (Ring::default(), Instant::now());
    (0..61).for_each(|n| push(&mut ring, n));
    let mut feed = VideoFeed::new(now);
    drain(&mut feed, &mut now, &ring);
    let before = feed.at_us;
    (61..125).for_each(|n| push(&mut ring, n));
    let sent = drain(&mut feed, &mut now, &ring);
    assert_eq!(sent[0].0[0] & 0x1f, 24);
    assert!(sent.iter().all(|(_, at_us, _)| *at_us > before));
    assert_eq!(sent.iter().filter(|it| it.2).count(), 5);
}
