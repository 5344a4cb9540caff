//! What happened in a run: line by line in a replay, counted in all others.

use std::collections::BTreeMap;

/// Lines in the order of time. Off in most runs, since writing costs more than running.
#[derive(Debug, Default)]
pub(super) struct Trace(Option<Vec<String>>);

impl Trace {
    pub(super) fn on() -> Self {
        Self(Some(Vec::new()))
    }

    pub(super) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn push(&mut self, line: String) {
        if let Some(lines) = &mut self.0 {
            lines.push(line);
        }
    }

    pub(super) fn lines(&self) -> &[String] {
        self.0.as_deref().unwrap_or_default()
    }
}

/// `note!(world, "…")`: a line of the trace with the time of the run in front; free while it is off.
macro_rules! note {
    ($world:expr, $($words:tt)*) => {
        if $world.trace.is_on() {
            let at_ms = ($world.now - $world.start).as_millis();
            let words = format!($($words)*);
            $world.trace.push(format!("{at_ms:>8} ms  {words}"));
        }
    };
}
pub(super) use note;

/// How often things happened, to show that runs are not all of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    pub(super) fn count(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    pub(super) fn add(&mut self, what: &'static str, times: u64) {
        *self.0.entry(what).or_default() += times;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (what, times) in &other.0 {
            self.add(what, *times);
        }
    }

    /// How often this happened.
    pub fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or_default()
    }

    /// A line for each thing that happened.
    pub fn lines(&self) -> Vec<String> {
        let lines = self.0.iter();
        lines
            .map(|(what, times)| format!("{times:>10} {what}"))
            .collect()
    }
}
