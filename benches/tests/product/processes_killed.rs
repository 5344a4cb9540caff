//! Each process may be killed: media survives a crash of control, and all broadcasts are resumed after a
//! crash of the engine, without a call of the studio.

use std::time::{Duration, Instant};

use shardcast_bench::{
    harness::{Harness, HarnessOptions, pause, resume},
    publisher::{Publisher, PublisherOptions, PublisherState},
    sink::{ConnectionReport, Sink},
    test_clip::{TestClip, TestClipFormat},
};

const TIME_LIMIT: Duration = Duration::from_secs(40);

struct Show {
    harness: Harness,
    sink: Sink,
    publisher: Publisher,
    endpoint: String,
}

async fn live(outlives_socket: bool) -> Show {
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let sink = Sink::start().unwrap();
    harness.create("show").await.unwrap();
    harness.add("show", &sink.url("a")).await.unwrap();
    let endpoint = harness.add("show", &sink.url("b")).await.unwrap();
    let clip = TestClip::load(TestClipFormat::small()).unwrap();
    let options = PublisherOptions {
        outlives_socket,
        ..PublisherOptions::new(harness.signalling(), "show")
    };
    let publisher = Publisher::start(clip, options);
    for key in ["a", "b"] {
        sink.frames(key, 60, TIME_LIMIT).await.unwrap();
    }
    Show {
        harness,
        sink,
        publisher,
        endpoint,
    }
}

impl Show {
    /// Both destinations have received all frames, on one connection.
    fn assert_nothing_missed(&self) {
        for key in ["a", "b"] {
            let streams = self.sink.streams(key);
            assert_eq!(streams.len(), 1, "{key} was connected again");
            let report = self.publisher.report();
            assert_eq!(streams[0].faults(), [""; 0], "{key}: {report:?}");
        }
    }

    async fn assert_live_as_before(&self) {
        let broadcast = self.harness.broadcast("show").await.unwrap();
        assert_eq!(broadcast["status"], "broadcasting", "{broadcast}");
        assert_eq!(
            broadcast["endPointList"].as_array().unwrap().len(),
            2,
            "{broadcast}"
        );
        let status = self.harness.endpoint("show", &self.endpoint).await.unwrap();
        assert_eq!(status["status"], "broadcasting", "{status}");
    }

    async fn more_frames(&self) {
        let before = self.sink.stream("a").unwrap().video_frames;
        self.sink
            .frames("a", before + 60, TIME_LIMIT)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn destinations_miss_nothing_while_control_is_dead_and_the_next_one_knows_everything() {
    let mut show = live(true).await;
    let engine = show.harness.engine_pid();
    show.harness.kill_control().unwrap();
    show.more_frames().await;
    show.assert_nothing_missed();

    show.harness.restart_control().await.unwrap();
    assert_eq!(
        show.harness.engine_pid(),
        engine,
        "the engine was restarted"
    );
    show.assert_live_as_before().await;
    show.more_frames().await;
    show.assert_nothing_missed();
    assert_eq!(show.publisher.report().attempts, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_that_lost_its_socket_takes_its_own_stream_over() {
    let mut show = live(false).await;
    show.harness.kill_control().unwrap();
    show.harness.restart_control().await.unwrap();
    show.publisher
        .wait("second start", TIME_LIMIT, |r| r.publish_started == 2)
        .await
        .unwrap();
    show.more_frames().await;
    show.assert_live_as_before().await;
    show.assert_nothing_missed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_comes_back_to_all_destinations_after_the_engine_was_killed() {
    let Show {
        mut harness,
        sink,
        publisher,
        ..
    } = live(false).await;
    let killed = Instant::now();
    harness.kill_engine().unwrap();
    harness.wait_new_engine(TIME_LIMIT).await.unwrap();
    let took = killed.elapsed();
    assert!(
        took < Duration::from_secs(10),
        "the engine was away for {took:?}"
    );

    for key in ["a", "b"] {
        let back = |s: &ConnectionReport| s.ended.is_none() && s.video_frames >= 60;
        let stream = sink.wait(key, "return", TIME_LIMIT, back).await.unwrap();
        assert_eq!(stream.faults(), [""; 0], "{key}");
        assert!(stream.starts_on_keyframe);
        assert_eq!(sink.streams(key).len(), 2, "{key}: once before, once after");
    }
    assert_eq!(publisher.report().state, PublisherState::Sending);
    publisher.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_hangs_for_a_while_goes_on_with_the_show() {
    let show = live(true).await;
    let engine = show.harness.engine_pid();
    let before = show.sink.stream("a").unwrap().video_frames;
    pause(engine).unwrap();
    // Longer than control takes to declare the link down, and the publisher its connection.
    for _ in 0..14 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let broadcast = show.harness.broadcast("show").await.unwrap();
        assert_eq!(broadcast["status"], "broadcasting", "{broadcast}");
    }
    resume(engine).unwrap();
    show.sink
        .frames("a", before + 60, TIME_LIMIT)
        .await
        .unwrap();
    show.publisher
        .wait("return", TIME_LIMIT, |r| r.publish_started >= 2)
        .await
        .unwrap();
    show.assert_live_as_before().await;
    assert_eq!(show.harness.engine_pid(), engine, "it was not killed");
    for key in ["a", "b"] {
        assert_eq!(show.sink.streams(key).len(), 1, "{key} was connected again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_stop_ends_every_destination_properly() {
    let Show {
        mut harness,
        sink,
        publisher,
        ..
    } = live(false).await;
    harness.stop(TIME_LIMIT).await.unwrap();
    for key in ["a", "b"] {
        let stream = sink
            .wait(key, "end", TIME_LIMIT, |s| s.ended.is_some())
            .await
            .unwrap();
        assert!(stream.ended_cleanly(), "{key}: {:?}", stream.ended);
        assert_eq!(stream.faults(), [""; 0], "{key}");
    }
    drop(publisher);
}
