//! The kernel, and what it lets the engine do.

use shardcast_link::machine::{Attempt, MEMLOCK_BYTES_MIN};

use super::{
    super::{
        host::{Host, Limit},
        report::{Finding, Topic},
    },
    bytes, grouped, tune,
};

const KERNEL: Topic = Topic("kernel", "Kernel");
const IO_URING: Topic = Topic("io_uring", "io_uring");
const LOCKED_MEMORY: Topic = Topic("locked_memory", "Locked memory");
const OPEN_FILES: Topic = Topic("open_files", "Open files");
const SHORT_SLICES: Topic = Topic("short_slices", "Short slices");

/// The oldest kernel with what glommio asks of io_uring.
const OLDEST: (u32, u32) = (5, 10);
/// The oldest that Shardcast is run on as a rule (docs/operations.md).
const USUAL: (u32, u32) = (5, 19);
/// From here on a thread may ask for a short slice.
const WITH_SLICES: (u32, u32) = (6, 12);

/// Open files for 20,000 connections of HTTP, of which they may have three quarters, and for as many
/// destinations of one shard as it may have.
const FILES_MIN: u64 = 65_536;

/// `ENOSYS` and `EPERM` of Linux (errno(3)).
const ENOSYS: i32 = 38;
const EPERM: i32 = 1;
/// `Seccomp:` of a process with a filter (proc(5)).
const FILTERED: u64 = 2;

const NEWER_KERNEL: &str =
    "apt install linux-image-amd64 (on Debian 12: -t bookworm-backports), then restart";

fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Its version.
pub(super) fn kernel(host: &Host) -> Finding {
    let release = host.kernel.as_deref().unwrap_or_default();
    let Some(version) = version(release) else {
        return KERNEL.unknown("/proc/sys/kernel/osrelease does not say which it is");
    };
    let what = format!("Linux {release}");
    if version < OLDEST {
        KERNEL
            .fault(what)
            .costs("the engine does not start: its io_uring needs Linux 5.10")
            .mend(NEWER_KERNEL)
    } else if version < USUAL {
        KERNEL
            .warning(what)
            .costs("Shardcast is run on Linux 5.19 and newer; io_uring of older ones has less")
            .mend(NEWER_KERNEL)
    } else {
        KERNEL.ok(what)
    }
}

/// Whether it works, and what switched it off.
pub(super) fn io_uring(host: &Host) -> Finding {
    let (errno, problem) = match &host.probe {
        None => return IO_URING.unknown("it was not tried"),
        Some(Err(problem)) => return IO_URING.unknown(format!("it was not tried: {problem}")),
        Some(Ok(probe)) => match &probe.io_uring {
            None => return IO_URING.unknown("the engine did not try it"),
            Some(Attempt::Works) => return IO_URING.ok("the engine may use it"),
            Some(Attempt::Fails { errno, problem }) => (*errno, problem),
        },
    };
    let finding = |why: String| IO_URING.fault(why).costs("the engine does not start");
    let disabled = host.sysctl.get("kernel/io_uring_disabled");
    if let Some(value) = disabled.filter(|value| *value != "0") {
        return finding(format!("kernel.io_uring_disabled is {value}"))
            .mend("sysctl -w kernel.io_uring_disabled=0");
    }
    let is_filtered = host.seccomp == Some(FILTERED);
    match errno {
        Some(EPERM | ENOSYS) if is_filtered => finding(format!(
            "a seccomp filter forbids it to this process ({problem})"
        ))
        .mend(
            "docker run --security-opt seccomp=tuning/container/seccomp.json; systemd: \
             SystemCallFilter=io_uring_setup io_uring_enter io_uring_register",
        ),
        Some(ENOSYS) => finding(format!("this kernel has none ({problem})")).mend(NEWER_KERNEL),
        _ => finding(format!("io_uring_setup fails: {problem}")).mend(tune("limits")),
    }
}

/// RLIMIT_MEMLOCK.
pub(super) fn locked_memory(host: &Host) -> Finding {
    match host.limits.locked_bytes {
        None => LOCKED_MEMORY.unknown("/proc/self/limits does not say the limit"),
        Some(Limit::None) => LOCKED_MEMORY.ok("without limit"),
        Some(Limit::At(limit)) if limit < MEMLOCK_BYTES_MIN => LOCKED_MEMORY
            .fault(format!(
                "{} at most, and an executor needs {}",
                bytes(limit),
                bytes(MEMLOCK_BYTES_MIN)
            ))
            .costs("the engine does not start: io_uring locks its rings in memory")
            .mend(tune("limits")),
        Some(Limit::At(limit)) => LOCKED_MEMORY.ok(format!("{} at most", bytes(limit))),
    }
}

/// RLIMIT_NOFILE.
pub(super) fn open_files(host: &Host) -> Finding {
    match host.limits.files {
        None => OPEN_FILES.unknown("/proc/self/limits does not say the limit"),
        Some(Limit::None) => OPEN_FILES.ok("without limit"),
        Some(limit @ Limit::At(files)) if limit.is_below(FILES_MIN) => OPEN_FILES
            .warning(format!("{} at most", grouped(files)))
            .costs(format!(
                "each connection is a file: HTTP has {} places instead of 20,000, and the engine as \
                 many destinations as there are files",
                grouped((files * 3 / 4).min(20_000))
            ))
            .mend(tune("limits")),
        Some(Limit::At(files)) => OPEN_FILES.ok(format!("{} at most", grouped(files))),
    }
}

/// Whether a shard preempts the codecs beside it at once.
pub(super) fn short_slices(host: &Host) -> Finding {
    let probed = match &host.probe {
        Some(Ok(probe)) => probe.short_slices,
        _ => None,
    };
    let of_version = || Some(version(host.kernel.as_deref()?)? >= WITH_SLICES);
    match probed.or_else(of_version) {
        None => SHORT_SLICES.unknown("it was not tried, and the kernel's version is not known"),
        Some(true) => SHORT_SLICES.ok("a shard preempts codec threads on its core at once"),
        Some(false) if !host.reencodes => {
            SHORT_SLICES.ok("this kernel has none; nothing is re-encoded, so none is needed")
        }
        Some(false) if !host.cores.codecs.is_empty() => {
            SHORT_SLICES.ok("this kernel has none; codecs have cores of their own (codec_cores)")
        }
        Some(false) => SHORT_SLICES
            .warning("this kernel has none: they begin with Linux 6.12")
            .costs(
                "codec threads run only while nothing else on their core wants to, so other programs \
                 there make renditions late",
            )
            .mend(format!("{NEWER_KERNEL}; or give codecs cores of their own with --codec-cores")),
    }
}
