//! A snapshot of a machine: plain data, which the checks judge.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use serde_json::Value;
use shardcast_link::machine::Probe;

/// What was read of a machine. `None` and empty lists: it could not be read, or is not there.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    pub(super) node: String,
    pub(super) now_unix_s: u64,
    /// Why the operator's settings cannot be used; the defaults were looked at then.
    pub(super) settings_problem: Option<String>,
    /// Release of the kernel, such as `6.12.9-amd64`.
    pub(super) kernel: Option<String>,
    /// What the engine has tried, or why it did not.
    pub(super) probe: Option<Result<Probe, String>>,
    /// The number in `Seccomp:` of `/proc/PID/status`: 2 is a filter.
    pub(super) seccomp: Option<u64>,
    /// Effective capabilities, a bit for each.
    pub(super) capabilities: Option<u64>,
    /// Files below `/proc/sys`, by their path, as they are written there.
    pub(super) sysctl: BTreeMap<&'static str, String>,
    pub(super) limits: Limits,
    pub(super) cores: Cores,
    pub(super) interface: Option<Interface>,
    pub(super) clock_source: Option<String>,
    pub(super) clock_sources: Vec<String>,
    pub(super) cpu_times: Option<CpuTimes>,
    pub(super) cpu_before: Option<CpuTimes>,
    pub(super) reencodes: bool,
    /// Ports that Shardcast takes.
    pub(super) ports: Ports,
    pub(super) firewall: Firewall,
    pub(super) reach: Reach,
    pub(super) certificate: Certificate,
    pub(super) disk: Option<Disk>,
}

/// Hard limits of the engine's process, or of this one when none runs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    pub(super) locked_bytes: Option<Limit>,
    pub(super) files: Option<Limit>,
}

/// A resource limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    None,
    At(u64),
}

impl Limit {
    pub(super) fn is_below(self, least: u64) -> bool {
        matches!(self, Self::At(limit) if limit < least)
    }
}

/// The processors.
#[derive(Clone, Debug, Default)]
pub(super) struct Cores {
    /// The core of shard n is the nth.
    pub(super) shards: Vec<u16>,
    pub(super) codecs: Vec<u16>,
    /// Governor of each core of the two that has one.
    pub(super) governors: BTreeMap<u16, String>,
}

/// The network interface of the default route.
#[derive(Clone, Debug, Default)]
pub(super) struct Interface {
    pub(super) name: String,
    /// What `ethtool -k` says of each feature, such as `on` or `off[fixed]`; or why it does not.
    pub(super) features: Option<Result<BTreeMap<String, String>, String>>,
    /// Interrupts of its receive queues.
    pub(super) interrupts: Vec<Interrupt>,
}

/// The interrupt of one receive queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interrupt {
    pub(super) number: u32,
    pub(super) queue: u32,
    /// Cores that it may interrupt.
    pub(super) cores: Vec<u16>,
}

/// Ticks of all processors since the machine started (`/proc/stat`, proc(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuTimes {
    pub(crate) total: u64,
    /// Of them, those in which the host ran another machine.
    pub(crate) stolen: u64,
}

/// What Shardcast listens on.
#[derive(Clone, Debug, Default)]
pub(super) struct Ports {
    pub(super) http: Option<Port>,
    pub(super) https: Option<Port>,
    pub(super) rtmp: Option<Port>,
    pub(super) rtmps: Option<Port>,
    /// By shard.
    pub(super) udp: Vec<Port>,
    /// Shards take WebRTC over TCP of the same numbers too.
    pub(super) tcp_candidates: bool,
}

/// One port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) number: u16,
    pub(super) holder: Holder,
}

/// Who has a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// Nobody.
    Free,
    /// This server, which runs.
    Ours,
    /// Another process, if it can be seen, with the systemd unit that it belongs to.
    Other {
        process: Option<(u32, String)>,
        unit: Option<String>,
    },
}

/// What filters packets on this machine.
#[derive(Clone, Debug, Default)]
pub(super) enum Firewall {
    /// `nft` is not installed.
    #[default]
    NoTool,
    /// `nft` does not say, and why.
    Unreadable(String),
    /// What `nft --json list ruleset` says.
    Rules(Value),
}

/// How others reach this machine, and it them.
#[derive(Clone, Debug, Default)]
pub(super) struct Reach {
    /// Whether the network was asked.
    pub(super) online: bool,
    pub(super) bind: Option<IpAddr>,
    pub(super) advertise: Vec<IpAddr>,
    /// From where packets of this machine come, as a STUN server sees it; or why it did not say.
    pub(super) seen_as: Option<Result<IpAddr, String>>,
}

/// The certificate of the HTTPS port.
#[derive(Clone, Debug, Default)]
pub(super) enum Certificate {
    /// Shardcast makes a self-signed one at its start.
    #[default]
    NotMade,
    /// The files cannot be used.
    Unusable(String),
    Read {
        file: PathBuf,
        /// Whether Shardcast has made it itself.
        is_own: bool,
        not_before_unix_s: i64,
        not_after_unix_s: i64,
        /// Whether it names `server_name`; none when that is not set.
        names_server: Option<Result<(), String>>,
    },
}

/// The file system of `data_dir`.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) data_dir: PathBuf,
    /// Where it is mounted.
    pub(super) mount: PathBuf,
    pub(super) free_bytes: u64,
    pub(super) total_bytes: u64,
    /// None where the file system does not count files.
    pub(super) free_files: Option<u64>,
    /// Size of the store.
    pub(super) store_bytes: u64,
}
