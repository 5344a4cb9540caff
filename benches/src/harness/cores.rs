//! Cores of the engine and of the generator, so that one does not take CPU time from the other.

use std::{fmt, fs, str::FromStr};

use rustix::{
    process::Pid,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

use super::Harness;
use crate::BenchError;

/// Numbers of cores, such as `1` or `0-2,5`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cores(Vec<u16>);

impl Cores {
    /// All cores of this machine that are online; none when the kernel does not tell.
    pub fn online() -> Self {
        let text = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
        text.trim().parse().unwrap_or_default()
    }

    /// These cores without some.
    pub fn without(mut self, others: &[u16]) -> Self {
        self.0.retain(|core| !others.contains(core));
        self
    }

    /// Their numbers.
    pub fn numbers(&self) -> &[u16] {
        &self.0
    }

    fn set(&self) -> CpuSet {
        let mut set = CpuSet::new();
        for core in self.0.iter().map(|core| usize::from(*core)) {
            set.set(core);
        }
        set
    }

    fn contains_all_of(&self, set: &CpuSet) -> bool {
        let ours = self.set();
        (0..CpuSet::MAX_CPU).all(|core| ours.is_set(core) || !set.is_set(core))
    }
}

impl FromStr for Cores {
    type Err = BenchError;

    fn from_str(text: &str) -> Result<Self, BenchError> {
        let invalid = || BenchError::Argument(format!("'{text}' is no list of cores like 0-2,5"));
        let mut cores = Vec::new();
        for range in text.split(',') {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            let number = |text: &str| text.trim().parse::<u16>().map_err(|_| invalid());
            let (from, to) = (number(from)?, number(to)?);
            if from > to || usize::from(to) >= CpuSet::MAX_CPU {
                return Err(invalid());
            }
            cores.extend(from..=to);
        }
        Ok(Self(cores))
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, core) in self.0.iter().enumerate() {
            let separator = if n > 0 { "," } else { "" };
            write!(f, "{separator}{core}")?;
        }
        Ok(())
    }
}

/// Which cores the engine and the generator have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CorePlan {
    /// Cores of the engine: one for each shard. `None`: the first ones, and its other threads roam.
    pub engine: Option<Cores>,
    /// Cores of publishers, sinks and control. `None`: all.
    pub generator: Option<Cores>,
}

impl CorePlan {
    /// The cores of the engine, for a report.
    pub fn engine_text(&self) -> String {
        text(self.engine.as_ref())
    }

    /// Those of publishers, sinks and control, for a report.
    pub fn generator_text(&self) -> String {
        text(self.generator.as_ref())
    }

    /// The `--cores` of the engine; empty when it chooses.
    pub fn engine_cores(&self) -> Vec<u16> {
        let engine = self.engine.as_ref();
        engine.map_or_else(Vec::new, |cores| cores.numbers().to_vec())
    }

    /// Pins a Shardcast that has started, and this process until the result is dropped.
    ///
    /// # Errors
    /// When a process is gone or may not use a core.
    pub fn apply(&self, harness: &Harness) -> Result<Pinned, BenchError> {
        // The shards pin themselves to one core each; this is for the other threads of the engine.
        if let Some(cores) = &self.engine {
            pin(harness.engine_pid(), cores)?;
        }
        if let Some(cores) = &self.generator {
            pin(harness.control_pid(), cores)?;
        }
        self.pin_generator()
    }

    /// Pins this process until the result is dropped.
    ///
    /// # Errors
    /// When it may not use a core.
    pub fn pin_generator(&self) -> Result<Pinned, BenchError> {
        let pinned = Pinned;
        if let Some(cores) = &self.generator {
            pin(own_pid(), cores)?;
        }
        Ok(pinned)
    }
}

fn text(cores: Option<&Cores>) -> String {
    cores.map_or("not stated: shared".to_owned(), ToString::to_string)
}

/// Gives this process all cores back when it is dropped: a Shardcast that is started later would
/// inherit them.
#[derive(Debug)]
#[must_use]
pub struct Pinned;

impl Pinned {
    /// Keeps this process off these cores. Returns the remaining ones; `None` when there are none,
    /// and then nothing changes.
    pub fn off(cores: &[u16]) -> (Self, Option<Cores>) {
        let left = Cores::online().without(cores);
        let left = (!left.numbers().is_empty() && pin(own_pid(), &left).is_ok()).then_some(left);
        (Self, left)
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        for thread in threads(own_pid()) {
            // A thread may have ended since.
            let _ = sched_setaffinity(Some(thread), &Cores::online().set());
        }
    }
}

/// Pins a server and all its descendants; what they start later inherits it.
/// A server that was started by a pinned process inherits that, so the process is pinned afterwards.
///
/// # Errors
/// When a process may not use a core.
pub fn pin_tree(pid: i32, cores: &Cores) -> Result<(), BenchError> {
    for pid in super::process_tree(pid) {
        pin(pid, cores)?;
    }
    Ok(())
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap_or_default()
}

fn threads(pid: i32) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten();
    let number = |name: &str| Pid::from_raw(name.parse().ok()?);
    tasks
        .filter_map(|task| number(task.ok()?.file_name().to_str()?))
        .collect()
}

/// Pins the threads of a process that may run on other cores as well. Threads that it starts later
/// inherit it.
fn pin(pid: i32, cores: &Cores) -> Result<(), BenchError> {
    let failed = |reason: String| BenchError::Program {
        program: format!("pinning process {pid} to cores {cores}"),
        reason,
    };
    let threads = threads(pid);
    if threads.is_empty() {
        return Err(failed("it is gone".to_owned()));
    }
    for thread in threads {
        let is_inside =
            sched_getaffinity(Some(thread)).is_ok_and(|set| cores.contains_all_of(&set));
        if is_inside {
            continue;
        }
        match sched_setaffinity(Some(thread), &cores.set()) {
            // The thread has ended since.
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(failed(error.to_string())),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores_are_read() {
        let cores: Cores = "0-3,5".parse().unwrap();
        assert_eq!(cores.numbers(), [0, 1, 2, 3, 5]);
        assert_eq!(cores.to_string(), "0,1,2,3,5");
        assert_eq!(cores.without(&[1, 5]).numbers(), [0, 2, 3]);
        for bad in ["", "a", "3-1", "0-99999", "1,,2"] {
            assert!(bad.parse::<Cores>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pinned_process_gets_its_cores_back() {
        let own = Some(Pid::from_raw(own_pid()).unwrap());
        let before = sched_getaffinity(own).unwrap();
        if before.count() < 2 {
            return;
        }
        let first = (0..CpuSet::MAX_CPU)
            .find(|core| before.is_set(*core))
            .unwrap();
        {
            let (_pinned, left) = Pinned::off(&[first as u16]);
            assert!(!left.unwrap().numbers().contains(&(first as u16)));
            assert!(!sched_getaffinity(own).unwrap().is_set(first));
        }
        assert!(sched_getaffinity(own).unwrap().is_set(first));
    }
}
