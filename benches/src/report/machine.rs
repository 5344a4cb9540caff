//! The machine of a measurement, as far as the kernel tells without special rights.

use std::fs;

use serde::Serialize;

use crate::harness::Cores;

/// What has to be known of a machine before figures of it mean anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Model of the processor.
    pub cpu: String,
    /// Cores that are online.
    pub cores: usize,
    /// Frequency governor of the first core, or why there is none.
    pub governor: String,
    /// The processor says that it runs under a hypervisor.
    pub virtual_machine: bool,
    /// Memory in MB.
    pub memory_mb: u64,
    /// Release of the kernel.
    pub kernel: String,
    /// Name and version of the distribution.
    pub system: String,
}

impl Machine {
    /// This machine. What cannot be read is called unknown.
    pub fn read() -> Self {
        let cpu = read("/proc/cpuinfo");
        let memory = read("/proc/meminfo");
        let kb = field(&memory, "MemTotal", ':')
            .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
        let system = read("/etc/os-release");
        let governor = read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
        Self {
            cpu: known(field(&cpu, "model name", ':')),
            cores: Cores::online().numbers().len(),
            governor: match governor.trim() {
                "" => "none (the kernel has no frequency control here)".to_owned(),
                name => name.to_owned(),
            },
            virtual_machine: field(&cpu, "flags", ':')
                .is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor")),
            memory_mb: kb.unwrap_or_default() / 1_024,
            kernel: known(Some(read("/proc/sys/kernel/osrelease").trim())),
            system: known(field(&system, "PRETTY_NAME", '=')),
        }
    }

    /// Names and values for people.
    pub fn rows(&self) -> Vec<(String, String)> {
        let kind = if self.virtual_machine {
            "a virtual machine"
        } else {
            "no hypervisor seen"
        };
        [
            ("Processor", self.cpu.clone()),
            ("Cores", format!("{} ({kind})", self.cores)),
            ("Governor", self.governor.clone()),
            ("Memory", format!("{} MB", self.memory_mb)),
            ("Kernel", self.kernel.clone()),
            ("System", self.system.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The value of the first line that begins with this name.
fn field<'a>(text: &'a str, name: &str, separator: char) -> Option<&'a str> {
    let values = text.lines().filter_map(|line| line.split_once(separator));
    let mut matching = values.filter(|(key, _)| key.trim() == name);
    matching
        .next()
        .map(|(_, value)| value.trim().trim_matches('"'))
}

fn known(text: Option<&str>) -> String {
    text.filter(|text| !text.is_empty())
        .unwrap_or("unknown")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_described() {
        let machine = Machine::read();
        assert!(machine.cores > 0 && machine.memory_mb > 0, "{machine:?}");
        assert_ne!(machine.kernel, "unknown");
        assert_eq!(
            field("a: 1\nmodel name\t: X 3\n", "model name", ':'),
            Some("X 3")
        );
    }
}
