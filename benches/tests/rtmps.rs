//! RTMPS: a server with a certificate of the operator's own CA goes live; one that cannot be
//! believed, or speaks no TLS, says so in clear words and costs its sibling nothing; and a TLS
//! connection that ends badly is made again.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test"
)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use shardcast_bench::{
    clip::{Clip, ClipFormat},
    harness::{Harness, HarnessOptions},
    publisher::{Publisher, PublisherOptions},
    sink::{Certificate, ConnectionReport, Manner, Manners, Sink, SinkOptions, TestCa, TlsManner},
};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

/// A Shardcast that trusts `ca`, with a broadcast and a destination that all is well with.
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
    let sibling = secure(&ca, Manners::default());
    harness.create("show").await.unwrap();
    harness.add("show", &sibling.url("sibling")).await.unwrap();
    Show {
        harness,
        ca,
        sibling,
        _ca_directory: ca_directory,
    }
}

fn secure(ca: &Arc<TestCa>, manners: impl Into<Manners>) -> Sink {
    Sink::with(SinkOptions {
        tls: Some(Arc::clone(ca)),
        ..SinkOptions::with(manners)
    })
    .unwrap()
}

impl Show {
    fn publish(&self) -> Publisher {
        let clip = Clip::load(ClipFormat::small()).unwrap();
        Publisher::start(
            clip,
            PublisherOptions::new(self.harness.signalling(), "show"),
        )
    }

    /// The status of a destination once it has words for what went wrong.
    async fn problem(&self, endpoint: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let problem = self.harness.problem("show", endpoint).await.unwrap();
            if !problem.is_empty() {
                return problem;
            }
            assert!(Instant::now() < deadline, "no problem was told");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends the broadcast, and looks whether the sibling has got all of it.
    async fn assert_sibling_unharmed(&self, publisher: Publisher) {
        let sent = publisher.stop().await;
        let ended = |s: &ConnectionReport| s.ended.is_some();
        let sibling = &self.sibling;
        let stream = sibling
            .wait("sibling", "end", PATIENCE, ended)
            .await
            .unwrap();
        assert_eq!(stream.faults(), [""; 0], "{stream:?}");
        assert_eq!(sibling.connections().len(), 1);
        assert!(stream.ended_cleanly(), "{:?}", stream.ended);
        let last = u64::from(stream.last_mark.unwrap());
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
    let sink = secure(&show.ca, Manners::default());
    let endpoint = show
        .harness
        .add("show", &sink.url_by_name("by-name"))
        .await
        .unwrap();
    let publisher = show.publish();
    let named = sink.frames("by-name", 90, PATIENCE).await.unwrap();
    assert!(named.tls);
    assert_eq!(named.tls_server_name.as_deref(), Some("localhost"));
    assert_eq!(named.faults(), [""; 0]);
    let status = show.harness.endpoint("show", &endpoint).await.unwrap();
    assert_eq!(status["status"], "broadcasting", "{status}");
    let addressed = show.sibling.frames("sibling", 90, PATIENCE).await.unwrap();
    assert!(addressed.tls);
    assert_eq!(addressed.tls_server_name, None);
    show.assert_sibling_unharmed(publisher).await;
    let ended = |s: &ConnectionReport| s.ended.is_some();
    let named = sink.wait("by-name", "end", PATIENCE, ended).await.unwrap();
    assert!(named.ended_cleanly(), "{:?}", named.ended);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_be_believed_or_speaks_no_tls_says_so_in_clear_words() {
    let show = show().await;
    let shows = |certificate| Manner::tls(TlsManner::Shows(certificate));
    let cases = [
        (shows(Certificate::Expired), "has expired"),
        (shows(Certificate::WrongName), "for another name"),
        (
            shows(Certificate::UnknownCa),
            "nobody whom this machine trusts",
        ),
        (Manner::tls(TlsManner::Garbage), "does not speak tls"),
        (Manner::tls(TlsManner::HangsUp), "during the tls handshake"),
    ];
    let publisher = show.publish();
    show.sibling.frames("sibling", 30, PATIENCE).await.unwrap();
    for (manner, expected) in cases {
        let sink = secure(&show.ca, manner);
        let url = sink.url_by_name("secret-key");
        assert_words(&show, &url, expected).await;
        assert!(sink.stream("secret-key").is_none(), "it was told the key");
    }
    let plain = Sink::start().unwrap();
    let url = plain.url("secret-key").replace("rtmp://", "rtmps://");
    assert_words(&show, &url, "tls").await;
    show.assert_sibling_unharmed(publisher).await;
}

async fn assert_words(show: &Show, url: &str, expected: &str) {
    let endpoint = show.harness.add("show", url).await.unwrap();
    let words = show.problem(&endpoint).await;
    let lower = words.to_lowercase();
    assert!(lower.contains(expected), "'{words}' has no '{expected}'");
    assert!(!words.contains("secret-key"), "the key is shown: {words}");
    show.harness.remove("show", &endpoint).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tls_connection_that_ends_badly_is_made_again() {
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
        let sink = secure(&show.ca, Manners::first(1, &fault.parse().unwrap()));
        let url = sink.url("again");
        let endpoint = show.harness.add("show", &url).await.unwrap();
        sinks.push((fault, sink, endpoint));
    }
    let publisher = show.publish();
    for (fault, sink, endpoint) in &sinks {
        let again = |s: &ConnectionReport| s.ended.is_none() && s.video_frames >= 60;
        let stream = sink.wait("again", fault, PATIENCE, again).await.unwrap();
        assert_eq!(stream.faults(), [""; 0], "{fault}");
        assert_eq!(sink.at_once_max(), 1, "{fault}");
        assert!(sink.connections().len() >= 2, "{fault}");
        assert!(!show.problem(endpoint).await.is_empty(), "{fault}");
    }
    show.assert_sibling_unharmed(publisher).await;
}
