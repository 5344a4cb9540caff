//! Garbage datagrams at full speed cost a live broadcast no frame. The test has its own file, so that
//! the flood competes with the engine for a core, and not with other tests.

use std::{
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use shardcast_bench::{
    harness::{Harness, HarnessOptions},
    publisher::{Publisher, PublisherOptions},
    sink::Sink,
    test_clip::{TestClip, TestClipFormat},
};

const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Sends datagrams at full speed: noise, and some that begin like STUN, DTLS and RTP.
fn flood(port: u16, duration: Duration) -> u64 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to: SocketAddr = ([127, 0, 0, 1], port).into();
    let mut random = StdRng::seed_from_u64(3);
    let mut datagram = [0; 1_200];
    let mut sent = 0;
    let end = Instant::now() + duration;
    while Instant::now() < end {
        for first in [0x00, 0x01, 0x14, 0x16, 0x17, 0x80, 0x90, 0xff] {
            random.fill(&mut datagram[..64]);
            datagram[0] = first;
            let length = random.random_range(1..datagram.len());
            sent += u64::from(socket.send_to(&datagram[..length], to).is_ok());
        }
    }
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_datagrams_at_full_speed_for_ten_seconds() {
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let sink = Sink::start().unwrap();
    harness.create("show").await.unwrap();
    harness.add("show", &sink.url("good")).await.unwrap();
    let clip = TestClip::load(TestClipFormat::small()).unwrap();
    let publisher = Publisher::start(clip, PublisherOptions::new(harness.signalling(), "show"));
    sink.frames("good", 30, TIME_LIMIT).await.unwrap();

    let port = harness.runtime().unwrap().udp_ports[0];
    let flood = tokio::task::spawn_blocking(move || flood(port, Duration::from_secs(10)));
    let sent = flood.await.unwrap();
    assert!(sent > 10_000, "only {sent} datagrams were sent");

    let before = sink.stream("good").unwrap().video_frames;
    let stream = sink.frames("good", before + 30, TIME_LIMIT).await.unwrap();
    assert_eq!(
        stream.faults(),
        [""; 0],
        "after {sent} datagrams: {stream:?}"
    );
    assert_eq!(sink.streams("good").len(), 1);
    assert_eq!(publisher.stop().await.attempts, 1);
}
