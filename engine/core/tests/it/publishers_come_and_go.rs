//! The publisher is lost, returns, is replaced or was never right: destinations keep their one
//! connection while it is away, and only a wished end ends them.

use std::net::SocketAddr;

use crate::sim::{
    FaultMode, World, broadcast,
    client::{Client, Sends},
    session,
};
use shardcast_core::{io::Input, rtmp::server::UnpublishedBy};
use shardcast_link::{Command, DestinationState, EndReason, Event};

fn on_air() -> World {
    let mut world = World::new();
    world.want(&[("one", FaultMode::Well), ("two", FaultMode::Well)]);
    let client = Client::new(world.now, 4000, Sends::default());
    world.publish("first", client);
    world.run_ms(3_000);
    world
}

fn returns(world: &mut World, name: &str, port: u16) {
    let client = Client::new(world.now, port, Sends::default());
    world.publish(name, client);
}

#[test]
fn a_publisher_that_vanishes_and_returns_resumes_on_the_same_connections() {
    let mut world = on_air();
    world.clients[0].dead = true;
    world.run_ms(4_000);
    let silence = world.server("one", 0).audio().len();
    world.command(Command::Unpublish {
        session: session("first"),
    });
    world.run_ms(6_000);
    assert!(
        world.server("one", 0).audio().len() > silence + 200,
        "no silence while it is away"
    );
    assert_eq!(world.destination("one").state, DestinationState::Holding);
    returns(&mut world, "second", 4001);
    world.run_ms(3_000);
    for name in ["one", "two"] {
        assert_eq!(world.connections(name), 1, "{name} was connected again");
        let server = world.server(name, 0);
        server.assert_well_formed();
        assert!(server.ended_by.is_empty());
        assert!(server.largest_gap_ms(0) < 200, "a hole in {name}");
        let last_ms = server.video().last().unwrap().timestamp_ms;
        assert!((15_000..17_500).contains(&last_ms), "time ran on wrongly");
    }
    assert_eq!(world.destination("one").state, DestinationState::Live);
}

#[test]
fn sound_and_picture_are_together_again_after_a_return() {
    let mut world = on_air();
    world.clients[0].dead = true;
    world.command(Command::Unpublish {
        session: session("first"),
    });
    world.run_ms(5_000);
    returns(&mut world, "second", 4001);
    world.run_ms(5_000);
    let server = world.server("one", 0);
    let last =
        |messages: Vec<&shardcast_core::rtmp::Message>| messages.last().unwrap().timestamp_ms;
    let apart = i64::from(last(server.video())) - i64::from(last(server.audio()));
    assert!((-60..=100).contains(&apart), "{apart} ms apart");
}

#[test]
fn nobody_returns_and_the_destinations_are_ended_properly() {
    let mut world = on_air();
    world.clients[0].dead = true;
    world.command(Command::Unpublish {
        session: session("first"),
    });
    world.run_ms(61_000);
    assert_eq!(world.destination("one").state, DestinationState::Ended);
    let ended = &world.server("one", 0).ended_by;
    assert_eq!(
        ended,
        &[UnpublishedBy::FcUnpublish, UnpublishedBy::DeleteStream]
    );
    returns(&mut world, "second", 4001);
    world.run_ms(3_000);
    assert_eq!(world.connections("one"), 2);
    world.server("one", 1).assert_well_formed();
}

#[test]
fn a_second_session_takes_over_when_its_media_arrives_and_not_before() {
    let mut world = on_air();
    let mut idle = Client::new(world.now, 4001, Sends::default());
    idle.dead = true;
    world.publish("second", idle);
    world.run_ms(2_000);
    assert_eq!(world.ended("first"), None);
    world.clients[1].dead = false;
    world.run_ms(2_000);
    assert_eq!(world.ended("first"), Some(EndReason::Replaced));
    world.server("one", 0).assert_well_formed();
    assert_eq!(world.connections("one"), 1);
}

#[test]
fn an_offer_without_media_is_named_and_ended_in_time() {
    let mut world = World::new();
    let sends = Sends {
        video: false,
        audio: false,
        ..Sends::default()
    };
    let client = Client::new(world.now, 4000, sends);
    world.publish("first", client);
    let answered = world.events.iter().any(|event| {
        matches!(
            event,
            Event::Answer {
                offers_video: false,
                offers_audio: false,
                ..
            }
        )
    });
    assert!(answered);
    world.run_ms(10_500);
    assert_eq!(world.ended("first"), Some(EndReason::NoMediaOffered));
}

#[test]
fn a_client_that_never_sends_is_ended_in_time() {
    let mut world = World::new();
    let mut client = Client::new(world.now, 4000, Sends::default());
    client.dead = true;
    world.publish("first", client);
    world.run_ms(10_500);
    assert_eq!(world.ended("first"), Some(EndReason::StartTimeout));
}

#[test]
fn an_offer_of_garbage_is_refused_in_words() {
    let mut world = World::new();
    for (n, sdp) in [
        "",
        "v=0",
        "hello",
        "\0\u{fffd}\r\n\r\n",
        &"m=video\r\n".repeat(50_000),
    ]
    .into_iter()
    .enumerate()
    {
        world.command(Command::Publish {
            session: session(&format!("s{n}")),
            broadcast: broadcast(),
            sdp: sdp.to_owned(),
            start_timeout_ms: 1_000,
            codecs: Vec::new(),
            stereo: false,
        });
        let refused = world.events.iter().rev().find_map(|event| match event {
            Event::Refused {
                session: of,
                problem,
            } if of.0 == format!("s{n}") => Some(problem),
            _ => None,
        });
        assert!(
            refused.expect("refused").message.contains("SDP"),
            "{refused:?}"
        );
    }
}

#[test]
fn garbage_datagrams_change_nothing() {
    let mut world = on_air();
    let before = world.server("one", 0).video().len();
    let from: SocketAddr = "127.0.0.1:6666".parse().unwrap();
    let publisher = world.clients[0].address;
    let to = crate::sim::SHARD_ADDRESS.parse().unwrap();
    for n in 0..3_000_u64 {
        let length = usize::try_from(n * 7919 % 1500).unwrap();
        let payload: Vec<u8> = (0..length as u64)
            .map(|i| (n * 31 + i * i * 17) as u8)
            .collect();
        // From a stranger, and with the publisher's own address forged.
        for from in [from, publisher] {
            world.shard.handle(
                world.now,
                Input::Datagram {
                    from,
                    to,
                    payload: &payload,
                },
            );
        }
        world.run_ms(1);
    }
    let frames = world.server("one", 0).video().len() - before;
    assert!(
        (88..=92).contains(&frames),
        "{frames} frames in three seconds"
    );
    assert!(world.latest().datagrams_unknown >= 2_900);
    world.server("one", 0).assert_well_formed();
}

#[test]
fn strangers_who_guess_a_session_s_name_cannot_move_it() {
    let mut world = on_air();
    let before = world.server("one", 0).video().len();
    let to = crate::sim::SHARD_ADDRESS.parse().unwrap();
    let ufrag = world.clients[0].remote_ufrag.clone();
    // A STUN binding request whose USERNAME names the session and whose integrity is wrong.
    let name = format!("{ufrag}:who");
    let padded = name.len().next_multiple_of(4);
    let mut request = vec![0, 1, 0, u8::try_from(4 + padded + 24).unwrap()];
    request.extend([0x21, 0x12, 0xa4, 0x42]);
    request.extend([7; 12]);
    request.extend([0, 6, 0, u8::try_from(name.len()).unwrap()]);
    request.extend(name.bytes());
    request.resize(20 + 4 + padded, 0);
    request.extend([0, 8, 0, 20]);
    request.extend([9; 20]);
    for n in 0..2_000_u16 {
        let from = SocketAddr::from(([127, 0, 0, 9], 20_000 + n));
        world.shard.handle(
            world.now,
            Input::Datagram {
                from,
                to,
                payload: &request,
            },
        );
        world.run_ms(1);
    }
    let frames = world.server("one", 0).video().len() - before;
    assert!(
        (58..=62).contains(&frames),
        "{frames} frames in two seconds"
    );
    assert!(world.latest().datagrams_unknown >= 2_000);
}

#[test]
fn lost_packets_are_repaired_or_closed_by_a_keyframe() {
    let mut world = on_air();
    world.clients[0].lose_every = 20;
    world.run_ms(20_000);
    let server = world.server("one", 0);
    server.assert_well_formed();
    let frames = server.video().len();
    assert!(frames > 600, "{frames} frames in 23 seconds with 5 % loss");
    let apart = i64::from(server.video().last().unwrap().timestamp_ms)
        - i64::from(server.audio().last().unwrap().timestamp_ms);
    assert!(apart.abs() < 400, "{apart} ms apart under loss");
}

#[test]
fn a_network_that_is_gone_for_300_ms_costs_no_frame() {
    let mut world = on_air();
    world.clients[0].lose_every = 1;
    world.run_ms(300);
    world.clients[0].lose_every = 0;
    world.run_ms(5_000);
    let sent = world.clients[0].frames_sent;
    let received = world.server("one", 0).video().len() as u64;
    assert!(received + 3 >= sent, "{received} of {sent} frames");
}

#[test]
fn forgetting_a_broadcast_ends_everything_and_leaves_nothing() {
    let mut world = on_air();
    world.command(Command::Forget {
        broadcast: broadcast(),
    });
    assert_eq!(world.ended("first"), Some(EndReason::Requested));
    // On its way to the servers.
    world.run_ms(5);
    for name in ["one", "two"] {
        assert!(
            world
                .server(name, 0)
                .ended_by
                .contains(&UnpublishedBy::DeleteStream)
        );
    }
    let status = world.latest();
    assert!(status.broadcasts.is_empty(), "{status:?}");
}

#[test]
fn commands_may_be_repeated() {
    let mut world = on_air();
    for _ in 0..3 {
        world.want(&[("one", FaultMode::Well), ("two", FaultMode::Well)]);
        world.command(Command::Publish {
            session: session("first"),
            broadcast: broadcast(),
            sdp: "not looked at again".into(),
            start_timeout_ms: 1_000,
            codecs: Vec::new(),
            stereo: false,
        });
        world.run_ms(500);
    }
    assert_eq!(world.connections("one"), 1);
    assert_eq!(world.ended("first"), None);
}
