//! Whole shows of one shard against faulty servers, each decided by one number and in simulated time:
//! publishers come and go, servers refuse, hang, reset, vanish and recover, operators change their
//! minds. Every promise of a destination is checked all the time:
//!
//! * A stream begins with headers and a keyframe, and so does what follows a gap. No time stamp steps
//!   back. Filler takes the place of an absent publisher without a hole, and a keyframe ends it
//!   (`stream_checker`). Filler shows what it shall (`still_encoder`). Audio that flows is not replaced
//!   (`microphone`).
//! * What an encoder sends by RTMP arrives to the byte, at the distances in time that it had, and with its sound at its
//!   pictures (`encoder_ledger`). Its session ends when the encoder or the operator ends it, and never else (`encoder`).
//! * A switch between the publisher's video and a rendition begins with headers and a keyframe and
//!   leaves no hole in video or audio (`switches`). Each destination is sent the video that its settings
//!   ask for (`video_checks`). A decoder is given only what it can follow (`codecs`). No rendition is
//!   made twice, for no destination, or beyond the capacity (`video_transcoders`).
//! * A destination has at most one connection, tries again when its retry policy says and not before,
//!   gives up when the policy says and never else, and is live soon after its server has recovered
//!   (`expected_state`).
//! * It is called live only while its server acknowledges media. A dead connection is closed
//!   (`network`). Events of a connection that was closed change nothing (`traffic`).
//! * Clients that play by RTMP are sent what destinations are (`players`).
//! * Each viewer is sent a gapless sequence that begins with a keyframe, and everything at once, whatever the others do:
//!   those that lose, fall silent, flood, or never come (`viewer_ledger`, `viewer_checker`, `viewers`). Destinations are
//!   sent the same with viewers and without.
//! * A recording lacks no picture that was on air, and no sound of it; it can be read up to its last fragment, also
//!   where its disk has failed; what waits for a disk is bounded; it goes on when the disk does (`recordings`,
//!   `disk`). Destinations notice nothing of a disk, to the byte (`twin`). HLS is numbered and timed without a hole,
//!   and ends once (`packages`). Both keep the promises of a stream (`cmaf_checker`).
//! * A stream that is ended in order says so; one that breaks off does not (`network`). A destination
//!   that was removed is gone at once, in whatever state (`schedule`). At the end nothing is left
//!   (`world`).
//!
//! ```text
//!  plan, generator, consumer_plan
//!                  └─► schedule, publisher ──► world ◄── network, traffic, transcoders, still_encoder
//!  (what a seed         (what happens)         │ Shard   (what comes of it)
//!   stands for)                                └──► stream_checker, switches, expected_state,
//!  viewer_plan ──► viewers ──► world                video_checks, viewer_ledger, viewer_checker
//!                                                   (what was promised)
//! ```

mod audio;
mod audio_checker;
mod cmaf_checker;
mod connection;
mod consumer_plan;
mod disk;
mod encoder;
mod encoder_ledger;
mod expected_state;
mod generator;
mod microphone;
mod network;
mod packages;
mod plan;
mod players;
mod publisher;
mod recordings;
mod recovery;
mod reports;
mod schedule;
mod still_encoder;
mod stream_checker;
mod switches;
mod trace;
mod traffic;
mod twin;
mod video_checks;
mod video_transcoders;
mod viewer_checker;
mod viewer_ledger;
mod viewer_network;
mod viewer_plan;
mod viewer_verdicts;
mod viewers;
mod world;

use std::{
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

pub use self::trace::Tally;
use self::{consumer_plan::Beside, trace::Trace, world::World};

/// Lines of the trace that are shown of a run that failed.
const LINES_SHOWN: usize = 60;
/// No seed is at work.
const NO_SEED: u64 = u64::MAX;
const WATCH_INTERVAL: Duration = Duration::from_millis(100);
/// A run takes milliseconds. One that takes so long, on any machine, does not end.
const RUN_TIME_MAX: Duration = Duration::from_secs(60);

/// What has to happen again and again for the runs to prove anything.
pub const MET: [&str; 119] = [
    "event of a connection that was closed",
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
    "stumbles over an offer of Opus",
    "Opus received",
    "silent Opus received",
    "reported that parts were left out",
    "publisher lost",
    "publisher stopped",
    "publisher replaced",
    "picture lost",
    "audio lost",
    "microphone stalled",
    "picture repeated",
    "keyframe sent again",
    "last picture as a still frame",
    "slate shown",
    "slate replaced",
    "slate removed",
    "still frame encoded late",
    "filler while publishing",
    "gave up",
    "on air",
    "gaps closed by a keyframe",
    "stream ended in order",
    "URL changed",
    "broadcast taken away",
    "removed while resolving",
    "removed while connecting",
    "removed while handshaking",
    "removed while publishing",
    "removed while backing off",
    "removed while live",
    "video settings changed",
    "publisher sends VP8",
    "publisher's size changed",
    "rendition made",
    "rendition refused",
    "rendition failed",
    "video transcoder closed",
    "video transcoder stalled",
    "keyframe wanted by a transcoder",
    "picture too late to be encoded",
    "picture repeated in renditions",
    "slate in renditions",
    "sent a rendition on request",
    "sent a rendition after a violation",
    "sent passthrough on request",
    "encoder came",
    "encoder lost",
    "encoder ended its stream",
    "encoder replaced",
    "encoder's line stalled",
    "encoder silent",
    "pictures of encoders received",
    "audio of encoders received",
    "viewer came by its own offer",
    "viewer came by the shard's offer",
    "viewer waits for a publisher",
    "viewer connected",
    "viewer never came",
    "viewer removed",
    "viewer closed its page",
    "viewer lost",
    "viewer ended with the broadcast",
    "viewer asks for a keyframe",
    "viewer asks for a height",
    "viewer wants video or none",
    "viewer sent another rung",
    "viewer reported",
    "viewer went on at a keyframe",
    "viewer went over to other video",
    "pictures seen by viewers",
    "packets sent to viewers again",
    "audio sent to viewers",
    "run without its viewers",
    "player came",
    "player refused",
    "player removed",
    "player lost",
    "player closed that took nothing",
    "pictures seen by players",
    "recording's file opened",
    "recording ended by the operator",
    "recording failed",
    "recording that can be read",
    "disk slow",
    "disk stands still",
    "disk full",
    "disk well again",
    "pictures recorded",
    "audio recorded",
    "pictures of encoders recorded",
    "audio of encoders recorded",
    "same bytes with a disk that is well",
    "same bytes without a recording",
    "HLS segment",
    "HLS part",
    "HLS part of a rung",
    "HLS of a rendition",
    "HLS discontinuity",
    "HLS ended",
    "HLS ended by the operator",
];

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// How often what happened.
    pub tally: Tally,
    /// Line by line what happened, if it was to be traced.
    pub trace: Vec<String>,
    /// The promise that was broken.
    pub broken: Option<String>,
}

/// The run that `seed` stands for.
pub fn run(seed: u64, traced: bool) -> Outcome {
    let trace = if traced {
        Trace::on()
    } else {
        Trace::default()
    };
    let mut world = World::new(seed, trace, Beside::Planned);
    let both = |world: &mut World| world.run().and_then(|()| twin::compare(seed, world));
    let verdict = catch_unwind(AssertUnwindSafe(|| both(&mut world)))
        .unwrap_or_else(|_| Err("a panic, see above".to_owned()));
    let verdict = verdict.and_then(|()| world.is_same_without_viewers(seed));
    let at_ms = (world.now - world.start).as_millis();
    let mut tally = world.tally.clone();
    tally.add("simulated seconds", u64::try_from(at_ms / 1_000).unwrap());
    let refused = world.view().renditions_refused();
    tally.add("rendition refused", refused);
    tally.add("pictures seen by players", world.players.pictures());
    for conn in world.conns.values() {
        tally.add("pictures received", conn.checker.pictures);
        tally.add("gaps closed by a keyframe", conn.checker.gaps);
        tally.add("picture repeated", conn.checker.repetitions);
        tally.add("keyframe sent again", conn.checker.resent);
        tally.add("last picture as a still frame", conn.checker.stills);
        tally.add("slate shown", conn.checker.slates);
        tally.add("pictures of renditions received", conn.checker.made);
        tally.add("switched between pictures", conn.checker.switches);
        tally.add("Opus received", conn.checker.audio.opus);
        tally.add("silent Opus received", conn.checker.audio.opus_silent);
        tally.add(
            "pictures of encoders received",
            conn.checker.encoder.pictures,
        );
        tally.add("audio of encoders received", conn.checker.encoder.frames);
    }
    Outcome {
        tally,
        trace: world.trace.lines().to_vec(),
        broken: verdict
            .err()
            .map(|reason| format!("seed {seed} at {at_ms} ms: {reason}")),
    }
}

/// What is printed of a run that failed: it is run again to see what led there.
pub fn report(seed: u64, broken: &str) -> String {
    let trace = run(seed, true).trace;
    let lines = &trace[trace.len().saturating_sub(LINES_SHOWN)..];
    format!(
        "{}\n{broken}\nreplay it with: make replay SEED={seed}\n",
        lines.join("\n")
    )
}

/// Runs all of them on as many threads as there are cores; gives the counts, or the first run
/// that failed.
pub fn run_all(runs: u64) -> Result<Tally, (u64, String)> {
    let next = AtomicU64::new(0);
    let total = Mutex::new(Tally::default());
    let first_broken: Mutex<Option<(u64, String)>> = Mutex::new(None);
    let threads = thread::available_parallelism().map_or(2, usize::from);
    let at_work: Vec<_> = (0..threads).map(|_| AtomicU64::new(NO_SEED)).collect();
    thread::scope(|scope| {
        for seed_at_work in &at_work {
            let (next, total, first_broken) = (&next, &total, &first_broken);
            scope.spawn(move || {
                let mut tally = Tally::default();
                while first_broken.lock().unwrap().is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= runs {
                        break;
                    }
                    seed_at_work.store(seed, Ordering::Relaxed);
                    let outcome = run(seed, false);
                    tally.merge(&outcome.tally);
                    if let Some(broken) = outcome.broken {
                        first_broken.lock().unwrap().get_or_insert((seed, broken));
                    }
                }
                seed_at_work.store(NO_SEED, Ordering::Relaxed);
                total.lock().unwrap().merge(&tally);
            });
        }
        watch(&at_work);
    });
    match first_broken.into_inner().unwrap() {
        Some(broken) => Err(broken),
        None => Ok(total.into_inner().unwrap()),
    }
}

/// Returns when no thread is at work any more. A shard that loops inside one call cannot be stopped
/// from outside: its seed is printed, and the process ends.
fn watch(at_work: &[AtomicU64]) {
    let started = Instant::now();
    let mut since: Vec<_> = at_work.iter().map(|_| (NO_SEED, started)).collect();
    loop {
        thread::sleep(WATCH_INTERVAL);
        let now = Instant::now();
        for (at_work, since) in at_work.iter().zip(&mut since) {
            let seed = at_work.load(Ordering::Relaxed);
            if seed != since.0 {
                *since = (seed, now);
            }
            if seed != NO_SEED && now - since.1 > RUN_TIME_MAX {
                // Not by eprintln!, whose output a test harness keeps until the test ends.
                let line = format!("seed {seed}: the shard loops inside one call\n");
                let _ = std::io::stderr().write_all(line.as_bytes());
                std::process::exit(1);
            }
        }
        if since.iter().all(|(seed, _)| *seed == NO_SEED) && now > started + WATCH_INTERVAL {
            return;
        }
    }
}
