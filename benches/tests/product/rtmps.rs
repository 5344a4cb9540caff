//! RTMPS: a server with a certificate of the operator's own CA goes live; the status of one with an
//! invalid certificate or without TLS names the cause, and its sibling loses no frame; a TLS connection
//! that breaks is made again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use shardcast_bench::{
    harness::{Harness, HarnessOptions},
    publisher::{Publisher, PublisherOptions},
    sink::{
        Certificate, ConnectionFaults, ConnectionReport, FaultScript, Sink, SinkOptions, TestCa,
        TlsFault,
    },
    test_clip::{TestClip, TestClipFormat},
};
use tempfile::TempDir;

const TIME_LIMIT: Duration = Duration::from_secs(60);

/// A Shardcast that trusts `ca`, with a broadcast and a healthy destination.
struct Show {
    harness: Harness,
    ca: Arc<TestCa>,
    sibling: Sink,
    _ca_directory: TempDir,
}

async fn show() -> Show {
    let ca = Arc::new(TestCa::new().unwrap());
    let ca_directory = tempfile::tempdir().unwrap();
    let ca_file = ca_directory.path().join("ca.pem");
    ca.write(&ca_file).unwrap();
    let harness = Harness::start(HarnessOptions {
        ca_file: Some(ca_file),
        ..Default::default()
    })
    .await
    .unwrap();
    let sibling = secure(&ca, FaultScript::default());
    harness.create("show").await.unwrap();
    harness.add("show", &sibling.url("sibling")).await.unwrap();
    Show {
        harness,
        ca,
        sibling,
        _ca_directory: ca_directory,
    }
}

fn secure(ca: &Arc<TestCa>, fault_script: impl Into<FaultScript>) -> Sink {
    Sink::with(SinkOptions {
        tls: Some(Arc::clone(ca)),
        ..SinkOptions::with(fault_script)
    })
    .unwrap()
}

impl Show {
    fn publish(&self) -> Publisher {
        let clip = TestClip::load(TestClipFormat::small()).unwrap();
        Publisher::start(
            clip,
            PublisherOptions::new(self.harness.signalling(), "show"),
        )
    }

    /// The problem in the status of a destination, once there is one.
    async fn problem(&self, endpoint: &str) -> String {
        let deadline = Instant::now() + TIME_LIMIT;
        loop {
            let problem = self.harness.problem("show", endpoint).await.unwrap();
            if !problem.is_empty() {
                return problem;
            }
            assert!(Instant::now() < deadline, "no problem was reported");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends the broadcast, and checks that the sibling has received all of it.
    async fn assert_sibling_unharmed(&self, publisher: Publisher) {
        let sent = publisher.stop().await;
        let ended = |s: &ConnectionReport| s.ended.is_some();
        let sibling = &self.sibling;
        let stream = sibling
            .wait("sibling", "end", TIME_LIMIT, ended)
            .await
            .unwrap();
        assert_eq!(stream.faults(), [""; 0], "{stream:?}");
        assert_eq!(sibling.connections().len(), 1);
        assert!(stream.ended_cleanly(), "{:?}", stream.ended);
        let last = u64::from(stream.last_stamp.unwrap());
        assert!(
            last + 3 >= sent.frames_sent,
            "{last} of {}",
            sent.frames_sent
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_a_private_ca_goes_live_by_address_and_by_name() {
    let show = show().await;
    let sink = secure(&show.ca, FaultScript::default());
    let endpoint = show
        .harness
        .add("show", &sink.url_by_name("by-name"))
        .await
        .unwrap();
    let publisher = show.publish();
    let named = sink.frames("by-name", 90, TIME_LIMIT).await.unwrap();
    assert!(named.tls);
    assert_eq!(named.tls_server_name.as_deref(), Some("localhost"));
    assert_eq!(named.faults(), [""; 0]);
    let status = show.harness.endpoint("show", &endpoint).await.unwrap();
    assert_eq!(status["status"], "broadcasting", "{status}");
    let addressed = show
        .sibling
        .frames("sibling", 90, TIME_LIMIT)
        .await
        .unwrap();
    assert!(addressed.tls);
    assert_eq!(addressed.tls_server_name, None);
    show.assert_sibling_unharmed(publisher).await;
    let ended = |s: &ConnectionReport| s.ended.is_some();
    let named = sink
        .wait("by-name", "end", TIME_LIMIT, ended)
        .await
        .unwrap();
    assert!(named.ended_cleanly(), "{:?}", named.ended);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_names_an_invalid_certificate_and_missing_tls() {
    let show = show().await;
    let shows = |certificate| ConnectionFaults::tls(TlsFault::Certificate(certificate));
    let cases = [
        (shows(Certificate::Expired), "has expired"),
        (shows(Certificate::WrongName), "for another name"),
        (
            shows(Certificate::UnknownCa),
            "nobody whom this machine trusts",
        ),
        (
            ConnectionFaults::tls(TlsFault::Garbage),
            "does not speak tls",
        ),
        (
            ConnectionFaults::tls(TlsFault::HangsUp),
            "during the tls handshake",
        ),
    ];
    let publisher = show.publish();
    show.sibling
        .frames("sibling", 30, TIME_LIMIT)
        .await
        .unwrap();
    for (faults, expected) in cases {
        let sink = secure(&show.ca, faults);
        let url = sink.url_by_name("secret-key");
        assert_problem(&show, &url, expected).await;
        assert!(sink.stream("secret-key").is_none(), "it received the key");
    }
    let plain = Sink::start().unwrap();
    let url = plain.url("secret-key").replace("rtmp://", "rtmps://");
    assert_problem(&show, &url, "tls").await;
    show.assert_sibling_unharmed(publisher).await;
}

async fn assert_problem(show: &Show, url: &str, expected: &str) {
    let endpoint = show.harness.add("show", url).await.unwrap();
    let problem = show.problem(&endpoint).await;
    let lower = problem.to_lowercase();
    assert!(lower.contains(expected), "'{problem}' has no '{expected}'");
    assert!(
        !problem.contains("secret-key"),
        "the key is shown: {problem}"
    );
    show.harness.remove("show", &endpoint).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tls_connection_that_breaks_is_made_again() {
    let show = show().await;
    let faults = [
        "cut-after=30f",
        "close-after=30f",
        "reset-after=30f",
        "garbage-after=30f",
        "restart-after=30f/500ms",
        "tls-hang-up",
    ];
    let mut sinks = Vec::new();
    for fault in faults {
        let sink = secure(&show.ca, FaultScript::first(1, &fault.parse().unwrap()));
        let url = sink.url("again");
        let endpoint = show.harness.add("show", &url).await.unwrap();
        sinks.push((fault, sink, endpoint));
    }
    let publisher = show.publish();
    for (fault, sink, endpoint) in &sinks {
        let again = |s: &ConnectionReport| s.ended.is_none() && s.video_frames >= 60;
        let stream = sink.wait("again", fault, TIME_LIMIT, again).await.unwrap();
        assert_eq!(stream.faults(), [""; 0], "{fault}");
        assert_eq!(sink.at_once_max(), 1, "{fault}");
        assert!(sink.connections().len() >= 2, "{fault}");
        assert!(!show.problem(endpoint).await.is_empty(), "{fault}");
    }
    show.assert_sibling_unharmed(publisher).await;
}
