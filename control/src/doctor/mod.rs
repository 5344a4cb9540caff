//! `shardcast doctor`: what this machine is, what that costs Shardcast, and the command that mends it.
//!
//! [`read`] takes a snapshot of the machine, [`Host`]; each of [`check::CHECKS`] is a pure function from
//! it to a [`Finding`]. What can only be known by trying is tried by the engine (`--probe`), which has
//! the limits that count. The readers work on any tree, so that tests have machines of their own.

mod check;
pub mod command;
mod host;
mod read;
mod report;
mod text;

use crate::settings::{EngineSettings, Settings};

pub(crate) use self::{
    host::CpuTimes,
    read::Root,
    report::{Level, Report},
};

/// What is to be looked at, and how.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    /// Where the machine's files are.
    pub(crate) root: &'a Root,
    /// The settings to look at the machine for.
    pub(crate) settings: &'a Settings,
    /// Why the operator's settings are not those, for people.
    pub(crate) settings_problem: Option<String>,
    /// Whether platforms and a STUN server may be called.
    pub(crate) online: bool,
    /// The processors' time at an earlier look; without it steal is counted since the machine started.
    pub(crate) cpu_before: Option<CpuTimes>,
}

impl Question<'_> {
    fn engine(&self) -> &EngineSettings {
        &self.settings.engine
    }
}

/// Looks at the machine. Blocks: it reads files, starts the engine's probe, `ethtool` and `nft`, and waits
/// for answers of the network if it may ask. Returns the processors' time for the next look too.
pub(crate) fn look(question: &Question<'_>) -> (Report, Option<CpuTimes>) {
    let host = read::host(question);
    let findings = check::CHECKS.iter().map(|check| check(&host)).collect();
    let report = Report::new(&host, findings);
    (report, host.cpu_times)
}
