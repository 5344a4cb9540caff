//! Asks the engine what it can do here.

use std::{fs, time::Duration};

use shardcast_link::{machine::Probe, settings::ProbeKind};

use super::{super::Question, program};
use crate::engine_command;

/// How long a probe may take: twice what it waits for platforms, and a start on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// What it found, or why it did not. On a tree of a test, what lies there as `probe.json`.
pub(super) fn ask(question: &Question<'_>) -> Option<Result<Probe, String>> {
    if !question.root.is_live() {
        let text = fs::read_to_string(question.root.path("probe.json")).ok()?;
        return Some(Probe::from_json(&text).map_err(|error| error.to_string()));
    }
    let kind = match question.online {
        true => ProbeKind::Online,
        false => ProbeKind::Offline,
    };
    let answer = engine_command::path(question.settings)
        .map_err(|error| error.to_string())
        .and_then(|path| {
            let mut command = engine_command::command(question.settings, &path);
            command.args(["--probe", kind.as_str()]);
            program::output_of(command, PATIENCE)
        })
        .and_then(|text| Probe::from_json(&text).map_err(|error| error.to_string()));
    Some(answer)
}
