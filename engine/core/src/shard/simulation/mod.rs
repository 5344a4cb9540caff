//! Thousands of runs of a whole shard against faulty servers, each decided by one number and in
//! simulated time: publishers come and go, servers refuse, hang, reset, vanish and get well again,
//! operators change their minds. Every promise of a destination is watched all the time:
//!
//! * what a server is sent begins with headers and a keyframe, and so does what follows a gap; no
//!   time stamp steps back; while the publisher sends nothing of use there is no hole, and after it
//!   a keyframe (`witness`); what its microphone says is heard (`microphone`);
//! * the broadcast's own pictures show what they shall (`easel`);
//! * a change between the publisher's picture and a rendition begins with headers and a keyframe and
//!   leaves no hole, in pictures or in sound (`witness`); each destination is sent the picture that
//!   it is to have (`pictures`); lanes are told what a decoder can follow, nothing is made twice, for
//!   nobody, or beyond what the machine has room for (`loom`);
//! * a destination has at most one connection, tries again when its policy says and not before,
//!   gives up when the policy says and never else, and is on air soon after its server is well
//!   again (`ledger`);
//! * it is called live only while its server acknowledges media; a dead connection is left
//!   (`network`);
//! * a stream that is ended by wish says so, one that breaks off does not; who was removed is gone
//!   at once, in whatever state; at the end nothing is left (`world`).
//!
//! ```text
//!  plan, wishes ── turns, publisher ──► world ◄── network, server, wire, easel, loom, sound
//!                  (what happens)        │ Shard   (what comes of it)
//!                                        └──► witness, ledger, pictures (what was promised)
//! ```
//!
//! A run that breaks a promise is printed with its number; `make replay SEED=n` shows it line by
//! line.

mod easel;
mod ledger;
mod loom;
mod microphone;
mod network;
mod picture;
mod pictures;
mod plan;
mod publisher;
mod random;
mod server;
mod sound;
mod switches;
mod trace;
mod turns;
mod weave;
mod wire;
mod wishes;
mod witness;
mod world;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use self::{
    trace::{Tally, Trace},
    world::World,
};

/// Names one run to be replayed with a trace.
const SEED_VARIABLE: &str = "SHARDCAST_SEED";
const RUNS: u64 = 10_000;
/// Lines of the trace that are shown of a run that failed.
const LINES_SHOWN: usize = 60;

/// What has to happen again and again for the runs to prove anything.
const MET: [&str; 60] = [
    "name unknown",
    "name answered late",
    "connection refused",
    "connection hangs",
    "TLS fails",
    "handshake hangs",
    "answers garbage",
    "hangs up",
    "key rejected",
    "key in use",
    "answers late",
    "answers in pieces",
    "resets",
    "closes in order",
    "ends the stream",
    "stops reading",
    "vanishes",
    "reads slowly",
    "told that parts were left out",
    "publisher lost",
    "publisher stopped",
    "publisher replaced",
    "picture lost",
    "sound lost",
    "microphone stalled",
    "picture repeated",
    "keyframe sent again",
    "last picture coded anew",
    "slate shown",
    "slate replaced",
    "slate removed",
    "picture coded late",
    "hole filled while publishing",
    "gave up",
    "on air",
    "gaps closed by a keyframe",
    "stream ended by wish",
    "URL changed",
    "broadcast taken away",
    "removed while resolving",
    "removed while connecting",
    "removed while handshaking",
    "removed while publishing",
    "removed while backing off",
    "removed while live",
    "another picture wanted",
    "publisher sends VP8",
    "publisher's size changed",
    "rendition made",
    "rendition refused",
    "rendition failed",
    "lane closed",
    "lane stalled",
    "keyframe wanted by a lane",
    "picture too late to be made",
    "picture repeated in renditions",
    "slate in renditions",
    "sent a rendition at will",
    "sent a rendition when terms were broken",
    "sent the publisher's picture at will",
];

/// What came of a run.
struct Outcome {
    tally: Tally,
    trace: Vec<String>,
    broken: Option<String>,
}

fn run(seed: u64, trace: Trace) -> Outcome {
    let mut world = World::new(seed, trace);
    let verdict = catch_unwind(AssertUnwindSafe(|| world.run()))
        .unwrap_or_else(|_| Err("a panic, see above".to_owned()));
    let at_ms = (world.now - world.start).as_millis();
    let mut tally = world.tally.clone();
    tally.add("simulated seconds", u64::try_from(at_ms / 1_000).unwrap());
    let refused = world.shard.budget.status(0).refused;
    tally.add("rendition refused", refused);
    for conn in world.conns.values() {
        tally.add("pictures received", conn.witness.pictures);
        tally.add("gaps closed by a keyframe", conn.witness.gaps);
        tally.add("picture repeated", conn.witness.repetitions);
        tally.add("keyframe sent again", conn.witness.resent);
        tally.add("last picture coded anew", conn.witness.stills);
        tally.add("slate shown", conn.witness.slates);
        tally.add("pictures of renditions received", conn.witness.made);
        tally.add("switched between pictures", conn.witness.switches);
    }
    Outcome {
        tally,
        trace: world.trace.lines().to_vec(),
        broken: verdict
            .err()
            .map(|words| format!("seed {seed} at {at_ms} ms: {words}")),
    }
}

/// What is printed of a run that failed: it is run again to see what led there.
fn report(seed: u64, broken: &str) -> String {
    let trace = run(seed, Trace::on()).trace;
    let lines = &trace[trace.len().saturating_sub(LINES_SHOWN)..];
    format!(
        "{}\n{broken}\nreplay it with: make replay SEED={seed}\n",
        lines.join("\n")
    )
}

/// Runs all of them on as many threads as there are cores; gives the counts, or the first run
/// that failed.
fn run_all(runs: u64) -> Result<Tally, (u64, String)> {
    let next = AtomicU64::new(0);
    let total = Mutex::new(Tally::default());
    let first_broken: Mutex<Option<(u64, String)>> = Mutex::new(None);
    let threads = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut tally = Tally::default();
                while first_broken.lock().unwrap().is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= runs {
                        break;
                    }
                    let outcome = run(seed, Trace::default());
                    tally.merge(&outcome.tally);
                    if let Some(broken) = outcome.broken {
                        first_broken.lock().unwrap().get_or_insert((seed, broken));
                    }
                }
                total.lock().unwrap().merge(&tally);
            });
        }
    });
    match first_broken.into_inner().unwrap() {
        Some(broken) => Err(broken),
        None => Ok(total.into_inner().unwrap()),
    }
}

#[test]
fn ten_thousand_seeded_runs_keep_every_promise() {
    if let Ok(seed) = std::env::var(SEED_VARIABLE) {
        let outcome = run(seed.parse().unwrap(), Trace::on());
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
        let (once, again) = (run(seed, Trace::on()), run(seed, Trace::on()));
        assert!(!once.trace.is_empty());
        assert_eq!(once.trace, again.trace, "seed {seed}");
        assert_eq!(once.tally, again.tally, "seed {seed}");
    }
}
