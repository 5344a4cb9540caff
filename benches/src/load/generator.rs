//! Whether the generator, and not the server, is what a measurement shows.
//!
//! Publishers, sinks and the server share a machine. Where publishers send late or sinks read late because
//! their own cores are full, a server is called slow that is not.

use serde::Serialize;

use crate::stats::Percentiles;

/// From this share of their time on, cores are full: what is left is not enough to work at once on what
/// arrives.
pub const BUSY_PERCENT: f64 = 92.0;
/// From this share of frames on that left 5 ms late, the 99th percentile of the delay can be the
/// generator's.
const LATE_SHARE: f64 = 0.01;

/// How the generator was during a measurement.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct GeneratorFigures {
    /// CPU time of publishers and sinks, in percent of a core.
    pub cpu_percent: f64,
    /// CPU time that they can have: threads or cores, whichever are fewer, in percent of a core.
    pub cpu_percent_max: f64,
    /// Time in which the generator's cores were not idle, in percent; of all cores when it has none of
    /// its own.
    pub cores_busy_percent: f64,
    /// The generator has cores of its own.
    pub has_cores: bool,
    /// From the time at which something was there for a task of the generator until the task ran.
    pub lag_ms: Option<Percentiles>,
    /// Frames that left more than 5 ms after their time, as a share of all.
    pub late_share: f64,
}

impl GeneratorFigures {
    /// Why the generator is a limit itself, where the 99th percentile of the delay may be `p99_ms`;
    /// `None` when it is not.
    pub fn limit(&self, p99_ms: f64) -> Option<String> {
        let lag_ms = self.lag_ms.map_or(0.0, |lag| lag.p99);
        let whose = if self.has_cores {
            "its cores were"
        } else {
            "the cores that it shares with the server were"
        };
        let mut reasons = Vec::new();
        if self.cores_busy_percent >= BUSY_PERCENT {
            reasons.push(format!("{whose} {:.0} % busy", self.cores_busy_percent));
        }
        if self.cpu_percent >= self.cpu_percent_max * BUSY_PERCENT / 100.0 {
            reasons.push(format!(
                "it used {:.0} % of a core of the {:.0} % that its threads can",
                self.cpu_percent, self.cpu_percent_max
            ));
        }
        // Half of the delay that is measured would be the generator's own.
        if lag_ms > p99_ms / 2.0 {
            reasons.push(format!("its tasks ran {lag_ms:.1} ms late (p99)"));
        }
        if self.late_share > LATE_SHARE {
            reasons.push(format!(
                "{:.1} % of its frames left more than 5 ms late",
                self.late_share * 100.0
            ));
        }
        (!reasons.is_empty()).then(|| reasons.join(", "))
    }
}
