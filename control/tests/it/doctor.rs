//! `shardcast doctor`: it finds each fault of a sabotaged machine and names the command that mends it, finds
//! none on a healthy one, and prints JSON whose layout stays. A running server answers the same by HTTP.

mod machine;

use std::{
    collections::BTreeSet,
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

use self::machine::Machine;
use crate::server::{Server, process::BINARY};

/// What `command`, a `doctor --json`, found, and its exit code.
fn report(command: &mut Command) -> (Value, i32) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.stdin(Stdio::null()).output().unwrap();
    let report = serde_json::from_slice(&stdout).unwrap_or_else(|error| {
        let (out, err) = (
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr),
        );
        panic!("{error}: {out}{err}")
    });
    (report, status.code().unwrap())
}

/// A doctor of this machine, for a server in `folder` on free ports.
fn of_this_machine(folder: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command
        .args(["doctor", "--json", "--offline", "--bind", "127.0.0.1"])
        .args([
            "--http-port=0",
            "--https-port=0",
            "--udp-port-base=0",
            "--data-dir",
        ])
        .arg(folder);
    command
}

fn finding<'a>(report: &'a Value, id: &str) -> &'a Value {
    let findings = report["findings"].as_array().unwrap();
    findings.iter().find(|one| one["id"] == id).unwrap()
}

/// Fails unless the finding has this level, and words in its text and in its command.
fn assert_found(report: &Value, id: &str, level: &str, what: &str, command: &str) {
    let found = finding(report, id);
    assert_eq!(found["level"], level, "{found}");
    assert!(found["what"].as_str().unwrap().contains(what), "{found}");
    assert!(
        found["command"].as_str().unwrap().contains(command),
        "{found}"
    );
    assert!(found["cost"].is_string(), "{found}");
}

#[test]
fn a_healthy_machine_has_no_fault_and_costs_nothing() {
    let machine = Machine::healthy();
    let (report, code) = report(&mut machine.doctor());
    assert_eq!(code, 0, "{report:#}");
    for found in report["findings"].as_array().unwrap() {
        match found["id"].as_str().unwrap() {
            "platforms" => assert_eq!(found["level"], "unknown", "{found}"),
            // That of the machine that runs this test.
            "disk" => {}
            _ => assert_eq!(found["level"], "ok", "{found}"),
        }
    }
}

#[test]
fn small_buffers_are_found() {
    let mut machine = Machine::healthy();
    machine.write("proc/sys/net/core/rmem_max", "212992");
    machine.probe["udp_receive_bytes"] = json!(212_992);
    machine.write("proc/sys/net/ipv4/tcp_wmem", "4096 16384 212992");
    let (report, code) = report(&mut machine.doctor());
    let command = "shardcast-tune apply sysctl";
    assert_found(&report, "udp_receive_buffer", "warning", "208 KiB", command);
    assert_found(&report, "tcp_send_buffer", "warning", "208 KiB", command);
    assert_eq!(code, 0, "warnings are no fault");
    let strict = machine.doctor().arg("--strict").status().unwrap();
    assert_eq!(strict.code(), Some(3));
}

#[test]
fn a_limit_of_locked_memory_that_is_too_low_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let doctor = of_this_machine(folder.path());
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -l 64 && exec \"$@\"", "sh", BINARY]);
    command.args(doctor.get_args());
    let (report, code) = report(&mut command);
    let mend = "shardcast-tune apply limits";
    assert_found(&report, "locked_memory", "fault", "64 KiB at most", mend);
    assert_eq!((code, &report["level"]), (1, &json!("fault")));
}

#[test]
fn a_port_that_is_taken_is_found_with_its_holder() {
    let folder = tempfile::tempdir().unwrap();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let me = std::process::id();
    for (id, flag, cost) in [
        ("rtmp_port", "--rtmp-port", "all else works"),
        ("rtmps_port", "--rtmps-port", "all else works"),
    ] {
        let mut doctor = of_this_machine(folder.path());
        let (report, code) = report(doctor.arg(format!("{flag}={port}")));
        assert_found(&report, id, "fault", &port.to_string(), flag);
        assert_found(&report, id, "fault", &me.to_string(), flag);
        let found = finding(&report, id);
        let command = found["command"].as_str().unwrap();
        let end = format!("kill {me}");
        assert!(
            command.contains("systemctl stop") || command.contains(&end),
            "{found}"
        );
        assert!(found["cost"].as_str().unwrap().contains(cost), "{found}");
        assert_eq!(code, 1);
    }
}

#[test]
fn a_certificate_that_has_ended_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = machine::certificate((2020, 1), (2021, 1));
    std::fs::write(folder.path().join("cert.pem"), cert).unwrap();
    std::fs::write(folder.path().join("key.pem"), key).unwrap();
    let mut doctor = of_this_machine(folder.path());
    doctor.arg("--tls-cert").arg(folder.path().join("cert.pem"));
    doctor.arg("--tls-key").arg(folder.path().join("key.pem"));
    let (report, code) = report(&mut doctor);
    assert_found(&report, "certificate", "fault", "days ago", "certbot renew");
    assert_eq!(code, 1);
}

#[test]
fn a_full_disk_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let may = Command::new("unshare").args(["-rm", "true"]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        eprintln!("not tried: this user may not mount a small disk");
        return;
    }
    let doctor = of_this_machine(folder.path());
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs -o size=1m small \"$0\" && exec \"$@\"";
    command.args(["-rm", "sh", "-c", script]).arg(folder.path());
    command.arg(BINARY).args(doctor.get_args());
    let (report, code) = report(&mut command);
    let mount = folder.path().to_str().unwrap();
    assert_found(
        &report,
        "disk",
        "fault",
        "has 1 MiB of 1 MiB free",
        &format!("du -xh --max-depth=3 {mount}"),
    );
    assert_eq!(code, 1);
}

type Sabotage = (fn(&mut Machine), &'static str, &'static str, &'static str);

const SABOTAGES: [Sabotage; 18] = [
    (
        |m| m.write("proc/sys/kernel/osrelease", "5.4.0-1"),
        "kernel",
        "fault",
        "apt install",
    ),
    (
        |m| m.write("proc/sys/kernel/osrelease", "5.15.0-1"),
        "kernel",
        "warning",
        "apt install",
    ),
    (
        |m| {
            m.write("proc/sys/kernel/io_uring_disabled", "2");
            m.probe["io_uring"] = json!({"result": "fails", "errno": 1, "problem": "EPERM"});
        },
        "io_uring",
        "fault",
        "sysctl -w kernel.io_uring_disabled=0",
    ),
    (
        |m| {
            m.write("proc/self/status", "Seccomp:\t2\nCapEff:\t0\n");
            m.probe["io_uring"] = json!({"result": "fails", "errno": 1, "problem": "EPERM"});
        },
        "io_uring",
        "fault",
        "SystemCallFilter=",
    ),
    (
        |m| m.probe["short_slices"] = json!(false),
        "short_slices",
        "warning",
        "--codec-cores",
    ),
    (
        |m| m.limits("unlimited", "4096"),
        "open_files",
        "warning",
        "shardcast-tune apply limits",
    ),
    (
        |m| {
            m.write(
                "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor",
                "powersave",
            );
        },
        "governor",
        "warning",
        "shardcast-tune apply cpu",
    ),
    (
        |m| {
            m.write(
                "sys/devices/system/clocksource/clocksource0/current_clocksource",
                "hpet",
            );
        },
        "clock_source",
        "warning",
        "echo tsc >",
    ),
    (
        |m| m.write("proc/stat", "cpu 5000 0 5000 9000 0 0 0 1000 0 0\n"),
        "steal",
        "warning",
        "mpstat",
    ),
    (
        |m| m.feature("generic-receive-offload: off"),
        "offloads",
        "warning",
        "shardcast-tune apply nic",
    ),
    (
        |m| m.write("proc/irq/25/smp_affinity_list", "0"),
        "interrupts",
        "warning",
        "shardcast-tune apply nic",
    ),
    (
        |m| m.write("proc/sys/net/ipv4/ip_local_reserved_ports", "50000"),
        "reserved_ports",
        "warning",
        "shardcast-tune apply sysctl",
    ),
    (
        |m| m.write("proc/sys/net/core/netdev_max_backlog", "1000"),
        "backlogs",
        "warning",
        "shardcast-tune apply sysctl",
    ),
    (
        |m| m.udp_port_of_another(50_001),
        "udp_ports",
        "fault",
        "systemctl stop other.service",
    ),
    (
        |m| {
            m.rules("{\"match\": {\"op\": \"==\", \"left\": {\"payload\": {\"protocol\": \"tcp\", \"field\": \"dport\"}}, \"right\": {\"set\": [5080, 5443]}}}");
        },
        "firewall",
        "warning",
        "nft add rule inet filter input udp dport 50000-50001 accept",
    ),
    (
        |m| {
            m.rules("{\"match\": {\"op\": \"==\", \"left\": {\"payload\": {\"protocol\": \"th\", \"field\": \"dport\"}}, \"right\": {\"set\": [5080, 5443, 1935, {\"range\": [50000, 50001]}]}}}");
        },
        "firewall",
        "warning",
        "nft add rule inet filter input tcp dport 1936 accept",
    ),
    (
        |m| m.probe["addresses"] = json!(["127.0.0.1", "10.0.0.5"]),
        "public_address",
        "warning",
        "--advertise",
    ),
    (
        |m| m.probe["authorities"] = json!({"result": "read", "count": 0}),
        "authorities",
        "fault",
        "apt install ca-certificates",
    ),
];

#[test]
fn each_other_trouble_is_found_alone() {
    for (sabotage, id, level, command) in SABOTAGES {
        let mut machine = Machine::healthy();
        sabotage(&mut machine);
        let (report, code) = report(&mut machine.doctor());
        assert_found(&report, id, level, "", command);
        assert_eq!(code, i32::from(level == "fault"), "{id}");
        for found in report["findings"].as_array().unwrap() {
            let is_other = found["id"] != id && found["id"] != "disk";
            let is_well = found["level"] == "ok" || found["level"] == "unknown";
            assert!(!is_other || is_well, "{id}: {found}");
        }
    }
}

#[test]
fn a_firewall_that_lets_in_ipv4_alone_is_found_unless_that_alone_is_listened_to() {
    let machine = Machine::healthy();
    let other = machine::ACCEPTS.replace("5080", "22");
    machine.rules_of(&[("ip", machine::ACCEPTS), ("ip6", &other)]);
    let (both, _) = report(machine.doctor().arg("--bind=::"));
    let command = "nft add rule ip6 filter input tcp dport 5080 accept";
    assert_found(&both, "firewall", "warning", "ip6 filter", command);
    let (v4, _) = report(machine.doctor().arg("--bind=0.0.0.0"));
    assert_eq!(finding(&v4, "firewall")["level"], "ok");
}

#[test]
fn browsers_are_told_addresses_of_the_families_that_are_listened_to() {
    let mut machine = Machine::healthy();
    machine.probe["addresses"] = json!(["127.0.0.1", "203.0.113.7", "2001:db8::7"]);
    for (bind, is_told) in [("::", true), ("0.0.0.0", false)] {
        let (report, _) = report(machine.doctor().arg(format!("--bind={bind}")));
        let found = finding(&report, "public_address").to_string();
        assert!(found.contains("203.0.113.7"), "{found}");
        assert_eq!(found.contains("2001:db8::7"), is_told, "{bind}: {found}");
    }
}

#[test]
fn settings_that_cannot_be_used_are_a_fault_and_the_rest_is_still_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shardcast.toml");
    std::fs::write(&file, "htp_port = 1").unwrap();
    let (report, code) = report(Machine::healthy().doctor().arg("--config").arg(file));
    assert_found(&report, "settings", "fault", "htp_port", "--print-config");
    assert_eq!(
        (code, &finding(&report, "kernel")["level"]),
        (1, &json!("ok"))
    );
}

/// What is looked at, in the order in which it is shown.
const IDS: [&str; 27] = [
    "settings",
    "kernel",
    "io_uring",
    "locked_memory",
    "open_files",
    "short_slices",
    "governor",
    "clock_source",
    "steal",
    "udp_receive_buffer",
    "udp_send_buffer",
    "tcp_send_buffer",
    "backlogs",
    "offloads",
    "interrupts",
    "http_port",
    "https_port",
    "rtmp_port",
    "rtmps_port",
    "udp_ports",
    "reserved_ports",
    "firewall",
    "public_address",
    "certificate",
    "authorities",
    "platforms",
    "disk",
];

#[test]
fn the_layout_of_json_stays() {
    let (report, _) = report(&mut Machine::healthy().doctor());
    let keys = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(
        keys(&report),
        [
            "atUnixMs",
            "counts",
            "findings",
            "kernel",
            "level",
            "node",
            "shardcast",
            "version"
        ]
    );
    assert_eq!(
        keys(&report["counts"]),
        ["fault", "ok", "unknown", "warning"]
    );
    assert_eq!(
        (&report["version"], &report["node"]),
        (&json!(1), &json!("tested"))
    );
    let findings = report["findings"].as_array().unwrap();
    for found in findings {
        assert_eq!(
            keys(found),
            ["command", "cost", "id", "level", "title", "what"]
        );
    }
    let ids: Vec<_> = findings
        .iter()
        .map(|one| one["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, IDS);
}

#[test]
fn the_text_has_a_line_for_each_finding_and_what_mends_it() {
    let machine = Machine::healthy();
    machine.write("proc/sys/kernel/osrelease", "5.4.0-1");
    let output = machine.text_doctor().output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("fault    Kernel               Linux 5.4.0-1\n"),
        "{text}"
    );
    assert!(text.contains("mend:  apt install"), "{text}");
    assert!(text.contains("\n1 fault, 0 warnings, "), "{text}");
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn a_running_server_answers_the_same_by_http_and_counts_it() {
    let server = Server::start().await;
    let before = server.get("/metrics").await.text();
    assert!(
        !before.contains("shardcast_doctor_findings{"),
        "not looked yet"
    );
    let reply = server.get("/api/v1/doctor").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let report = reply.json();
    let ids = |report: &Value| -> BTreeSet<String> {
        let findings = report["findings"].as_array().unwrap().iter();
        findings
            .map(|one| one["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let (of_command, _) = self::report(&mut Machine::healthy().doctor());
    assert_eq!(ids(&report), ids(&of_command));
    // The server has its ports itself.
    assert_eq!(finding(&report, "http_port")["level"], "ok");
    let metrics = server.get("/metrics").await.text();
    for level in ["ok", "unknown", "warning", "fault"] {
        let count = report["counts"][level].as_u64().unwrap();
        let row = format!("shardcast_doctor_findings{{level=\"{level}\"}} {count}\n");
        assert!(metrics.contains(&row), "{row} is not in {metrics}");
    }
}
