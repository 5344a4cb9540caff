//! Processes: how much they use, and how they are ended.

use std::{fs, path::Path, time::Duration};

use rustix::process::{Pid, Signal, kill_process};

use crate::BenchError;

/// `USER_HZ`, in which the kernel tells CPU time; fixed on all architectures we run on.
const TICKS_PER_SECOND: u64 = 100;

/// What a process has used and holds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time since its start.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
}

/// Reads `/proc/PID`.
///
/// # Errors
/// When there is no such process.
pub fn usage(pid: i32) -> Result<Usage, BenchError> {
    let gone = || BenchError::Program {
        program: format!("process {pid}"),
        reason: "gone".into(),
    };
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|_| gone())?;
    // The name in parentheses may hold spaces; utime and stime are fields 14 and 15 (proc(5)).
    let (_, fields) = stat.rsplit_once(')').ok_or_else(gone)?;
    let field = |n: usize| -> Option<u64> { fields.split_whitespace().nth(n)?.parse().ok() };
    let ticks = field(11)
        .zip(field(12))
        .map(|(user, system)| user + system)
        .ok_or_else(gone)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|_| gone())?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident_kb = resident.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    Ok(Usage {
        cpu: Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND),
        resident_bytes: resident_kb.unwrap_or_default() * 1_024,
    })
}

/// SIGKILL.
///
/// # Errors
/// When there is no such process.
pub fn kill(pid: i32) -> Result<(), BenchError> {
    signal(pid, Signal::KILL)
}

/// SIGTERM.
///
/// # Errors
/// When there is no such process.
pub fn terminate(pid: i32) -> Result<(), BenchError> {
    signal(pid, Signal::TERM)
}

fn signal(pid: i32, signal: Signal) -> Result<(), BenchError> {
    let failed = |reason: String| BenchError::Program {
        program: format!("process {pid}"),
        reason,
    };
    let target = Pid::from_raw(pid).ok_or_else(|| failed("there is no such number".to_owned()))?;
    kill_process(target, signal).map_err(|e| failed(e.to_string()))
}

/// Kills the engine that serves this data directory, and nothing that has got its number since.
pub(super) fn kill_engine_of(pid: i32, data_dir: &Path) {
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let ours = data_dir.as_os_str().as_encoded_bytes();
    if !ours.is_empty() && command.windows(ours.len()).any(|window| window == ours) {
        // It may have ended in between.
        let _ = kill(pid);
    }
}
