//! Viewers that UDP does not reach come over TCP (RFC 6544): they get the same packets. One that reads
//! nothing holds a bounded number of bytes and costs nobody else anything, and a connection that does not
//! prove whose it is is closed.

use std::net::SocketAddr;

use crate::sim::{
    FaultMode, World,
    client::{Client, Sends},
    viewer::Viewer,
};

fn live() -> World {
    let mut world = World::with_codecs(1_000);
    world.want(&[("one", FaultMode::Well)]);
    let client = Client::new(world.now, 4000, Sends::default());
    world.publish("first", client);
    world.run_ms(3_000);
    world
}

fn watch_over_tcp(world: &mut World, port: u16) -> usize {
    let viewer = Viewer::over_tcp(world.now, port);
    world.watch(&format!("viewer-{port}"), viewer)
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn pictures(world: &World, place: usize) -> usize {
    let video = world.viewers[place].video();
    video.filter(|packet| packet.marker).count()
}

fn assert_gapless(world: &World, place: usize) {
    let video = world.viewers[place].video();
    let numbers: Vec<u64> = video.map(|packet| packet.sequence).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
}

#[test]
fn a_viewer_on_tcp_gets_every_packet_beside_one_on_udp() {
    let mut world = live();
    let on_tcp = watch_over_tcp(&mut world, 6000);
    let viewer = Viewer::new(world.now, 6001);
    let on_udp = world.watch("on-udp", viewer);
    world.run_ms(5_000);
    assert_eq!(pictures(&world, on_tcp), pictures(&world, on_udp));
    assert!(pictures(&world, on_tcp) > 140);
    assert_gapless(&world, on_tcp);
    assert_eq!(world.lines.count(), 1);
    let status = world.latest();
    assert_eq!(status.tcp_peers.connections, 1);
    assert_eq!((status.tcp_peers.refused, status.tcp_peers.dropped), (0, 0));
}

#[test]
fn a_whep_viewer_finds_the_candidate_in_the_answer() {
    let mut world = live();
    let viewer = Viewer::over_tcp(world.now, 6000);
    let place = world.watch_by_whep("viewer", viewer);
    world.run_ms(3_000);
    assert!(pictures(&world, place) > 80);
}

#[test]
fn a_session_that_ends_closes_its_connection() {
    let mut world = live();
    let place = watch_over_tcp(&mut world, 6000);
    world.run_ms(1_000);
    let now = world.now;
    world.viewers[place].close(now);
    world.run_ms(100);
    assert_eq!(world.lines.count(), 0);
    assert_eq!(world.latest().tcp_peers.connections, 0);
}

#[test]
fn a_viewer_that_reads_nothing_holds_so_much_and_is_let_go() {
    let mut world = live();
    let good = watch_over_tcp(&mut world, 6000);
    let bad = watch_over_tcp(&mut world, 6001);
    world.run_ms(2_000);
    let line = world.lines.of(address(6001)).expect("it is connected");
    line.stalls = true;
    let (before, seen) = (line.written, pictures(&world, bad));
    world.run_ms(5_000);
    let line = world.lines.of(address(6001)).expect("it is connected");
    let held = line.written - before;
    assert!(held <= 256 << 10, "{held} bytes are held for it");
    assert!(world.latest().tcp_peers.dropped > 500);
    assert_eq!(pictures(&world, bad), seen);
    world.run_ms(10_000);
    // Its client goes on, on a new connection.
    let line = world.lines.of(address(6001));
    assert!(line.is_none_or(|line| !line.stalls));
    assert!(pictures(&world, good) > 500);
    assert_gapless(&world, good);
    let sent = world.server("one", 0).media.len();
    assert!(sent > 500, "the destination goes on: {sent}");
}

#[test]
fn a_stranger_who_proves_nothing_is_closed_at_once_and_one_who_is_silent_after_a_while() {
    let mut world = live();
    let greetings: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\n\r\n",
        // A frame that is no STUN, and a STUN request that names nobody.
        &[0, 4, 0x80, 96, 0, 1],
        &[
            0, 20, 0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
        ],
        &[0xff; 64],
    ];
    for (port, greeting) in (7_000..).zip(greetings) {
        let conn = world.connect_line(address(port)).expect("it is taken");
        world.line_sends(conn, greeting);
        assert_eq!(world.lines.count(), 0, "{greeting:?}");
    }
    world.connect_line(address(7_100)).expect("it is taken");
    world.run_ms(4_000);
    assert_eq!(world.lines.count(), 1);
    world.run_ms(1_100);
    assert_eq!(world.lines.count(), 0);
    assert_eq!(world.latest().tcp_peers.refused, 5);
}

#[test]
fn thousands_who_only_connect_keep_nobody_out() {
    let mut world = live();
    for port in 10_000..13_000 {
        world
            .connect_line(address(port))
            .expect("a newcomer is taken");
    }
    assert!(world.lines.count() <= 512);
    let place = watch_over_tcp(&mut world, 6000);
    world.run_ms(2_000);
    assert!(pictures(&world, place) > 50);
}
