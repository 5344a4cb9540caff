//! A machine made of files: what `shardcast doctor --root` reads.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::process::BINARY;

/// Files of a server with two cores, a card with two queues and a firewall that lets publishers in.
const FILES: [(&str, &str); 23] = [
    ("proc/sys/kernel/hostname", "tested"),
    ("proc/sys/kernel/osrelease", "6.12.9-amd64"),
    ("proc/sys/kernel/io_uring_disabled", "0"),
    ("proc/sys/net/core/rmem_max", "16777216"),
    ("proc/sys/net/core/wmem_max", "16777216"),
    ("proc/sys/net/core/netdev_max_backlog", "16384"),
    ("proc/sys/net/core/somaxconn", "4096"),
    ("proc/sys/net/ipv4/tcp_wmem", "4096\t16384\t8388608"),
    ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999"),
    ("proc/sys/net/ipv4/ip_local_reserved_ports", "50000-50001"),
    ("proc/sys/net/ipv4/ip_unprivileged_port_start", "1024"),
    (
        "proc/self/status",
        "Name:\tshardcast\nCapEff:\t0000000000001400\nSeccomp:\t0\n",
    ),
    ("proc/self/mounts", "/dev/sda1 / ext4 rw 0 0\n"),
    (
        "proc/stat",
        "cpu  5000 0 5000 90000 0 0 0 10 0 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n",
    ),
    (
        "proc/net/route",
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n\
         eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\n",
    ),
    (
        "proc/interrupts",
        "           CPU0  CPU1\n 23: 0 0 IR-PCI-MSI 0-edge eth0-config\n \
         24: 0 0 IR-PCI-MSI 1-edge eth0-TxRx-0\n 25: 0 0 IR-PCI-MSI 2-edge eth0-TxRx-1\n",
    ),
    ("proc/irq/24/smp_affinity_list", "0"),
    ("proc/irq/25/smp_affinity_list", "1"),
    ("sys/devices/system/cpu/online", "0-1"),
    (
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
        "performance",
    ),
    (
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor",
        "performance",
    ),
    (
        "sys/devices/system/clocksource/clocksource0/current_clocksource",
        "tsc",
    ),
    (
        "sys/devices/system/clocksource/clocksource0/available_clocksource",
        "tsc hpet acpi_pm",
    ),
];

/// Accepts the ports that `right` names, for both protocols.
pub(super) const ACCEPTS: &str = r#"{"match": {"op": "==", "left": {"payload": {"protocol": "th", "field": "dport"}},
    "right": {"set": [5080, 5443, 1935, 1936, {"range": [50000, 50001]}]}}}"#;

/// The machine; `probe` is what an engine would have found on it.
pub(super) struct Machine {
    root: TempDir,
    pub(super) probe: Value,
}

impl Machine {
    pub(super) fn healthy() -> Self {
        let machine = Self {
            root: tempfile::tempdir().unwrap(),
            probe: json!({
                "io_uring": {"result": "works"},
                "short_slices": true,
                "udp_receive_bytes": 8 << 20,
                "udp_send_bytes": 4 << 20,
                "addresses": ["127.0.0.1", "203.0.113.7"],
                "allowed_cores": [0, 1],
                "authorities": {"result": "read", "count": 140},
            }),
        };
        for (path, text) in FILES {
            machine.write(path, text);
        }
        machine.limits("unlimited", "1048576");
        machine.feature("generic-receive-offload: on");
        machine.rules(ACCEPTS);
        let (cert, key) = certificate((2020, 1), (4000, 1));
        machine.write("etc/shardcast/cert.pem", &cert);
        machine.write("etc/shardcast/key.pem", &key);
        machine
    }

    /// `shardcast doctor --json` of it.
    pub(super) fn doctor(&self) -> Command {
        let mut command = self.text_doctor();
        command.arg("--json");
        command
    }

    /// `shardcast doctor` of it.
    pub(super) fn text_doctor(&self) -> Command {
        self.write("probe.json", &self.probe.to_string());
        let mut command = Command::new(BINARY);
        command.arg("doctor").arg("--root").arg(self.root.path());
        command.args([
            "--shards=2",
            "--data-dir=/var/lib/shardcast",
            "--server-name=live.example.com",
        ]);
        command.args([
            "--tls-cert=/etc/shardcast/cert.pem",
            "--tls-key=/etc/shardcast/key.pem",
        ]);
        command
    }

    pub(super) fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn program(&self, name: &str, output: &str) {
        let path = format!("usr/sbin/{name}");
        self.write(&path, &format!("#!/bin/sh\ncat <<'END'\n{output}\nEND\n"));
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.root.path().join(path), mode).unwrap();
    }

    /// Limits of locked memory and open files.
    pub(super) fn limits(&self, locked: &str, files: &str) {
        let text = format!(
            "Limit                     Soft Limit           Hard Limit           Units\n\
             Max open files            1024                 {files}              files\n\
             Max locked memory         65536                {locked}             bytes\n"
        );
        self.write("proc/self/limits", &text);
    }

    /// What ethtool says, the last line of it `line`.
    pub(super) fn feature(&self, line: &str) {
        let others = "Features for eth0:\ngeneric-segmentation-offload: on\n\
            tcp-segmentation-offload: on\ntx-udp-segmentation: off [fixed]\n";
        self.program("ethtool", &format!("{others}{line}"));
    }

    /// A firewall that drops everything but what `matched` names.
    pub(super) fn rules(&self, matched: &str) {
        self.rules_of(&[("inet", matched)]);
    }

    /// One such firewall for each family: what it accepts.
    pub(super) fn rules_of(&self, families: &[(&str, &str)]) {
        let items = families.iter().map(|(family, matched)| {
            format!(
                r#"{{"chain": {{"family": "{family}", "table": "filter", "name": "input", "hook": "input",
                "policy": "drop"}}}},
                {{"rule": {{"family": "{family}", "table": "filter", "chain": "input",
                "expr": [{matched}, {{"accept": null}}]}}}}"#
            )
        });
        let items = items.collect::<Vec<_>>().join(",");
        self.program("nft", &format!("{{\"nftables\": [{items}]}}"));
    }

    /// Gives a UDP port to process 77 of a service.
    pub(super) fn udp_port_of_another(&self, port: u16) {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
        let line = format!(
            "   1: 00000000:{port:04X} 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 4711 2 0 0"
        );
        self.write("proc/net/udp", &format!("{head}\n{line}\n"));
        self.write("proc/77/comm", "other\n");
        self.write("proc/77/cgroup", "0::/system.slice/other.service\n");
        let fd = self.root.path().join("proc/77/fd");
        fs::create_dir_all(&fd).unwrap();
        symlink(Path::new("socket:[4711]"), fd.join("3")).unwrap();
    }
}

/// A certificate for `live.example.com` from one month (year, month) to another, and its key, as PEM.
pub(super) fn certificate(from: (i32, u8), until: (i32, u8)) -> (String, String) {
    let mut params = rcgen::CertificateParams::new(vec!["live.example.com".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(from.0, from.1, 1);
    params.not_after = rcgen::date_time_ymd(until.0, until.1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = params.self_signed(&key).unwrap();
    (cert.pem(), key.serialize_pem())
}
