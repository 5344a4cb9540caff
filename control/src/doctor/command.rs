//! The command `shardcast doctor`.

use std::{
    io::{self, Write},
    process::ExitCode,
    thread,
    time::Duration,
};

use super::{CpuTimes, Level, Question, Report, Root, look, read, text};
use crate::{
    cli::{Cli, DoctorOptions},
    settings::{Overrides, Settings},
};

/// A fault was found.
const EXIT_FAULT: u8 = 1;
/// With `--strict`, a warning was. 2 is what clap ends with on wrong usage.
const EXIT_WARNING: u8 = 3;

/// How long steal is counted for: a hundred ticks of each core.
const STEAL_SAMPLE: Duration = Duration::from_secs(1);

/// Looks, prints and gives the exit code.
pub fn run(options: &DoctorOptions) -> ExitCode {
    let (settings, settings_problem) = match settings(options) {
        Ok(settings) => (settings, None),
        Err(problem) => (Settings::defaults(), Some(problem)),
    };
    let root = match &options.root {
        Some(folder) => Root::at(folder),
        None => Root::live(),
    };
    let cpu_before = match options.root {
        Some(_) => None,
        None => sample(&root),
    };
    let (report, _) = look(&Question {
        root: &root,
        settings: &settings,
        settings_problem,
        online: !options.offline && options.root.is_none(),
        cpu_before,
    });
    let printed = match options.json {
        true => serde_json::to_string_pretty(&report).unwrap_or_default() + "\n",
        false => text::of(&report),
    };
    // `| head` closes the pipe before the last line.
    let _ = io::stdout().write_all(printed.as_bytes());
    code(&report, options.strict)
}

fn settings(options: &DoctorOptions) -> Result<Settings, String> {
    Cli::check_own_environment().map_err(|error| error.to_string())?;
    Settings::load(&options.overrides).map_err(|error| error.to_string())
}

/// The processors' time, and a while in which it goes on.
fn sample(root: &Root) -> Option<CpuTimes> {
    let before = read::cpu_times(root);
    thread::sleep(STEAL_SAMPLE);
    before
}

fn code(report: &Report, strict: bool) -> ExitCode {
    if report.count(Level::Fault) > 0 {
        ExitCode::from(EXIT_FAULT)
    } else if strict && report.count(Level::Warning) > 0 {
        ExitCode::from(EXIT_WARNING)
    } else {
        ExitCode::SUCCESS
    }
}

impl Settings {
    /// Those of a server that is told nothing.
    fn defaults() -> Self {
        Self::load(&Overrides::default()).unwrap_or_else(|error| {
            // The defaults do not contradict each other.
            unreachable!("{error}")
        })
    }
}
