//! How busy cores were, by the kernel's own account: all processes, interrupts and stolen time.

use std::fs;

use super::Cores;

/// Time of some cores since the machine started, in units of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoreTimes {
    total: u64,
    idle: u64,
    stolen: u64,
}

impl CoreTimes {
    /// The sum over these cores; over all when `None`.
    pub fn now(cores: Option<&Cores>) -> Self {
        Self::parse(&fs::read_to_string("/proc/stat").unwrap_or_default(), cores)
    }

    /// Reads the lines `cpuN` of proc(5).
    fn parse(stat: &str, cores: Option<&Cores>) -> Self {
        let mut sum = Self::default();
        for line in stat.lines() {
            let Some((core, times)) = line.strip_prefix("cpu").and_then(|l| l.split_once(' '))
            else {
                continue;
            };
            let Ok(core) = core.parse::<u16>() else {
                continue;
            };
            if cores.is_some_and(|cores| !cores.numbers().contains(&core)) {
                continue;
            }
            // user nice system idle iowait irq softirq steal; guest time is part of user time.
            let times = times.split_whitespace().take(8);
            let times: Vec<u64> = times.filter_map(|time| time.parse().ok()).collect();
            let at = |n: usize| times.get(n).copied().unwrap_or_default();
            sum.total += times.iter().sum::<u64>();
            sum.idle += at(3) + at(4);
            sum.stolen += at(7);
        }
        sum
    }

    /// The time since an earlier moment.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            total: self.total.saturating_sub(before.total),
            idle: self.idle.saturating_sub(before.idle),
            stolen: self.stolen.saturating_sub(before.stolen),
        }
    }

    /// Share of the time in which the cores were not idle, in percent.
    pub fn busy_percent(&self) -> f64 {
        self.percent(self.total.saturating_sub(self.idle))
    }

    /// Share of the time that a hypervisor gave to others, in percent.
    pub fn steal_percent(&self) -> f64 {
        self.percent(self.stolen)
    }

    fn percent(&self, part: u64) -> f64 {
        part as f64 / self.total.max(1) as f64 * 100.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_chosen_cores_is_counted() {
        let stat =
            "cpu  9 9 9 9\ncpu0 10 0 20 60 10 0 0 0 5 0\ncpu1 80 0 0 10 0 0 0 10 0 0\nintr 5\n";
        let zero = CoreTimes::default();
        let first = CoreTimes::parse(stat, Some(&"0".parse().unwrap())).since(&zero);
        assert!((first.busy_percent() - 30.0).abs() < 1e-9, "{first:?}");
        let second = CoreTimes::parse(stat, Some(&"1".parse().unwrap())).since(&zero);
        assert!((second.busy_percent() - 90.0).abs() < 1e-9);
        assert!((second.steal_percent() - 10.0).abs() < 1e-9);
        let both = CoreTimes::parse(stat, None).since(&zero);
        assert!((both.busy_percent() - 60.0).abs() < 1e-9);
    }
}
