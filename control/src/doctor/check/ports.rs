//! Ports that Shardcast takes.

use super::{
    super::{
        host::{Holder, Host, Port},
        report::{Finding, Topic},
    },
    list, tune,
};

const HTTP: Topic = Topic("http_port", "HTTP port");
const HTTPS: Topic = Topic("https_port", "HTTPS port");
const RTMP: Topic = Topic("rtmp_port", "RTMP port");
const RTMPS: Topic = Topic("rtmps_port", "RTMPS port");
const UDP: Topic = Topic("udp_ports", "UDP ports");
const RESERVED: Topic = Topic("reserved_ports", "Reserved ports");

/// What a port that cannot be had costs.
const NO_START: &str = "Shardcast does not start";
const NO_ENCODERS: &str = "no encoder publishes and no tool plays there; all else works";

/// CAP_NET_BIND_SERVICE (capabilities(7)).
const CAP_NET_BIND_SERVICE: u64 = 1 << 10;

/// Where HTTP is served.
pub(super) fn http(host: &Host) -> Finding {
    tcp(HTTP, host, host.ports.http.as_ref(), "http-port", NO_START)
}

/// Where HTTPS is served.
pub(super) fn https(host: &Host) -> Finding {
    tcp(
        HTTPS,
        host,
        host.ports.https.as_ref(),
        "https-port",
        NO_START,
    )
}

/// Where encoders publish.
pub(super) fn rtmp(host: &Host) -> Finding {
    tcp(
        RTMP,
        host,
        host.ports.rtmp.as_ref(),
        "rtmp-port",
        NO_ENCODERS,
    )
}

/// Where they publish over TLS.
pub(super) fn rtmps(host: &Host) -> Finding {
    tcp(
        RTMPS,
        host,
        host.ports.rtmps.as_ref(),
        "rtmps-port",
        NO_ENCODERS,
    )
}

fn tcp(topic: Topic, host: &Host, port: Option<&Port>, flag: &str, cost: &str) -> Finding {
    let Some(port) = port else {
        return topic.ok("any free one, or none");
    };
    let number = port.number;
    let first = host.sysctl.get("net/ipv4/ip_unprivileged_port_start");
    let first = first.and_then(|text| text.parse().ok()).unwrap_or(1_024);
    let may = host
        .capabilities
        .is_none_or(|all| all & CAP_NET_BIND_SERVICE != 0);
    match &port.holder {
        Holder::Ours => topic.ok(format!("{number}, and this server has it")),
        Holder::Free if number < first && !may => topic
            .fault(format!("{number} is below {first}, which this user may not take"))
            .costs(cost)
            .mend(format!(
                "systemctl start shardcast, whose unit may; or shardcast run --{flag} {first} or more"
            )),
        Holder::Free => topic.ok(format!("{number} is free")),
        Holder::Other { process, unit } => {
            taken(topic, "TCP", number, process.as_ref(), unit.as_deref(), flag).costs(cost)
        }
    }
}

/// Where media is received.
pub(super) fn udp(host: &Host) -> Finding {
    let ports = &host.ports.udp;
    let other = ports.iter().find_map(|port| match &port.holder {
        Holder::Other { process, unit } => Some((port.number, process.as_ref(), unit.as_deref())),
        _ => None,
    });
    if let Some((number, process, unit)) = other {
        return taken(UDP, "UDP", number, process, unit, "udp-port-base").costs(NO_START);
    }
    let range = match (ports.first(), ports.last()) {
        (Some(first), Some(last)) if first.number != last.number => {
            format!("{} to {}", first.number, last.number)
        }
        (Some(only), _) => only.number.to_string(),
        _ => return UDP.ok("any free ones"),
    };
    match ports.iter().all(|port| port.holder == Holder::Ours) {
        true => UDP.ok(format!("{range}, and this server has them")),
        false => UDP.ok(format!("{range}, and nobody else has one")),
    }
}

fn taken(
    topic: Topic,
    protocol: &str,
    number: u16,
    process: Option<&(u32, String)>,
    unit: Option<&str>,
    flag: &str,
) -> Finding {
    let by = match process {
        Some((pid, name)) => format!("{name} (process {pid})"),
        None => "a process of another user".to_owned(),
    };
    let letter = if protocol == "UDP" { 'u' } else { 't' };
    let end = match (unit, process) {
        (Some(unit), _) => format!("systemctl stop {unit}"),
        (None, Some((pid, _))) => format!("kill {pid}"),
        (None, None) => format!("ss -l{letter}np 'sport = :{number}', as root, says which; end it"),
    };
    topic
        .fault(format!("{protocol} port {number} is taken by {by}"))
        .mend(format!("{end}; or shardcast run --{flag} with another"))
}

/// Whether the kernel gives the UDP ports to programs that ask for any.
pub(super) fn reserved(host: &Host) -> Finding {
    let ports: Vec<u16> = host.ports.udp.iter().map(|port| port.number).collect();
    let range = host.sysctl.get("net/ipv4/ip_local_port_range");
    let range = range.and_then(|text| {
        let mut words = text.split_whitespace().map(str::parse::<u16>);
        Some(words.next()?.ok()?..=words.next()?.ok()?)
    });
    let (Some(range), Some(reserved)) =
        (range, host.sysctl.get("net/ipv4/ip_local_reserved_ports"))
    else {
        return RESERVED.unknown("net.ipv4.ip_local_reserved_ports cannot be read");
    };
    let is_reserved = |port: u16| {
        reserved.split(',').any(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            matches!((first.trim().parse(), last.trim().parse()), (Ok(first), Ok(last))
                if (first..=last).contains(&port))
        })
    };
    let open: Vec<u16> = ports
        .into_iter()
        .filter(|port| range.contains(port) && !is_reserved(*port))
        .collect();
    if open.is_empty() {
        return RESERVED.ok("no other program is given a UDP port of a shard");
    }
    RESERVED
        .warning(format!(
            "UDP ports that any program may be given: {}",
            list(open)
        ))
        .costs("a program that has one when the engine starts again keeps it from starting")
        .mend(tune("sysctl"))
}
