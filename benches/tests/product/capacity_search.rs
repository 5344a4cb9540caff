//! The search for a capacity: it finds the highest number that holds, in few attempts, wherever it begins;
//! and an attempt that failed by the generator is never called a failure of the server.

use shardcast_bench::{
    capacity::{Levels, Outcome, Search, judge},
    load::{GeneratorFigures, LoadEnd, Window},
    stats::Percentiles,
};

/// Searches a server that holds so many broadcasts; the result, and the number of attempts.
fn found(mut search: Search, limit: u32, holds: u32) -> (u32, u32) {
    let mut tries = 0;
    while let Some(number) = search.next() {
        assert!((1..=limit).contains(&number), "{number} of {limit}");
        search.record(number, number <= holds);
        tries += 1;
        assert!(tries < 40, "the search does not end at {number}");
    }
    (search.held(), tries)
}

#[test]
fn the_highest_number_is_found_to_a_twentieth_wherever_the_search_begins() {
    let limit = 400;
    for holds in [0, 1, 2, 7, 8, 9, 20, 33, 64, 100, 333, 399, 400, 500] {
        let truth = holds.min(limit);
        for start in [1, 8, 50, 400] {
            let (held, tries) = found(Search::new(start, limit), limit, holds);
            assert!(
                held <= truth && truth - held <= truth / 20,
                "{holds} from {start}: {held}"
            );
            assert!(tries <= 16, "{holds} from {start}: {tries} attempts");
        }
    }
}

#[test]
fn a_search_near_an_earlier_result_needs_fewer_attempts() {
    for holds in [20, 60, 200] {
        for earlier in [holds * 9 / 10, holds, holds * 11 / 10] {
            let (held, tries) = found(Search::near(earlier, 1_000), 1_000, holds);
            assert!(
                held <= holds && holds - held <= holds / 20,
                "{holds}: {held}"
            );
            assert!(tries <= 6, "{holds} near {earlier}: {tries} attempts");
        }
    }
    assert_eq!(found(Search::near(0, 100), 100, 0).0, 0);
}

fn percentiles(p99: f64) -> Percentiles {
    Percentiles {
        p50: p99 / 3.0,
        p90: p99 / 2.0,
        p95: p99 / 1.5,
        p99,
        p999: p99 * 1.5,
        max: p99 * 2.0,
        count: 1_000,
    }
}

/// A measurement with this 99th percentile, in which neither side was at its limit.
fn window(p99_ms: f64) -> Window {
    Window {
        seconds: 10.0,
        media_cpu_percent: 50.0,
        others_cpu_percent: 1.0,
        media_mb: 100.0,
        media_mb_grown: 0.0,
        server_cores_busy_percent: 60.0,
        foreign_percent: Some(10.0),
        steal_percent: 0.0,
        publisher_kbps: 2_600.0,
        delay_ms: Some(percentiles(p99_ms)),
        delay_by_ingest: Vec::new(),
        viewer_delay_ms: None,
        added_p99_ms: None,
        hls: None,
        generator: GeneratorFigures {
            cpu_percent: 60.0,
            cpu_percent_max: 100.0,
            cores_busy_percent: 65.0,
            has_cores: true,
            lag_ms: Some(percentiles(0.4)),
            late_share: 0.0,
        },
    }
}

#[test]
fn each_service_level_is_checked() {
    let levels = Levels::default();
    let fine = LoadEnd::default();
    assert_eq!(judge(&window(4.9), &fine, &levels), (Outcome::Holds, None));
    let late = judge(&window(5.1), &fine, &levels);
    assert_eq!(late, (Outcome::ServerFails, Some("p99 5.1 ms".to_owned())));
    let lossy = LoadEnd {
        frames_lost: 3,
        ..LoadEnd::default()
    };
    let (outcome, reason) = judge(&window(1.0), &lossy, &levels);
    assert_eq!(outcome, Outcome::ServerFails);
    assert!(reason.unwrap().contains("3 frames lost"));
    let faulty = LoadEnd {
        faults: vec!["live3: ended by None".to_owned()],
        ..LoadEnd::default()
    };
    assert_eq!(
        judge(&window(1.0), &faulty, &levels).0,
        Outcome::ServerFails
    );
    let mut fanned = window(4.0);
    fanned.added_p99_ms = Some(20.5);
    let (outcome, reason) = judge(&fanned, &fine, &levels);
    assert_eq!(outcome, Outcome::ServerFails);
    assert!(reason.unwrap().contains("20.5 ms later"));
    let mut watched = window(4.0);
    watched.viewer_delay_ms = Some(percentiles(49.0));
    assert_eq!(judge(&watched, &fine, &levels).0, Outcome::Holds);
    watched.viewer_delay_ms = Some(percentiles(51.0));
    let (outcome, reason) = judge(&watched, &fine, &levels);
    assert_eq!(outcome, Outcome::ServerFails);
    assert!(reason.unwrap().contains("51.0 ms at viewers"));
}

#[test]
fn a_generator_at_its_limit_is_said_unless_the_server_is_at_its_own() {
    let fine = LoadEnd::default();
    let levels = Levels::default();
    type Change = fn(&mut GeneratorFigures);
    let at_limit: [(Change, &str); 4] = [
        (
            |it| it.cores_busy_percent = 97.0,
            "its cores were 97 % busy",
        ),
        (|it| it.cpu_percent = 95.0, "it used 95 % of a core"),
        (|it| it.lag_ms = Some(percentiles(3.0)), "3.0 ms late (p99)"),
        (|it| it.late_share = 0.02, "2.0 % of its frames left"),
    ];
    for (change, said) in at_limit {
        let mut limited = window(9.0);
        change(&mut limited.generator);
        let (outcome, reason) = judge(&limited, &fine, &levels);
        assert_eq!(outcome, Outcome::GeneratorLimits, "{said}");
        let reason = reason.unwrap();
        assert!(
            reason.contains(said) && reason.contains("p99 9.0 ms"),
            "{reason}"
        );

        // A generator at its limit that meets the levels proves that the server meets them.
        let mut held = window(4.0);
        change(&mut held.generator);
        assert_eq!(judge(&held, &fine, &levels).0, Outcome::Holds, "{said}");

        limited.server_cores_busy_percent = 98.0;
        assert_eq!(
            judge(&limited, &fine, &levels).0,
            Outcome::ServerFails,
            "{said}"
        );
    }
    assert_eq!(window(9.0).generator.limit(5.0), None);

    let mut disturbed = window(9.0);
    disturbed.server_cores_busy_percent = 100.0;
    disturbed.foreign_percent = Some(50.0);
    let (outcome, reason) = judge(&disturbed, &fine, &levels);
    assert_eq!(outcome, Outcome::Disturbed);
    assert!(reason.unwrap().contains("other programs had 50 %"));
}
