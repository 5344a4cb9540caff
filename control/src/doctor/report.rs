//! What was found, as people and programs read it.

use serde::Serialize;

use super::host::Host;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// As Shardcast wants it.
    Ok,
    /// It could not be looked at.
    Unknown,
    /// Shardcast runs, and it costs something.
    Warning,
    /// Shardcast does not start, or publishers or destinations cannot be served.
    Fault,
}

impl Level {
    /// All of them, the best first.
    pub(crate) const ALL: [Self; 4] = [Self::Ok, Self::Unknown, Self::Warning, Self::Fault];

    /// Its word in JSON and metrics.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// Names it for programs; stays the same from version to version.
    pub(crate) id: &'static str,
    /// Names it for people.
    pub(crate) title: &'static str,
    pub(crate) level: Level,
    /// What is so.
    pub(crate) what: String,
    /// What that costs.
    pub(crate) cost: Option<String>,
    /// The command that mends it.
    pub(crate) command: Option<String>,
}

impl Finding {
    fn new(topic: Topic, level: Level, what: impl Into<String>) -> Self {
        Self {
            id: topic.0,
            title: topic.1,
            level,
            what: what.into(),
            cost: None,
            command: None,
        }
    }

    pub(super) fn costs(mut self, cost: impl Into<String>) -> Self {
        self.cost = Some(cost.into());
        self
    }

    pub(super) fn mend(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }
}

/// What a check looks at: its id and its title.
#[derive(Clone, Copy, Debug)]
pub(super) struct Topic(pub(super) &'static str, pub(super) &'static str);

impl Topic {
    pub(super) fn ok(self, what: impl Into<String>) -> Finding {
        Finding::new(self, Level::Ok, what)
    }

    pub(super) fn unknown(self, what: impl Into<String>) -> Finding {
        Finding::new(self, Level::Unknown, what)
    }

    pub(super) fn warning(self, what: impl Into<String>) -> Finding {
        Finding::new(self, Level::Warning, what)
    }

    pub(super) fn fault(self, what: impl Into<String>) -> Finding {
        Finding::new(self, Level::Fault, what)
    }
}

/// All findings of one look.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Of this layout; raised when a field changes its meaning or goes.
    version: u32,
    /// The version of Shardcast that looked.
    shardcast: &'static str,
    node: String,
    kernel: Option<String>,
    /// When it looked.
    #[serde(rename = "atUnixMs")]
    at_unix_ms: u64,
    /// The worst of the findings.
    level: Level,
    counts: Counts,
    findings: Vec<Finding>,
}

/// How many findings have each level.
#[derive(Clone, Copy, Debug, Serialize)]
struct Counts {
    ok: usize,
    unknown: usize,
    warning: usize,
    fault: usize,
}

impl Report {
    pub(super) fn new(host: &Host, findings: Vec<Finding>) -> Self {
        let count = |level| findings.iter().filter(|one| one.level == level).count();
        Self {
            version: 1,
            shardcast: env!("CARGO_PKG_VERSION"),
            node: host.node.clone(),
            kernel: host.kernel.clone(),
            at_unix_ms: host.now_unix_s.saturating_mul(1_000),
            level: findings
                .iter()
                .map(|one| one.level)
                .max()
                .unwrap_or(Level::Unknown),
            counts: Counts {
                ok: count(Level::Ok),
                unknown: count(Level::Unknown),
                warning: count(Level::Warning),
                fault: count(Level::Fault),
            },
            findings,
        }
    }

    pub(crate) fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many findings have `level`.
    pub(crate) fn count(&self, level: Level) -> usize {
        match level {
            Level::Ok => self.counts.ok,
            Level::Unknown => self.counts.unknown,
            Level::Warning => self.counts.warning,
            Level::Fault => self.counts.fault,
        }
    }

    /// Node and kernel, for a head line.
    pub(super) fn machine(&self) -> String {
        let kernel = self.kernel.as_deref().unwrap_or("an unknown kernel");
        format!(
            "Shardcast {} on {}, Linux {kernel}",
            self.shardcast, self.node
        )
    }
}
