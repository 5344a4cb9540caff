//! Proves: a server that says in its answer to `connect` that it takes Opus is sent the publisher's own
//! packets, without a gap, and nothing is coded for it. All others are sent AAC, each for the life of a
//! connection.

use std::collections::HashSet;

use shardcast_core::{opus::duration_samples, rtmp::message::type_id};

use crate::sim::{
    FaultMode, World,
    client::{Client, Sends},
    recording::Recording,
};

/// A show at these destinations, of which those named `opus…` take Opus.
fn live(hosts: &[(&str, FaultMode)]) -> World {
    let mut world = World::new();
    let takers = hosts.iter().filter(|(name, _)| name.starts_with("opus"));
    world.opus_hosts = takers.map(|(name, _)| (*name).to_owned()).collect();
    world.want(hosts);
    let client = Client::new(world.now, 4_000, Sends::default());
    world.publish("first", client);
    world
}

/// Numbers of the publisher's packets among those of a server; fillers have none.
fn numbers(server: &Recording) -> Vec<u32> {
    let opus = server.opus().into_iter();
    let sent = opus.filter_map(|(_, packet)| (packet.len() == 6).then(|| packet[2..].to_vec()));
    sent.map(|number| u32::from_be_bytes(number.try_into().unwrap()))
        .collect()
}

/// Fails unless each packet begins where the one before ends, to the millisecond.
fn assert_without_a_gap(server: &Recording) {
    let opus = server.opus();
    for pair in opus.windows(2) {
        let [(before_ms, packet), (at_ms, _)] = pair else {
            unreachable!("windows of two");
        };
        let samples = duration_samples(packet).unwrap();
        let gap_ms = i64::from(*at_ms) - i64::from(*before_ms) - i64::from(samples / 48);
        assert!(gap_ms.abs() <= 1, "a gap of {gap_ms} ms at {at_ms} ms");
    }
}

#[test]
fn every_packet_reaches_a_server_that_takes_opus_and_nothing_is_coded() {
    let mut world = live(&[("opus", FaultMode::Well)]);
    world.run_ms(10_000);
    let server = world.server("opus", 0);
    server.assert_well_formed();
    assert_eq!(server.sequence_headers(type_id::AUDIO), 1);
    assert_eq!(server.audio().len(), server.opus().len(), "AAC was sent");
    let numbers = numbers(server);
    assert!(numbers.len() > 450, "{} packets", numbers.len());
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{numbers:?}"
    );
    assert_without_a_gap(server);
    assert_eq!(world.audio_bps, [0; 0], "an audio transcoder was opened");
}

#[test]
fn each_destination_has_what_its_server_takes_and_sees_nothing_of_the_other() {
    let hosts = [
        ("opus", FaultMode::Well),
        ("plain", FaultMode::Well),
        ("opus-too", FaultMode::Well),
    ];
    let mut world = live(&hosts);
    world.run_ms(10_000);
    for name in ["opus", "opus-too"] {
        let server = world.server(name, 0);
        server.assert_well_formed();
        assert_eq!(server.audio().len(), server.opus().len(), "{name}");
        assert_without_a_gap(server);
    }
    let plain = world.server("plain", 0);
    plain.assert_well_formed();
    assert_eq!(plain.opus().len(), 0);
    assert!(plain.audio().len() > 420, "{} frames", plain.audio().len());
    assert_eq!(world.audio_transcoders(), 1);
    // Audio and video of both have the same distance.
    let begins_ms = |server: &Recording| server.audio()[0].timestamp_ms;
    let apart_ms = begins_ms(world.server("opus", 0)).abs_diff(begins_ms(plain));
    assert!(apart_ms <= 60, "{apart_ms} ms");
    for (name, codec) in [("opus", "opus"), ("plain", "aac")] {
        let status = world.destination(name);
        assert_eq!(status.audio_codec.as_deref(), Some(codec), "{name}");
    }
}

#[test]
fn coding_begins_with_the_first_destination_that_takes_aac_and_ends_with_the_last() {
    let mut world = live(&[("opus", FaultMode::Well)]);
    world.run_ms(4_000);
    world.want(&[("opus", FaultMode::Well), ("plain", FaultMode::Well)]);
    world.run_ms(4_000);
    assert_eq!(world.audio_transcoders(), 1);
    let plain = world.server("plain", 0);
    plain.assert_well_formed();
    assert!(plain.audio().len() > 120, "{} frames", plain.audio().len());
    world.want(&[("opus", FaultMode::Well)]);
    world.run_ms(2_000);
    assert_eq!(world.audio_transcoders(), 0);
    let opus = world.server("opus", 0);
    assert_eq!(world.connections("opus"), 1);
    assert_without_a_gap(opus);
    assert!(opus.opus().len() > 440, "{} packets", opus.opus().len());
}

#[test]
fn audio_that_nobody_took_for_a_while_begins_without_a_hole() {
    let mut world = live(&[("plain", FaultMode::Well), ("opus", FaultMode::Well)]);
    world.run_ms(4_000);
    for away_ms in [60, 200, 400, 2_000] {
        let n = world.connections("plain");
        world.want(&[("opus", FaultMode::Well)]);
        world.run_ms(away_ms);
        world.want(&[("plain", FaultMode::Well), ("opus", FaultMode::Well)]);
        world.run_ms(3_000);
        let plain = world.server("plain", n);
        let times: Vec<u32> = plain.audio().iter().map(|it| it.timestamp_ms).collect();
        assert!(times.len() > 20, "{times:?}");
        let holes = times.windows(2).filter(|pair| pair[1] - pair[0] > 22);
        assert_eq!(holes.count(), 0, "away for {away_ms} ms: {times:?}");
    }
}

#[test]
fn silence_is_opus_too_while_the_publisher_is_away_and_it_returns() {
    let mut world = live(&[("opus", FaultMode::Well)]);
    world.run_ms(4_000);
    world.clients[0].dead = true;
    world.run_ms(25_000);
    let server = world.server("opus", 0);
    let (last_ms, last) = server.opus().pop().unwrap();
    assert_eq!(last[..], [0xFC, 0xFF, 0xFE]);
    assert!(last_ms > 26_000, "silence ends at {last_ms} ms");
    let client = Client::new(world.now, 4_001, Sends::default());
    world.publish("second", client);
    world.run_ms(4_000);
    let server = world.server("opus", 0);
    assert_eq!(world.connections("opus"), 1);
    assert_without_a_gap(server);
    server.assert_well_formed();
    assert!(numbers(server).len() > 320, "the second is heard");
    assert_eq!(world.audio_bps, [0; 0]);
}

#[test]
fn a_lossy_network_leaves_no_gap() {
    let mut world = live(&[("opus", FaultMode::Well)]);
    world.clients[0].lose_every = 9;
    world.run_ms(15_000);
    let server = world.server("opus", 0);
    assert_without_a_gap(server);
    let unique: HashSet<u32> = numbers(server).into_iter().collect();
    assert_eq!(unique.len(), numbers(server).len(), "one is heard twice");
    let fillers = server.opus().iter().filter(|(_, it)| it.len() == 1).count();
    assert!(fillers > 10, "{fillers} packets stand for lost ones");
}

#[test]
fn a_connection_keeps_its_kind_and_the_next_chooses_again() {
    let mut world = live(&[("opus", FaultMode::Resets(3_000))]);
    world.run_ms(3_000);
    // The server that comes back takes AAC alone, and then Opus again.
    world.opus_hosts.clear();
    world.run_ms(3_000);
    world.opus_hosts.insert("opus".to_owned());
    world.run_ms(6_000);
    let kinds: Vec<(bool, usize)> = (0..world.connections("opus"))
        .map(|n| world.server("opus", n))
        .filter(|server| server.audio().len() > 20)
        .map(|server| {
            (
                !server.opus().is_empty(),
                server.sequence_headers(type_id::AUDIO),
            )
        })
        .collect();
    assert!(kinds.len() >= 3, "{kinds:?}");
    assert_eq!(kinds[..3], [(true, 1), (false, 1), (true, 1)]);
    for n in 0..world.connections("opus") {
        let server = world.server("opus", n);
        let opus = server.opus().len();
        assert!(opus == 0 || opus == server.audio().len(), "both on one");
    }
}

#[test]
fn a_server_that_stumbles_over_the_question_is_sent_aac_at_the_next_attempt() {
    let mut world = live(&[("one", FaultMode::Stumbles)]);
    world.run_ms(5_000);
    assert_eq!(world.connections("one"), 2);
    let server = world.server("one", 1);
    server.assert_well_formed();
    assert_eq!(server.opus().len(), 0);
}

#[test]
fn a_platform_is_not_asked_and_not_sent_opus() {
    let host = "a.rtmp.youtube.com";
    let mut world = World::new();
    world.opus_hosts.insert(host.to_owned());
    world.want(&[(host, FaultMode::Stumbles)]);
    let client = Client::new(world.now, 4_000, Sends::default());
    world.publish("first", client);
    world.run_ms(4_000);
    assert_eq!(world.connections(host), 1, "it was asked");
    let server = world.server(host, 0);
    server.assert_well_formed();
    assert_eq!(server.opus().len(), 0);
}
