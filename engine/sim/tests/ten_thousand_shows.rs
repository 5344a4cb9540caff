//! The seeded runs. `make replay SEED=n` shows one of them line by line.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test")]

use shardcast_sim::seeded::{MET, report, run, run_all};

/// Names one run to be replayed with a trace.
const SEED_VARIABLE: &str = "SHARDCAST_SEED";
const RUNS: u64 = 10_000;

#[test]
fn ten_thousand_seeded_runs_keep_every_promise() {
    if let Ok(seed) = std::env::var(SEED_VARIABLE) {
        let outcome = run(seed.parse().unwrap(), true);
        println!("{}", outcome.trace.join("\n"));
        assert_eq!(outcome.broken, None);
        return;
    }
    match run_all(RUNS) {
        Ok(tally) => {
            println!("{}", tally.lines().join("\n"));
            let unmet = MET.into_iter().filter(|what| tally.of(what) < 50);
            assert_eq!(
                unmet.collect::<Vec<_>>(),
                [""; 0],
                "too seldom to prove anything"
            );
        }
        Err((seed, broken)) => panic!("{}", report(seed, &broken)),
    }
}

#[test]
fn the_same_number_gives_the_same_run() {
    for seed in 0..20 {
        let (once, again) = (run(seed, true), run(seed, true));
        assert!(!once.trace.is_empty());
        assert_eq!(once.trace, again.trace, "seed {seed}");
        assert_eq!(once.tally, again.tally, "seed {seed}");
    }
}
