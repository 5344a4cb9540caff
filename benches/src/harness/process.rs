//! CPU time, memory and signals of processes.

use std::{fs, path::Path, time::Duration};

use rustix::process::{Pid, Signal, kill_process};

use crate::BenchError;

/// `USER_HZ`, the unit of CPU time in proc(5); 100 on all architectures that Shardcast supports.
const TICKS_PER_SECOND: u64 = 100;

/// CPU time and memory of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time since its start.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
}

/// CPU time and memory of a process, from `/proc/PID`.
///
/// # Errors
/// When there is no such process.
pub fn usage(pid: i32) -> Result<Usage, BenchError> {
    let cpu = Stat::read(&format!("/proc/{pid}/stat"))?.own();
    // The larger one: the sum over the threads is exact, but lacks those that have ended.
    let cpu = cpu.max(scheduled(pid));
    let gone = |_| gone(&format!("process {pid}"));
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(gone)?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident_kb = resident.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    Ok(Usage {
        cpu,
        resident_bytes: resident_kb.unwrap_or_default() * 1_024,
    })
}

/// CPU time of the present threads of a process; 0 where the kernel keeps no such figures.
fn scheduled(pid: i32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten();
    let nanoseconds = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// A process and all its descendants, the process first.
pub fn process_tree(pid: i32) -> Vec<i32> {
    let mut tree = vec![pid];
    let mut next = 0;
    while let Some(parent) = tree.get(next).copied() {
        next += 1;
        // Children are listed by the thread that started them.
        let tasks = fs::read_dir(format!("/proc/{parent}/task"))
            .into_iter()
            .flatten();
        for task in tasks.filter_map(Result::ok) {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            let children = children
                .split_whitespace()
                .filter_map(|pid| pid.parse::<i32>().ok());
            tree.extend(children);
        }
    }
    tree
}

/// CPU time of all children of this process that have ended and were waited for. Resolution: 10 ms.
///
/// # Errors
/// When there is no `/proc`.
pub fn children_cpu() -> Result<Duration, BenchError> {
    Ok(Stat::read("/proc/self/stat")?.children())
}

/// CPU time of all threads of a process whose names begin with `name`. Resolution: 10 ms a thread.
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
        // A thread may end during the loop; its time is not counted.
        if let (true, Ok(stat)) = (is_it, Stat::read(&at.join("stat").to_string_lossy())) {
            cpu += stat.own();
        }
    }
    Ok(cpu)
}

/// The numbers of a `stat` file of proc(5).
struct Stat(Vec<u64>);

impl Stat {
    fn read(path: &str) -> Result<Self, BenchError> {
        let text = fs::read_to_string(path).map_err(|_| gone(path))?;
        // The process name in parentheses may contain spaces.
        let (_, fields) = text.rsplit_once(')').ok_or_else(|| gone(path))?;
        let number = |field: &str| field.parse().unwrap_or_default();
        Ok(Self(fields.split_whitespace().map(number).collect()))
    }

    /// utime and stime: fields 14 and 15; the first field after the name is number 3.
    fn own(&self) -> Duration {
        self.sum(11)
    }

    /// cutime and cstime: fields 16 and 17.
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

/// Kills process `pid` if it is the engine of this data directory. Another process may have taken
/// the number since.
pub(super) fn kill_engine_of(pid: i32, data_dir: &Path) {
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let ours = data_dir.as_os_str().as_encoded_bytes();
    if !ours.is_empty() && command.windows(ours.len()).any(|window| window == ours) {
        // The engine may have ended since the check.
        let _ = kill(pid);
    }
}
