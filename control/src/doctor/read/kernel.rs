//! Settings of the kernel, and what it lets the engine's process do.

use std::collections::BTreeMap;

use super::{
    super::host::{Limit, Limits},
    Root,
};

/// Files below `/proc/sys` that are read.
const SYSCTL: [&str; 9] = [
    "kernel/io_uring_disabled",
    "net/core/rmem_max",
    "net/core/wmem_max",
    "net/core/netdev_max_backlog",
    "net/core/somaxconn",
    "net/ipv4/tcp_wmem",
    "net/ipv4/ip_local_port_range",
    "net/ipv4/ip_local_reserved_ports",
    "net/ipv4/ip_unprivileged_port_start",
];

pub(super) fn sysctl(root: &Root) -> BTreeMap<&'static str, String> {
    let read = |name: &'static str| {
        let text = root.text(format!("proc/sys/{name}"))?;
        Some((name, text))
    };
    SYSCTL.into_iter().filter_map(read).collect()
}

/// What a process may do.
#[derive(Debug, Default)]
pub(super) struct Process {
    pub(super) seccomp: Option<u64>,
    pub(super) capabilities: Option<u64>,
    pub(super) limits: Limits,
}

impl Process {
    /// Of process `pid`; without one, of this one, which starts the engine as it is itself.
    pub(super) fn of(root: &Root, pid: Option<u32>) -> Self {
        let folder = pid.map_or("proc/self".to_owned(), |pid| format!("proc/{pid}"));
        let status = root.text(format!("{folder}/status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.trim().to_owned())
        };
        let limits = root.text(format!("{folder}/limits")).unwrap_or_default();
        Self {
            seccomp: field("Seccomp:").and_then(|text| text.parse().ok()),
            capabilities: field("CapEff:").and_then(|text| u64::from_str_radix(&text, 16).ok()),
            limits: Limits {
                locked_bytes: limit(&limits, "Max locked memory"),
                files: limit(&limits, "Max open files"),
            },
        }
    }
}

/// The hard limit of a line of `/proc/PID/limits`: name, soft, hard, unit. The engine raises the soft
/// one to it.
fn limit(limits: &str, name: &str) -> Option<Limit> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    match line.split_whitespace().nth(1)? {
        "unlimited" => Some(Limit::None),
        number => number.parse().ok().map(Limit::At),
    }
}
