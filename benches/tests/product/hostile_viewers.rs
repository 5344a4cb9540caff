//! Viewers that mean harm: one that connects over TCP and then reads nothing, one that loses nearly all and
//! asks for everything again, and for a keyframe at each turn, one that never finishes DTLS, and a thousand
//! that ask by WHEP and never come. Good viewers and the destination lose nothing meanwhile, nothing of
//! theirs is much later, and the memory of the engine is bounded.

use std::time::Duration;

use shardcast_bench::{
    harness::{APPLICATION, Harness, HarnessOptions, send, usage},
    publisher::{Publisher, PublisherOptions},
    sink::{ConnectionReport, Sink},
    stats::Percentiles,
    test_clip::{TestClip, TestClipFormat},
    viewer::{Viewer, ViewerOptions},
};
use tokio::{task::JoinHandle, time::sleep};

use crate::hostile_peer::{Conduct, Done, HostilePeer, offer_of_nobody};

const TIME_LIMIT: Duration = Duration::from_secs(30);
const WINDOW: Duration = Duration::from_secs(4);
const ID: &str = "show";
const POSTS: usize = 1_000;
/// A thousand sessions that have begun, of some 0.1 MB each, and what a busy machine has in its queues.
const GROWTH_BYTES_MAX: u64 = 256 << 20;

/// The show, its good viewers and its destination.
struct Show {
    harness: Harness,
    publisher: Publisher,
    good: Vec<Viewer>,
    sink: Sink,
}

/// Delays of the viewers and of the destination.
type Delays = [Percentiles; 2];

impl Show {
    async fn start() -> Self {
        let harness = Harness::start(HarnessOptions::default()).await.unwrap();
        let sink = Sink::start().unwrap();
        harness.create(ID).await.unwrap();
        harness.add(ID, &sink.url(ID)).await.unwrap();
        let clip = TestClip::load(TestClipFormat {
            width: 320,
            height: 180,
            video_kbps: 400,
            ..TestClipFormat::default()
        });
        let options = PublisherOptions::new(harness.signalling(), ID);
        let publisher = Publisher::start(clip.unwrap(), options);
        sink.frames(ID, 1, TIME_LIMIT).await.unwrap();
        let whep = format!("{}{}", harness.base(), path());
        let good = [ID; 3].map(|id| Viewer::start(ViewerOptions::new(&whep, id)));
        for viewer in &good {
            viewer.watching(TIME_LIMIT).await.unwrap();
        }
        Self {
            harness,
            publisher,
            good: good.into(),
            sink,
        }
    }

    /// What comes in some seconds.
    async fn window(&self) -> Delays {
        self.sink.forget_delays();
        for viewer in &self.good {
            viewer.take_delays_ms();
        }
        sleep(WINDOW).await;
        let viewers = self.good.iter().flat_map(Viewer::take_delays_ms);
        let viewers = Percentiles::of(viewers.collect());
        [viewers.unwrap(), self.sink.delay_ms().unwrap()]
    }

    fn engine_bytes(&self) -> u64 {
        usage(self.harness.engine_pid()).unwrap().resident_bytes
    }

    /// Asks a thousand times at once; how many were taken.
    fn ask(&self) -> JoinHandle<usize> {
        let posts: Vec<_> = (0..POSTS)
            .map(|_| {
                let server = self.harness.http();
                let body = Some(("application/sdp", offer_of_nobody()));
                tokio::spawn(async move { send(server, "POST", &path(), body).await })
            })
            .collect();
        tokio::spawn(async move {
            let mut taken = 0;
            for post in posts {
                match post.await.unwrap().unwrap().status {
                    201 => taken += 1,
                    503 => {}
                    other => panic!("a POST was answered with {other}"),
                }
            }
            taken
        })
    }

    /// Viewers and destination have lost nothing.
    async fn assert_whole(self) {
        for viewer in self.good {
            let report = viewer.stop().await;
            assert_eq!(
                (report.packets_lost, report.frames_damaged, report.attempts),
                (0, 0, 1),
                "{report:?}"
            );
            assert!(report.errors.is_empty(), "{report:?}");
        }
        self.publisher.stop().await;
        let ended = |stream: &ConnectionReport| stream.ended.is_some();
        let stream = self.sink.wait(ID, "end", TIME_LIMIT, ended).await;
        let stream = stream.unwrap();
        assert_eq!(stream.frames_missing, 0, "{stream:?}");
        assert_eq!(stream.faults(), [""; 0]);
    }
}

fn path() -> String {
    format!("/{APPLICATION}/whep/{ID}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_viewers_harm_neither_good_ones_nor_the_destination() {
    let show = Show::start().await;
    let calm = show.window().await;
    let before = show.engine_bytes();

    let mut bad = Vec::new();
    for conduct in [Conduct::ReadsNothing, Conduct::Floods, Conduct::NeverDtls] {
        bad.push(HostilePeer::start(show.harness.http(), &path(), conduct).await);
    }
    let asking = show.ask();
    let hostile = show.window().await;
    let taken = asking.await.unwrap();
    let after = show.engine_bytes();
    let done: Vec<Done> = bad.into_iter().map(HostilePeer::stop).collect();
    println!("{taken} taken; {done:?}; {before} bytes before, {after} after");
    println!("viewers and destination: {calm:?}\n{hostile:?}");

    assert!(taken > 100, "{taken} taken");
    let [silent, flood, unfinished] = &done[..] else {
        panic!("three were there")
    };
    assert!(silent.connected && flood.connected && !unfinished.connected);
    assert!(flood.sent > 500 && unfinished.received > 0, "{done:?}");
    assert!(
        after < before + GROWTH_BYTES_MAX,
        "{before} before, {after}"
    );
    // A shared machine alone moves the percentile by this much.
    for (calm, hostile) in calm.into_iter().zip(hostile) {
        assert!(
            hostile.p99 <= 3.0 * calm.p99 + 50.0,
            "{calm:?} without, {hostile:?} with them"
        );
    }
    show.assert_whole().await;
}
