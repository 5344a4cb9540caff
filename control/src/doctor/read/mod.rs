//! Reads a machine into a [`Host`]. Nothing here judges, and what cannot be read is left out.

mod certificate;
mod cores;
mod disk;
mod interface;
mod kernel;
mod ports;
mod probe;
mod program;
mod reach;
mod root;
mod stun;

pub(crate) use self::root::Root;
use super::{
    Question,
    host::{CpuTimes, Firewall, Host},
};
use crate::clock;

/// Takes the snapshot.
pub(super) fn host(question: &Question<'_>) -> Host {
    let root = question.root;
    let server = ports::Server::read(root, question.settings);
    let probe = probe::ask(question);
    let engine = kernel::Process::of(root, server.engine);
    let known = probe.as_ref().and_then(|asked| asked.as_ref().ok());
    let interface = interface::read(root);
    Host {
        node: root.text("proc/sys/kernel/hostname").unwrap_or_default(),
        now_unix_s: clock::unix_s(),
        settings_problem: question.settings_problem.clone(),
        kernel: root.text("proc/sys/kernel/osrelease"),
        seccomp: engine.seccomp,
        capabilities: engine.capabilities,
        limits: engine.limits,
        sysctl: kernel::sysctl(root),
        cores: cores::read(root, question.engine(), known),
        interface,
        clock_source: root.text("sys/devices/system/clocksource/clocksource0/current_clocksource"),
        clock_sources: root
            .text("sys/devices/system/clocksource/clocksource0/available_clocksource")
            .map(|text| text.split_whitespace().map(str::to_owned).collect())
            .unwrap_or_default(),
        cpu_times: cpu_times(root),
        cpu_before: question.cpu_before,
        reencodes: question.engine().reencode_enabled(),
        ports: ports::read(root, question.settings, &server),
        firewall: firewall(root),
        reach: reach::read(question),
        certificate: certificate::read(root, question.settings),
        disk: disk::read(root, &question.settings.data_dir),
        probe,
    }
}

/// The first line of `/proc/stat`: user nice system idle iowait irq softirq steal (proc(5)). Guests are
/// counted in user.
pub(super) fn cpu_times(root: &Root) -> Option<CpuTimes> {
    let text = root.text("proc/stat")?;
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .map_while(|word| word.parse().ok())
        .take(8)
        .collect();
    Some(CpuTimes {
        total: ticks.iter().sum(),
        stolen: ticks.get(7).copied().unwrap_or_default(),
    })
}

fn firewall(root: &Root) -> Firewall {
    let Some(program) = root.program("nft") else {
        return Firewall::NoTool;
    };
    let rules = program::output(&program, ["--json", "list", "ruleset"])
        .and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()));
    match rules {
        Ok(rules) => Firewall::Rules(rules),
        Err(problem) => Firewall::Unreadable(problem),
    }
}
