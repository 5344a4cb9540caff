//! Finds the highest load that a machine carries within its service levels.
//!
//! Each attempt has its own Shardcast, so that what an overload leaves does not spoil the next one. An
//! attempt that fails while the generator was at its limit, and the server was not, says nothing about the
//! server: then the result is a lower bound, and the report says so.

mod attempt;
mod page;
mod search;

use std::time::{Duration, Instant};

use serde::Serialize;

pub use attempt::{Attempt, Levels, Outcome, judge};
pub use page::page;
pub use search::Search;

use crate::live::ServerSetup;
use crate::load::{Clips, Mix};
use crate::stats::Spread;

/// What is searched, and what a load has to meet.
#[derive(Clone, Debug)]
pub struct CapacityOptions {
    /// First number of broadcasts; doubled until one does not hold.
    pub start: u32,
    /// Highest number to try.
    pub limit: u32,
    /// Searches, one after the other; each begins where the one before ended.
    pub runs: u32,
    /// How often a number that does not hold is tried again before it counts.
    pub retries: u32,
    /// Service levels.
    pub levels: Levels,
    /// The Shardcast and its cores.
    pub setup: ServerSetup,
    /// The broadcasts.
    pub mix: Mix,
    /// Time from the last start to the measurement.
    pub warm_up: Duration,
    /// Length of each measurement.
    pub duration: Duration,
    /// No attempt begins later than this after the first.
    pub time_limit: Option<Duration>,
}

/// What ended a search.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "by", content = "reason")]
pub enum Bound {
    /// The server did not hold more; why.
    Server(String),
    /// The generator could not do more; why. The server may carry more.
    Generator(String),
    /// Other programs had the server's cores; how much. The server may carry more.
    Disturbed(String),
    /// The highest number to try held.
    Limit,
    /// The time was over before the search ended.
    Time,
}

/// One search.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// Highest number of broadcasts that held; 0 when none did.
    pub highest: u32,
    /// Lowest number that did not hold.
    pub failed: Option<u32>,
    /// What ended it.
    pub bound: Bound,
}

/// Result of all searches.
#[derive(Clone, Debug, Serialize)]
pub struct CapacityReport {
    /// The searches in their order.
    pub runs: Vec<Found>,
    /// Smallest, median and largest of their results.
    pub highest: Option<Spread>,
    /// In the order in which they were made.
    pub attempts: Vec<Attempt>,
}

impl CapacityReport {
    /// Whether each search was ended by the server, so that the result is one of the server.
    pub fn is_of_server(&self) -> bool {
        let mut runs = self.runs.iter();
        runs.all(|run| matches!(run.bound, Bound::Server(_)))
    }
}

/// Makes all searches. `progress` is called with a line of text before and after each attempt.
pub async fn capacity(options: &CapacityOptions, progress: impl Fn(&str)) -> CapacityReport {
    let clips = Clips::default();
    let started = Instant::now();
    let mut report = CapacityReport {
        runs: Vec::new(),
        highest: None,
        attempts: Vec::new(),
    };
    for run in 1..=options.runs.max(1) {
        let mut search = match report.runs.last() {
            Some(last) => Search::near(last.highest, options.limit),
            None => Search::new(options.start, options.limit),
        };
        let mut bound = Bound::Limit;
        while let Some(broadcasts) = search.next() {
            let is_over = |limit| started.elapsed() >= limit;
            if options.time_limit.is_some_and(is_over) {
                bound = Bound::Time;
                break;
            }
            progress(&format!("run {run}: {broadcasts} broadcasts …"));
            let mut attempt = attempt::make(options, &clips, run, broadcasts).await;
            progress(&attempt.line());
            for _ in 0..options.retries {
                if attempt.outcome == Outcome::Holds {
                    break;
                }
                let again = attempt::make(options, &clips, run, broadcasts).await;
                report.attempts.push(std::mem::replace(&mut attempt, again));
                progress(&format!("again: {}", attempt.line()));
            }
            search.record(broadcasts, attempt.outcome == Outcome::Holds);
            report.attempts.push(attempt);
        }
        if report.attempts.iter().all(|attempt| attempt.run != run) {
            // The time was over before this run.
            break;
        }
        report.runs.push(Found {
            highest: search.held(),
            failed: search.failed(),
            bound: bound_of(&report.attempts, run, search.failed()).unwrap_or(bound),
        });
    }
    let highest = report.runs.iter().map(|run| f64::from(run.highest));
    report.highest = Spread::of(highest.collect());
    report
}

/// What the lowest number of a run that did not hold failed by; `None` without one.
fn bound_of(attempts: &[Attempt], run: u32, failed: Option<u32>) -> Option<Bound> {
    let is_it = |attempt: &&Attempt| attempt.run == run && Some(attempt.broadcasts) == failed;
    let last = attempts.iter().rev().find(is_it)?;
    let reason = last.reason.clone().unwrap_or_default();
    match last.outcome {
        Outcome::Holds => None,
        Outcome::ServerFails => Some(Bound::Server(reason)),
        Outcome::GeneratorLimits => Some(Bound::Generator(reason)),
        Outcome::Disturbed => Some(Bound::Disturbed(reason)),
    }
}
