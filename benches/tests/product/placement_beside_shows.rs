//! A scheduler that asks for placements a hundred times a second costs ten running shows nothing: no frame
//! is lost, and none is later than without it by more than the noise of the machine.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use shardcast_bench::{
    harness::{APPLICATION, Harness, HarnessOptions, request},
    publisher::{Publisher, PublisherOptions},
    sink::{ConnectionReport, Sink},
    stats::Percentiles,
    test_clip::{TestClip, TestClipFormat},
};
use tokio::time::{MissedTickBehavior, interval, sleep};

const TIME_LIMIT: Duration = Duration::from_secs(60);
const SHOWS: u32 = 10;
const WINDOW: Duration = Duration::from_secs(5);
const REQUESTS: usize = 500;

fn id(number: u32) -> String {
    format!("show{number}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_requests_a_second_cost_ten_shows_nothing() {
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    let sink = Sink::start().unwrap();
    let clip = TestClip::load(TestClipFormat {
        width: 320,
        height: 180,
        video_kbps: 400,
        ..TestClipFormat::default()
    })
    .unwrap();
    let mut publishers = Vec::new();
    for number in 0..SHOWS {
        harness.create(&id(number)).await.unwrap();
        let url = sink.url(&id(number));
        harness.add(&id(number), &url).await.unwrap();
        let options = PublisherOptions {
            number,
            ..PublisherOptions::new(harness.signalling(), id(number))
        };
        publishers.push(Publisher::start(Arc::clone(&clip), options));
    }
    for number in 0..SHOWS {
        sink.frames(&id(number), 30, TIME_LIMIT).await.unwrap();
    }

    let calm = window(&sink, None).await;
    let asked = window(&sink, Some(&harness)).await;
    println!("delay in ms without requests {calm:?}, with them {asked:?}");
    // A shared machine alone moves the percentile by this much.
    assert!(
        asked.p99 <= 3.0 * calm.p99 + 30.0,
        "{calm:?} without, {asked:?} with requests"
    );

    for publisher in publishers {
        publisher.stop().await;
    }
    for number in 0..SHOWS {
        let ended = |stream: &ConnectionReport| stream.ended.is_some();
        let stream = sink.wait(&id(number), "end", TIME_LIMIT, ended).await;
        let stream = stream.unwrap();
        assert_eq!(stream.frames_missing, 0, "{stream:?}");
    }
}

/// The delays of the shows in some seconds, in which a scheduler may ask.
async fn window(sink: &Sink, scheduler_of: Option<&Harness>) -> Percentiles {
    sink.forget_delays();
    match scheduler_of {
        Some(harness) => ask(harness).await,
        None => sleep(WINDOW).await,
    }
    sink.delay_ms().unwrap()
}

async fn ask(harness: &Harness) {
    let mut due = interval(WINDOW / REQUESTS as u32);
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (server, start) = (harness.http(), Instant::now());
    let mut asking = Vec::new();
    for number in 0..REQUESTS {
        due.tick().await;
        asking.push(tokio::spawn(async move {
            let stream = format!("to-come-{number}");
            let body = json!({
                "application": APPLICATION, "streamId": stream, "holdSeconds": 1,
            });
            request(server, "POST", "/api/v1/placements", Some(&body)).await
        }));
    }
    let (mut reserved, mut full) = (0, 0);
    for answer in asking {
        match answer.await.unwrap().unwrap().status {
            201 => reserved += 1,
            503 => full += 1,
            other => panic!("{other}"),
        }
    }
    println!(
        "{reserved} reserved, {full} found no room, in {:?}",
        start.elapsed()
    );
    assert!(reserved > 0);
}
