//! `compare` drives other servers: it writes their configuration, starts, loads and stops them, and says
//! what the two servers did and did not do alike. nginx-rtmp is the real one, with RTMP in and
//! out on both sides; a relay of ours that speaks WHIP stands in for the servers that Debian does not have.

use std::{fs, time::Duration};

use shardcast_bench::{
    compare::{CompareOptions, CompareReport, OURS, Profile, compare, page},
    live::ServerSetup,
    load::{Ingest, Mix, ShowKind},
    test_clip::TestClipFormat,
};

fn options(profile: Profile, command: Option<String>, destinations: &[u32]) -> CompareOptions {
    let mix = |count| Mix::of(ShowKind::new(count, TestClipFormat::small()));
    CompareOptions {
        profile,
        ingest: profile.usual_ingest(),
        ours: profile.usual_ingest(),
        command,
        broadcasts: vec![2],
        mixes: destinations.iter().map(|count| mix(*count)).collect(),
        runs: 1,
        setup: ServerSetup::default(),
        warm_up: Duration::from_millis(500),
        duration: Duration::from_millis(1_500),
    }
}

/// Both servers were measured with so many sizes of the load, and neither lost a frame.
fn assert_measured(report: &CompareReport, sizes: usize) {
    assert_eq!(report.runs.len(), 2 * sizes);
    for run in &report.runs {
        assert_eq!(run.error, None);
        assert_eq!(run.frames_lost, 0, "{run:?}");
        assert!(run.frames_sent > 100, "{run:?}");
        let window = run.window.as_ref().unwrap();
        assert!(window.delay_ms.unwrap().count > 60, "{run:?}");
        assert!(
            window.media_mb > 1.0 && window.media_cpu_percent > 0.0,
            "{run:?}"
        );
    }
}

/// Processes whose arguments hold all of these texts.
fn processes(texts: &[&str]) -> usize {
    let all = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let command = all.filter_map(|one| fs::read(one.path().join("cmdline")).ok());
    command
        .map(|line| String::from_utf8_lossy(&line).into_owned())
        .filter(|line| texts.iter().all(|text| line.contains(text)))
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_and_shardcast_relay_rtmp_to_few_and_many_destinations() {
    let options = options(Profile::NginxRtmp, None, &[1, 4]);
    let mut report = compare(&options, |_| {}).await.unwrap();
    assert_eq!(processes(&["nginx", "shardcast-bench-"]), 0);
    assert_measured(&report, 2);
    assert_eq!(
        (report.other.as_str(), report.ingest, report.ours),
        ("nginx-rtmp", Ingest::Rtmp, Ingest::Rtmp)
    );
    for run in &report.runs {
        let window = run.window.as_ref().unwrap();
        let [delays] = window.delay_by_ingest.as_slice() else {
            panic!("all are published in one way: {run:?}");
        };
        assert_eq!((delays.ingest, delays.broadcasts), (Ingest::Rtmp, 2));
        assert_eq!(delays.delay_ms, window.delay_ms);
        let streams = 2 * run.size.destinations as usize;
        let frames = window.delay_ms.unwrap().count / streams;
        assert!(frames > 30, "{frames} frames at each destination: {run:?}");
    }
    assert!(report.cpu_percent_per_added(OURS, 2).is_some());
    let said = page(&report, &options).lead.join(" ");
    for expected in [
        "2 broadcasts to 4 destinations",
        "Shardcast (RTMP in, RTMP out)",
        "nginx-rtmp (RTMP in, RTMP out)",
        "At 2 broadcasts each further destination costs Shardcast",
        "Both are given RTMP with H.264 and AAC and pass it on.",
    ] {
        assert!(said.contains(expected), "{said}");
    }

    report.ours = Ingest::WebRtc;
    let said = page(&report, &options).lead.join(" ");
    assert!(said.contains("do not do the same work"), "{said}");
    assert!(said.contains("Shardcast (WebRTC in, RTMP out)"), "{said}");
}

/// The relay, next to this test.
fn relay() -> String {
    let own = std::env::current_exe().unwrap();
    let target = own.parent().unwrap().parent().unwrap();
    let relay = target.join("examples/whip_relay");
    assert!(
        relay.is_file(),
        "{} is missing: run `cargo build --examples` first",
        relay.display()
    );
    relay.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_speaks_whip_is_driven_by_a_command_and_leaves_nothing() {
    let relay = relay();
    let mark = format!("compare-test-{}", std::process::id());
    let command = format!("{relay} {{config}} {mark}");
    let options = options(Profile::Srs, Some(command), &[1]);
    let report = compare(&options, |_| {}).await.unwrap();
    assert_measured(&report, 1);
    assert_eq!(
        (report.other.as_str(), report.ingest, report.ours),
        ("srs", Ingest::WebRtc, Ingest::WebRtc)
    );
    assert_eq!(processes(&[&mark]), 0, "the server was stopped");
    let page = page(&report, &options);
    assert!(
        page.lead
            .iter()
            .any(|line| line == "Both take WebRTC and send RTMP with AAC.")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_start_is_said_with_its_words() {
    let command = Some("sh -c 'echo no licence for {config} >&2; exit 3'".to_owned());
    for profile in [Profile::MediaMtx, Profile::AntMedia] {
        let report = compare(&options(profile, command.clone(), &[1]), |_| {})
            .await
            .unwrap();
        let other = report
            .runs
            .iter()
            .find(|run| run.server == profile.name())
            .unwrap();
        let error = other.error.clone().unwrap();
        assert!(
            error.contains("no licence for /") && error.contains("exit status: 3"),
            "{error}"
        );
    }
    let nobody = compare(&options(Profile::Srs, None, &[1]), |_| {})
        .await
        .unwrap();
    let error = nobody
        .runs
        .iter()
        .find_map(|run| run.error.clone())
        .unwrap();
    assert!(
        error.contains("--server-cmd has to say how srs is started"),
        "{error}"
    );

    let whip = CompareOptions {
        ingest: Ingest::WebRtc,
        ..options(Profile::NginxRtmp, None, &[1])
    };
    let error = compare(&whip, |_| {}).await.unwrap_err();
    assert_eq!(error.to_string(), "nginx-rtmp takes RTMP and no WHIP");
}
