//! The processors: how fast they are when a packet comes, and who else has them.

use super::{
    super::{
        host::Host,
        report::{Finding, Topic},
    },
    list, tune,
};

const GOVERNOR: Topic = Topic("governor", "CPU governor");
const CLOCK: Topic = Topic("clock_source", "Clock source");
const STEAL: Topic = Topic("steal", "Steal");

/// Clock sources that a process cannot read by itself.
const SLOW_CLOCKS: [&str; 5] = ["hpet", "acpi_pm", "jiffies", "refined-jiffies", "pit"];
/// Stolen time from which shards are late, in thousandths: a shard that wants its core at that moment
/// waits for the host, which takes milliseconds.
const STEAL_PERMILLE_MAX: u64 = 10;
/// Ticks (10 ms) below which one more or less would decide: half a second of one core.
const STEAL_TICKS_MIN: u64 = 50;

/// Whether cores of shards and codecs stay fast.
pub(super) fn governor(host: &Host) -> Finding {
    let governors = &host.cores.governors;
    if governors.is_empty() {
        return GOVERNOR
            .ok("the kernel does not change the cores' frequency here, as in a virtual machine");
    }
    let slow = governors.iter().filter(|(_, one)| *one != "performance");
    let (cores, names): (Vec<u16>, Vec<&str>) =
        slow.map(|(core, one)| (*core, one.as_str())).unzip();
    match names.first() {
        None => GOVERNOR.ok("performance on all cores of shards and codecs"),
        Some(name) => GOVERNOR
            .warning(format!("{name} on the cores {}", list(cores)))
            .costs("a core that slowed down while it slept handles the next packet late")
            .mend(tune("cpu")),
    }
}

/// Whether looking at the clock is a system call.
pub(super) fn clock_source(host: &Host) -> Finding {
    let Some(source) = host.clock_source.as_deref() else {
        return CLOCK.unknown("the kernel does not say which it is");
    };
    if !SLOW_CLOCKS.contains(&source) {
        return CLOCK.ok(format!("{source}, which is read without a system call"));
    }
    let finding = CLOCK.warning(source).costs(
        "each look at the clock is a system call; a shard looks several times for each packet",
    );
    let better = host.clock_sources.iter().find(|one| {
        let slow = SLOW_CLOCKS.contains(&one.as_str());
        !slow
    });
    match better {
        Some(better) => finding.mend(format!(
            "echo {better} > /sys/devices/system/clocksource/clocksource0/current_clocksource"
        )),
        None => finding.mend("add tsc=reliable to the kernel's command line and restart, if the log (dmesg) says why tsc was left"),
    }
}

/// How much time the host of a virtual machine gave to others.
pub(super) fn steal(host: &Host) -> Finding {
    let Some(now) = host.cpu_times else {
        return STEAL.unknown("/proc/stat cannot be read");
    };
    let before = host.cpu_before.unwrap_or_default();
    let stolen = now.stolen.saturating_sub(before.stolen);
    let total = now.total.saturating_sub(before.total);
    let permille = stolen * 1_000 / total.max(1);
    let when = match host.cpu_before {
        Some(_) => "since the look before",
        None => "since the machine started",
    };
    let what = format!("{}.{} % of its time {when}", permille / 10, permille % 10);
    if permille <= STEAL_PERMILLE_MAX {
        return STEAL.ok(what);
    }
    if total < STEAL_TICKS_MIN * STEAL_PERMILLE_MAX {
        return STEAL.unknown(format!("{what}, which is too short a time to judge"));
    }
    STEAL
        .warning(what)
        .costs("the host runs other machines meanwhile, and shards are late by milliseconds")
        .mend("mpstat 1 shows it as %steal; ask the provider for dedicated cores, or take another machine")
}
