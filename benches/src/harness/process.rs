//! Processes: how much they use, and how they are ended.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

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
    let cpu = Stat::read(&format!("/proc/{pid}/stat"))?.own();
    let gone = |_| gone(&format!("process {pid}"));
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(gone)?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident_kb = resident.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    Ok(Usage {
        cpu,
        resident_bytes: resident_kb.unwrap_or_default() * 1_024,
    })
}

/// CPU time of all children of this process that have ended and were waited for, to 10 ms.
///
/// # Errors
/// When there is no `/proc`.
pub fn children_cpu() -> Result<Duration, BenchError> {
    Ok(Stat::read("/proc/self/stat")?.children())
}

/// CPU time of all threads of a process whose names begin so, to 10 ms each.
///
/// # Errors
/// When there is no such process.
pub fn threads_cpu(pid: i32, name: &str) -> Result<Duration, BenchError> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let tasks = tasks.map_err(|_| gone(&format!("process {pid}")))?;
    let mut cpu = Duration::ZERO;
    for task in tasks.filter_map(Result::ok) {
        let at = task.path();
        let is_it = fs::read_to_string(at.join("comm")).is_ok_and(|comm| comm.starts_with(name));
        // A thread that ends meanwhile is not counted.
        if let (true, Ok(stat)) = (is_it, Stat::read(&at.join("stat").to_string_lossy())) {
            cpu += stat.own();
        }
    }
    Ok(cpu)
}

/// Keeps all threads of this process, and the programs that it starts from now on, off these cores,
/// so that what runs there is measured and not the generator. A machine with no other core is left
/// as it is. Says which cores are left; nothing when that could not be done.
pub fn keep_off(cores: &[u16]) -> Option<String> {
    let online = fs::read_to_string("/sys/devices/system/cpu/online").ok()?;
    let left: Vec<String> = listed(online.trim())
        .filter(|core| !cores.contains(core))
        .map(|core| core.to_string())
        .collect();
    let left = left.join(",");
    let own = std::process::id().to_string();
    let done = Command::new("taskset")
        .args(["-a", "-p", "-c", &left, &own])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    done.is_ok_and(|status| status.success()).then_some(left)
}

/// The numbers in a list like `0-3,5`.
fn listed(text: &str) -> impl Iterator<Item = u16> + '_ {
    text.split(',').flat_map(|range| {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        match (from.parse::<u16>(), to.parse::<u16>()) {
            (Ok(from), Ok(to)) => from..to.saturating_add(1),
            _ => 0..0,
        }
    })
}

/// The numbers of a `stat` file of proc(5).
struct Stat(Vec<u64>);

impl Stat {
    fn read(path: &str) -> Result<Self, BenchError> {
        let text = fs::read_to_string(path).map_err(|_| gone(path))?;
        // The name in parentheses may hold spaces.
        let (_, fields) = text.rsplit_once(')').ok_or_else(|| gone(path))?;
        let number = |field: &str| field.parse().unwrap_or_default();
        Ok(Self(fields.split_whitespace().map(number).collect()))
    }

    /// utime and stime, fields 14 and 15 of which 3 is the first behind the name.
    fn own(&self) -> Duration {
        self.sum(11)
    }

    /// cutime and cstime, the two behind.
    fn children(&self) -> Duration {
        self.sum(13)
    }

    fn sum(&self, at: usize) -> Duration {
        let ticks: u64 = self.0.iter().skip(at).take(2).sum();
        Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND)
    }
}

fn gone(what: &str) -> BenchError {
    BenchError::Program {
        program: what.to_owned(),
        reason: "gone".into(),
    }
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

/// SIGSTOP: the process hangs until [`resume`].
///
/// # Errors
/// When there is no such process.
pub fn pause(pid: i32) -> Result<(), BenchError> {
    signal(pid, Signal::STOP)
}

/// SIGCONT.
///
/// # Errors
/// When there is no such process.
pub fn resume(pid: i32) -> Result<(), BenchError> {
    signal(pid, Signal::CONT)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores_are_read() {
        assert_eq!(listed("0-3,5").collect::<Vec<_>>(), [0, 1, 2, 3, 5]);
        assert_eq!(listed("0").collect::<Vec<_>>(), [0]);
        assert_eq!(listed("").count(), 0);
    }
}
