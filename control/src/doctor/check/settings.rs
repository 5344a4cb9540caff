//! The operator's settings.

use super::super::{
    host::Host,
    report::{Finding, Topic},
};

const SETTINGS: Topic = Topic("settings", "Settings");

/// Whether they can be used.
pub(super) fn settings(host: &Host) -> Finding {
    match &host.settings_problem {
        None => SETTINGS.ok("they can be used"),
        Some(problem) => SETTINGS
            .fault(problem.clone())
            .costs("Shardcast does not start; what follows was looked at for the defaults")
            .mend("shardcast run --print-config, with the same flags, until it prints them"),
    }
}
