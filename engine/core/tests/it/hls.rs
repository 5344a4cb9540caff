//! A broadcast is packaged for HLS while control wants it: soon after that, from a keyframe with sound, without a
//! hole while the publisher is away or replaced, with a rendition where its codec is another, and to a proper end.
//! The rungs of its ladder are packaged with it while that is wanted, all alike. Destinations notice nothing.

use shardcast_core::io::{Fragment, VideoResult};
use shardcast_link::{
    Command, RenditionSpec, WantedBroadcast, WantedDestination, WantedHls,
    fragment::{PART_MS_MAX, RungName},
};

use str0m::format::Codec;

use crate::sim::{
    FaultMode, World, broadcast,
    client::{Client, Sends},
};

fn wanted(hls: bool) -> WantedBroadcast {
    WantedBroadcast {
        hls: hls.then_some(WantedHls {
            segment_ms: 2_000,
            ladder: false,
        }),
        hold_ms: 5_000,
        ..WantedBroadcast::new(broadcast())
    }
}

fn want(world: &mut World, broadcast: WantedBroadcast) {
    world.command(Command::Want { broadcast });
}

fn publish(world: &mut World, name: &str, port: u16) {
    let client = Client::new(world.now, port, Sends::default());
    world.publish(name, client);
}

/// What holds of all parts: they go on from one another, and are no longer than playlists say.
fn assert_orderly(parts: &[Fragment]) {
    let media = || parts.iter().filter(|part| !part.head.ends);
    for (part, next) in media().zip(media().skip(1)) {
        let (head, next) = (&part.head, &next.head);
        assert!(
            head.duration_us <= u64::from(PART_MS_MAX) * 1_000,
            "{head:?}"
        );
        let is_next = if head.last {
            next.segment > head.segment && next.part == 0
        } else {
            (next.segment, next.part) == (head.segment, head.part + 1)
        };
        assert!(is_next, "{next:?} behind {head:?}");
    }
    let begins = media().filter(|part| part.head.part == 0);
    assert!(
        begins
            .clone()
            .all(|part| part.head.independent && part.head.begins.is_some())
    );
}

fn seconds(parts: &[Fragment]) -> f64 {
    let us: u64 = parts.iter().map(|part| part.head.duration_us).sum();
    us as f64 / 1_000_000.0
}

fn discontinuities(parts: &[Fragment]) -> usize {
    let begins = parts.iter().filter_map(|part| part.head.begins.as_ref());
    begins.filter(|begins| begins.discontinuity).count()
}

#[test]
fn it_is_packaged_while_it_is_wanted_and_no_longer() {
    let mut world = World::new();
    want(&mut world, wanted(false));
    publish(&mut world, "first", 4000);
    world.run_ms(5_000);
    assert!(world.fragments.is_empty());
    assert!(!world.latest().broadcasts[0].hls);
    want(&mut world, wanted(true));
    // A keyframe is asked for: the first segment does not wait for the next one that is due.
    world.run_ms(900);
    assert!(!world.fragments.is_empty(), "nothing after 0.9 s");
    world.run_ms(9_100);
    assert!(world.latest().broadcasts[0].hls);
    assert_orderly(&world.fragments);
    let length_s = seconds(&world.fragments);
    assert!((9.0..11.1).contains(&length_s), "{length_s} s");
    assert_eq!(discontinuities(&world.fragments), 0);
    let begins = world.fragments[0].head.begins.clone().unwrap();
    assert!(begins.codecs.starts_with("avc1."), "{}", begins.codecs);
    assert_eq!((begins.width, begins.height), (1_280, 720));
    want(&mut world, wanted(false));
    assert!(world.fragments.last().unwrap().head.ends);
    let count = world.fragments.len();
    world.run_ms(3_000);
    assert_eq!(world.fragments.len(), count);
    // Wanted again, it goes on with larger numbers.
    want(&mut world, wanted(true));
    world.run_ms(3_000);
    assert_orderly(&world.fragments);
}

#[test]
fn filler_and_the_next_publisher_are_in_it_and_the_end_of_the_show_is_its_end() {
    let mut world = World::new();
    want(&mut world, wanted(true));
    publish(&mut world, "first", 4000);
    world.run_ms(6_000);
    world.clients[0].dead = true;
    world.run_ms(3_000);
    publish(&mut world, "second", 4001);
    world.run_ms(6_000);
    assert_orderly(&world.fragments);
    let length_s = seconds(&world.fragments);
    assert!(length_s > 13.5, "{length_s} s of 15");
    assert!(discontinuities(&world.fragments) <= 1);
    assert!(!world.fragments.iter().any(|part| part.head.ends));
    world.command(Command::Forget {
        broadcast: broadcast(),
    });
    let last = &world.fragments.last().unwrap().head;
    assert!(last.ends && last.broadcast == broadcast());
}

#[test]
fn a_destination_gets_the_same_with_hls_and_without() {
    let run = |hls: bool| {
        let mut world = World::new();
        world.add_hosts(&[("one", FaultMode::Well)]);
        let mut all = wanted(hls);
        let id = shardcast_link::DestinationId("one".into());
        let url = "rtmp://one/app/key-of-one".to_owned();
        all.destinations.push(WantedDestination::new(id, url));
        want(&mut world, all);
        publish(&mut world, "first", 4000);
        world.run_ms(8_000);
        let server = world.server("one", 0);
        server.assert_well_formed();
        (server.pictures().len(), server.audio().len())
    };
    let ((pictures, audio), (with_hls, audio_with_hls)) = (run(false), run(true));
    assert!(
        pictures.abs_diff(with_hls) <= 2,
        "{pictures} and {with_hls}"
    );
    assert!(
        audio.abs_diff(audio_with_hls) <= 2,
        "{audio} and {audio_with_hls}"
    );
}

#[test]
fn video_that_hls_does_not_carry_is_re_encoded_for_it() {
    let mut world = World::with_codecs(1_000);
    let mut all = wanted(true);
    all.rendition_default = RenditionSpec::of_height(360);
    want(&mut world, all);
    let sends = Sends {
        codec: Codec::Vp8,
        ..Sends::default()
    };
    let client = Client::new(world.now, 4000, sends);
    world.publish("first", client);
    world.run_ms(8_000);
    assert_orderly(&world.fragments);
    let length_s = seconds(&world.fragments);
    assert!(length_s > 4.0, "{length_s} s");
    let status = world.latest();
    assert_eq!(status.broadcasts[0].renditions.len(), 1);
    let mut none = wanted(false);
    none.rendition_default = RenditionSpec::of_height(360);
    want(&mut world, none);
    assert_eq!(world.latest().broadcasts[0].renditions.len(), 0);
}

const HEIGHTS: [u32; 3] = [1_080, 360, 180];

/// A ladder of which the first rung is larger than the publisher's video.
fn wanted_with_ladder(ladder: bool) -> WantedBroadcast {
    let segment_ms = 2_000;
    WantedBroadcast {
        ladder: HEIGHTS.map(RenditionSpec::of_height).to_vec(),
        hls: Some(WantedHls { segment_ms, ladder }),
        ..wanted(true)
    }
}

fn name(height: u32) -> RungName {
    RungName::from(&RenditionSpec::of_height(height))
}

/// Parts of this rung, from the `from`th of all on.
fn of_rung(world: &World, rung: Option<RungName>, from: usize) -> Vec<Fragment> {
    let parts = world.fragments[from..].iter();
    parts
        .filter(|part| part.head.rung == rung)
        .cloned()
        .collect()
}

/// Numbers and times of segments.
fn segments(parts: &[Fragment]) -> Vec<(u64, u64)> {
    let begins = parts.iter().filter_map(|part| {
        let begins = part.head.begins.as_ref()?;
        Some((part.head.segment, begins.at_unix_ms))
    });
    begins.collect()
}

/// The rungs that control was told last.
fn told(world: &World) -> Option<Vec<RungName>> {
    let mut begins = world.fragments.iter().rev();
    let source = begins.find(|part| part.head.rung.is_none() && part.head.begins.is_some());
    source.unwrap().head.begins.clone().unwrap().rungs
}

#[test]
fn rungs_have_the_same_segments_while_they_are_wanted_and_cost_nothing_else() {
    let mut world = World::with_codecs(4_000);
    want(&mut world, wanted_with_ladder(false));
    publish(&mut world, "first", 4000);
    world.run_ms(5_000);
    assert!(world.latest().broadcasts[0].renditions.is_empty());
    assert_eq!(told(&world), None);
    let before = world.fragments.len();
    want(&mut world, wanted_with_ladder(true));
    world.run_ms(12_000);
    assert_eq!(told(&world), Some(vec![name(180), name(360)]));
    // What was packaged goes on as if nothing had happened.
    assert_orderly(&of_rung(&world, None, 0));
    assert_eq!(discontinuities(&of_rung(&world, None, 0)), 0);
    assert!(of_rung(&world, Some(name(1_080)), 0).is_empty());
    let rungs = [180, 360].map(|height| of_rung(&world, Some(name(height)), before));
    for rung in &rungs {
        assert_orderly(rung);
        assert!(seconds(rung) > 9.0, "{} s", seconds(rung));
        assert_eq!(discontinuities(rung), 0);
        let begins = rung[0].head.begins.as_ref().unwrap();
        assert_eq!((begins.frames_per_second, begins.wanted_ms), (30, 2_000));
    }
    let [small, large] = [0, 1].map(|n| segments(&rungs[n]));
    assert_eq!(small, large);
    let lengths: Vec<u64> = small.windows(2).map(|it| it[1].1 - it[0].1).collect();
    assert!(lengths.len() > 3, "{lengths:?}");
    assert!(lengths[1..].iter().all(|ms| *ms == 2_000), "{lengths:?}");
    // Parts begin at the same times too.
    let parts = |n: usize| {
        rungs[n]
            .iter()
            .map(|part| (part.head.segment, part.head.part))
    };
    let beyond = rungs[0].len().abs_diff(rungs[1].len());
    assert!(parts(0).zip(parts(1)).all(|(one, other)| one == other) && beyond < 2);

    want(&mut world, wanted_with_ladder(false));
    let after = world.fragments.len();
    world.run_ms(4_000);
    assert!(world.latest().broadcasts[0].renditions.is_empty());
    assert!(of_rung(&world, Some(name(360)), after).is_empty());
    assert_eq!(told(&world), None);
    // Wanted again, no number is used again, and they are alike again.
    want(&mut world, wanted_with_ladder(true));
    world.run_ms(8_000);
    let again = [180, 360].map(|height| segments(&of_rung(&world, Some(name(height)), after)));
    assert_eq!(again[0], again[1]);
    assert!(again[0].len() > 2 && again[0][0].0 > small.last().unwrap().0);
    world.command(Command::Forget {
        broadcast: broadcast(),
    });
    assert!(world.fragments.last().unwrap().head.ends);
}

#[test]
fn rungs_go_on_while_the_publisher_is_away_and_behind_the_next_one() {
    let mut world = World::with_codecs(4_000);
    want(&mut world, wanted_with_ladder(true));
    publish(&mut world, "first", 4000);
    world.run_ms(7_000);
    world.clients[0].dead = true;
    world.run_ms(3_000);
    publish(&mut world, "second", 4001);
    world.run_ms(7_000);
    let rungs = [180, 360].map(|height| of_rung(&world, Some(name(height)), 0));
    for rung in &rungs {
        assert_orderly(rung);
        assert!(seconds(rung) > 13.0, "{} s of 17", seconds(rung));
        assert_eq!(discontinuities(rung), 0);
    }
    assert_eq!(segments(&rungs[0]), segments(&rungs[1]));
}

#[test]
fn what_there_is_no_capacity_for_is_not_promised_and_the_rest_is_packaged() {
    // Decoding 720p takes some 70, 180 lines some 20, 360 lines some 60 of these.
    let mut world = World::with_codecs(150);
    want(&mut world, wanted_with_ladder(true));
    publish(&mut world, "first", 4000);
    world.run_ms(8_000);
    let told = told(&world).unwrap();
    assert_eq!(told, [name(180)], "{told:?}");
    assert!(of_rung(&world, Some(name(360)), 0).is_empty());
    assert_orderly(&of_rung(&world, Some(name(180)), 0));
    assert_orderly(&of_rung(&world, None, 0));
    let problem = world.latest().broadcasts[0].viewers_problem.clone();
    assert!(problem.unwrap().contains("no room to re-encode"));
}

/// What HLS is where a publisher's video is of another codec, and what would be made in its place has no room.
fn rungs_alone(ladder: bool) -> WantedBroadcast {
    WantedBroadcast {
        rendition_default: RenditionSpec::of_height(1_080),
        ladder: vec![RenditionSpec::of_height(180)],
        ..wanted_with_ladder(ladder)
    }
}

fn publish_vp8(world: &mut World) {
    let sends = Sends {
        codec: Codec::Vp8,
        ..Sends::default()
    };
    let client = Client::new(world.now, 4000, sends);
    world.publish("first", client);
}

#[test]
fn control_is_told_of_the_end_where_rungs_alone_were_packaged_and_the_ladder_ended_before() {
    let mut world = World::with_codecs(150);
    want(&mut world, rungs_alone(true));
    publish_vp8(&mut world);
    // Later the publisher's audio alone would be packaged too.
    world.run_ms(4_000);
    assert!(of_rung(&world, None, 0).is_empty());
    assert!(!of_rung(&world, Some(name(180)), 0).is_empty());
    want(&mut world, rungs_alone(false));
    world.run_ms(200);
    assert!(!world.fragments.iter().any(|part| part.head.ends));
    want(&mut world, wanted(false));
    assert!(world.fragments.last().unwrap().head.ends);
    // Once.
    let count = world.fragments.len();
    want(&mut world, wanted(false));
    assert_eq!(world.fragments.len(), count);
}

#[test]
fn a_rung_that_failed_before_its_first_part_begins_without_a_discontinuity() {
    let mut failed_in_time = 0;
    for after_ms in (50..1_500).step_by(50) {
        let mut world = World::with_codecs(4_000);
        want(&mut world, wanted_with_ladder(false));
        publish(&mut world, "first", 4000);
        world.run_ms(5_000);
        want(&mut world, wanted_with_ladder(true));
        world.run_ms(after_ms);
        let Some(transcoder) = world.video.iter_mut().find(|it| it.open) else {
            continue;
        };
        let rung = RenditionSpec::of_height(360);
        let mut made = transcoder.ids().into_iter().zip(transcoder.renditions());
        let (rendition, _) = made.find(|(_, spec)| *spec == rung).unwrap();
        transcoder.fail(rendition);
        let (transcoder, reason) = (transcoder.id, "the encoder failed".to_owned());
        if !of_rung(&world, Some(name(360)), 0).is_empty() {
            break;
        }
        world.transcoder_reports(transcoder, VideoResult::Failed { rendition, reason });
        world.run_ms(14_000);
        let parts = of_rung(&world, Some(name(360)), 0);
        assert!(!parts.is_empty(), "it is not made again: {after_ms} ms");
        assert_eq!(discontinuities(&parts), 0, "{after_ms} ms");
        failed_in_time += 1;
    }
    assert!(failed_in_time > 3);
}
