//! Socket buffers and queues of the kernel.

use shardcast_link::machine::{Probe, UDP_RECEIVE_BYTES, UDP_SEND_BYTES};

use super::{
    super::{
        host::Host,
        report::{Finding, Topic},
    },
    bytes, grouped, tune,
};

const UDP_RECEIVE: Topic = Topic("udp_receive_buffer", "UDP receive buffer");
const UDP_SEND: Topic = Topic("udp_send_buffer", "UDP send buffer");
const TCP_SEND: Topic = Topic("tcp_send_buffer", "TCP send buffer");
const BACKLOGS: Topic = Topic("backlogs", "Backlogs");

/// What 1,000 publishers of 4.5 Mbit/s bring in a millisecond; the kernel counts about twice of it.
const LOAD_BYTES_PER_MS: u64 = 2 * 560_000;
/// Send buffer of a destination at 50 Mbit/s over a round trip of 300 ms (tuning/sysctl).
const TCP_SEND_BYTES_MIN: u64 = 8 << 20;
/// Least values of queues, and what each is for (tuning/sysctl).
const QUEUES: [(&str, u64, &str); 2] = [
    (
        "net/core/netdev_max_backlog",
        16_384,
        "packets between card and socket",
    ),
    (
        "net/core/somaxconn",
        4_096,
        "connections that wait for HTTP",
    ),
];

/// The bytes that a shard's socket gets: as the engine has tried, or else the kernel's maximum.
fn given(host: &Host, probed: fn(&Probe) -> Option<u64>, sysctl: &'static str) -> Option<u64> {
    let probe = host.probe.as_ref().and_then(|asked| asked.as_ref().ok());
    let maximum = || host.sysctl.get(sysctl)?.parse().ok();
    probe.and_then(probed).or_else(maximum)
}

/// How many bytes wait for a shard that is away for a moment.
pub(super) fn udp_receive(host: &Host) -> Finding {
    match given(host, |probe| probe.udp_receive_bytes, "net/core/rmem_max") {
        None => UDP_RECEIVE.unknown("neither the engine nor net.core.rmem_max says its size"),
        Some(got) if got < UDP_RECEIVE_BYTES => UDP_RECEIVE
            .warning(format!(
                "the kernel gives {} where a shard asks for {}",
                bytes(got),
                bytes(UDP_RECEIVE_BYTES)
            ))
            .costs(format!(
                "packets are lost when a shard with 1,000 publishers of 4.5 Mbit/s is away for {}.{} ms, \
                 and with fewer accordingly later",
                got / LOAD_BYTES_PER_MS,
                got * 10 / LOAD_BYTES_PER_MS % 10
            ))
            .mend(tune("sysctl")),
        Some(got) => UDP_RECEIVE.ok(format!("a shard gets {}", bytes(got))),
    }
}

/// How many bytes of a burst the kernel takes.
pub(super) fn udp_send(host: &Host) -> Finding {
    match given(host, |probe| probe.udp_send_bytes, "net/core/wmem_max") {
        None => UDP_SEND.unknown("neither the engine nor net.core.wmem_max says its size"),
        Some(got) if got < UDP_SEND_BYTES => UDP_SEND
            .warning(format!(
                "the kernel gives {} where a shard asks for {}",
                bytes(got),
                bytes(UDP_SEND_BYTES)
            ))
            .costs(
                "answers and keyframes to many peers at once wait for the next turn of the shard",
            )
            .mend(tune("sysctl")),
        Some(got) => UDP_SEND.ok(format!("a shard gets {}", bytes(got))),
    }
}

/// How many bytes may be on the way to one destination.
pub(super) fn tcp_send(host: &Host) -> Finding {
    let maximum = host
        .sysctl
        .get("net/ipv4/tcp_wmem")
        .and_then(|text| text.split_whitespace().nth(2)?.parse::<u64>().ok());
    match maximum {
        None => TCP_SEND.unknown("net.ipv4.tcp_wmem does not say its size"),
        // The kernel counts about twice the payload.
        Some(most) if most < TCP_SEND_BYTES_MIN => TCP_SEND
            .warning(format!("{} at most for one destination", bytes(most)))
            .costs(format!(
                "over a round trip of 300 ms a destination takes {} Mbit/s at most",
                most * 8 * 10 / 3 / 2 / 1_000_000
            ))
            .mend(tune("sysctl")),
        Some(most) => TCP_SEND.ok(format!("{} at most for one destination", bytes(most))),
    }
}

/// Queues before the sockets.
pub(super) fn backlogs(host: &Host) -> Finding {
    let read = |name: &str| host.sysctl.get(name)?.parse::<u64>().ok();
    let known = QUEUES.map(|(name, least, purpose)| (name, least, purpose, read(name)));
    let mut small = Vec::new();
    for (name, least, purpose, value) in known {
        let Some(value) = value else {
            return BACKLOGS.unknown(format!("{} cannot be read", name.replace('/', ".")));
        };
        if value < least {
            let (value, least) = (grouped(value), grouped(least));
            small.push(format!("{value} {purpose}, {least} are wanted"));
        }
    }
    if small.is_empty() {
        return BACKLOGS.ok("long enough for the beginning of a large event");
    }
    BACKLOGS
        .warning(small.join("; "))
        .costs("in a burst the kernel drops what comes beyond that")
        .mend(tune("sysctl"))
}
