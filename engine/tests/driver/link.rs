//! The link: commands in, events out, one control at a time, and nothing that control does harms
//! the shard.

use std::{
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    time::Duration,
};

use bytes::BytesMut;
use shardcast_core::io::Output;
use shardcast_link::{
    Assembly, BroadcastId, BroadcastStatus, Command, DestinationId, DestinationState,
    DestinationStatus, Event, ShardStatus, frame,
};

use crate::rig::{Rig, Seen, status};

fn forget(stream: &str) -> Command {
    Command::Forget {
        broadcast: BroadcastId::new("app", stream).unwrap(),
    }
}

fn send(control: &mut UnixStream, command: &Command) {
    let mut bytes = BytesMut::new();
    frame::encode(command, &mut bytes).unwrap();
    control.write_all(&bytes).unwrap();
}

fn receive(control: &mut UnixStream) -> Event {
    let mut length = [0; 4];
    control.read_exact(&mut length).unwrap();
    let mut buffer = BytesMut::from(&length[..]);
    buffer.resize(4 + u32::from_be_bytes(length) as usize, 0);
    control.read_exact(&mut buffer[4..]).unwrap();
    frame::decode(&mut buffer).unwrap().unwrap()
}

/// Connects and waits until the shard serves it.
fn connect(rig: &Rig, name: &str) -> UnixStream {
    let mut control = rig.control();
    send(&mut control, &forget(name));
    assert_eq!(rig.next(), Seen::Command(forget(name)));
    control
}

#[test]
fn the_socket_is_for_its_owner_only() {
    let rig = Rig::new();
    let mode = std::fs::metadata(rig.link_socket())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// glommio counts each poll of a pending receive, in 15 bits: a loop that polls its socket in every
/// turn dies after 16,384 turns without a datagram.
#[test]
fn a_shard_without_datagrams_goes_on_for_any_number_of_turns() {
    let rig = Rig::new();
    let mut control = connect(&rig, "first");
    for _ in 0..40_000 {
        send(&mut control, &forget("turn"));
        assert_eq!(rig.next(), Seen::Command(forget("turn")));
    }
}

#[test]
fn commands_come_in_and_events_go_out_in_order() {
    let rig = Rig::new();
    let mut control = connect(&rig, "one");
    let mut bytes = BytesMut::new();
    for name in ["two", "three"] {
        frame::encode(&forget(name), &mut bytes).unwrap();
    }
    for piece in bytes.chunks(3) {
        control.write_all(piece).unwrap();
    }
    assert_eq!(rig.next(), Seen::Command(forget("two")));
    assert_eq!(rig.next(), Seen::Command(forget("three")));
    rig.ask([Output::Event(Box::new(status(1)))]);
    assert_eq!(receive(&mut control), status(1));
    rig.ask([Output::Event(Box::new(status(2)))]);
    assert_eq!(receive(&mut control), status(2));
}

#[test]
fn a_report_of_any_size_comes_in_parts_while_other_events_go_on() {
    let rig = Rig::new();
    let mut control = connect(&rig, "long");
    let broadcast = |n: usize| {
        let mut status = BroadcastStatus::new(BroadcastId::new("app", &format!("s{n}")).unwrap());
        let destination = |n: usize| {
            let id = DestinationId(format!("{n:0>128}"));
            DestinationStatus::new(id, DestinationState::Live)
        };
        status.destinations = (0..500).map(destination).collect();
        status
    };
    // 100,000 destinations: some 40 MB, more than one frame may have.
    let report = ShardStatus {
        at_unix_ms: 1,
        broadcasts: (0..200).map(broadcast).collect(),
        ..ShardStatus::default()
    };
    let mut next = report.clone();
    next.at_unix_ms = 2;
    let reports = [&report, &report, &next].map(|report| Event::Status(report.clone()));
    rig.ask(reports.map(|it| Output::Event(Box::new(it))));
    let mut assembly = Assembly::default();
    let mut whole = std::iter::from_fn(|| Some(assembly.take(receive(&mut control)))).flatten();
    // The second came while the first was sent, and the third is newer.
    assert_eq!(whole.next(), Some(Event::Status(report)));
    assert_eq!(whole.next(), Some(Event::Status(next)));
    drop(whole);
    rig.ask([Output::Event(Box::new(status(3)))]);
    assert_eq!(receive(&mut control), status(3));
}

#[test]
fn a_newer_control_replaces_an_older_one() {
    let rig = Rig::new();
    let mut older = connect(&rig, "older");
    let mut newer = connect(&rig, "newer");
    assert_eq!(
        older.read(&mut [0; 16]).unwrap(),
        0,
        "the older one is sent nothing more"
    );
    rig.ask([Output::Event(Box::new(status(3)))]);
    assert_eq!(receive(&mut newer), status(3));
}

#[test]
fn control_may_come_back_after_it_has_gone() {
    let rig = Rig::new();
    for round in 0..5 {
        let mut control = connect(&rig, "again");
        rig.ask([Output::Event(Box::new(status(round)))]);
        assert_eq!(receive(&mut control), status(round));
    }
}

#[test]
fn an_unknown_command_is_passed_over_and_the_next_one_is_taken() {
    let rig = Rig::new();
    let mut control = rig.control();
    let unknown = br#"{"type":"from_the_future"}"#;
    control
        .write_all(&(unknown.len() as u32).to_be_bytes())
        .unwrap();
    control.write_all(unknown).unwrap();
    send(&mut control, &forget("known"));
    assert_eq!(rig.next(), Seen::Command(forget("known")));
}

#[test]
fn a_command_that_is_too_long_costs_that_command_only() {
    let rig = Rig::new();
    let mut control = rig.control();
    let length = frame::FRAME_BYTES_MAX + 1;
    control.write_all(&(length as u32).to_be_bytes()).unwrap();
    control.write_all(&vec![b'x'; length]).unwrap();
    send(&mut control, &forget("next"));
    assert_eq!(rig.next(), Seen::Command(forget("next")));
}

#[test]
fn a_frame_of_impossible_length_ends_the_connection_only() {
    let rig = Rig::new();
    let mut control = rig.control();
    control.write_all(&[0xff; 64]).unwrap();
    assert_eq!(control.read(&mut [0; 16]).unwrap_or(0), 0);
    connect(&rig, "next");
}

#[test]
fn a_control_that_does_not_read_does_not_stop_the_shard() {
    let rig = Rig::new();
    let mut control = connect(&rig, "deaf");
    for n in 0..5_000 {
        rig.ask([Output::Event(Box::new(status(n)))]);
    }
    send(&mut control, &forget("still-here"));
    assert_eq!(rig.next(), Seen::Command(forget("still-here")));
    assert_eq!(rig.next_within(Duration::from_millis(50)), None);
}
