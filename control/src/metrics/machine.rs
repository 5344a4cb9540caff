//! What the last look at the machine found.

use super::Text;
use crate::{doctor::Level, state::Control};

impl Text {
    pub(super) fn machine(&mut self, control: &Control) {
        let name = "shardcast_doctor_findings";
        self.family(
            name,
            "gauge",
            "findings of the last look at the machine, by level; none before the first look",
        );
        let Some(look) = control.machine.last() else {
            return;
        };
        for level in Level::ALL {
            let labels = format!("{{level=\"{}\"}}", level.word());
            self.row(name, &labels, look.report.count(level) as u64);
        }
    }
}
