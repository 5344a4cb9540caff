//! Who has the ports that Shardcast takes, read from the kernel's tables: trying them would take them
//! from a server that starts at that moment.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use serde::Deserialize;

use super::{
    super::host::{Holder, Port, Ports},
    Root,
};
use crate::settings::Settings;

/// What `runtime.json` says of a server, as far as its processes live.
#[derive(Debug, Default)]
pub(super) struct Server {
    pub(super) control: Option<u32>,
    pub(super) engine: Option<u32>,
    ports: Vec<u16>,
}

#[derive(Debug, Deserialize)]
struct Runtime {
    http: std::net::SocketAddr,
    https: std::net::SocketAddr,
    pid: u32,
    engine_pid: Option<u32>,
    #[serde(default)]
    udp_ports: Vec<u16>,
}

impl Server {
    pub(super) fn read(root: &Root, settings: &Settings) -> Self {
        let file = root.of_setting(&settings.data_dir.join("runtime.json"));
        let runtime = std::fs::read(file).ok();
        let Some(runtime) =
            runtime.and_then(|bytes| serde_json::from_slice::<Runtime>(&bytes).ok())
        else {
            return Self::default();
        };
        // The number of a process that ended may be another's.
        let is_ours = |pid: &u32| {
            let name = root.text(format!("proc/{pid}/comm"));
            name.is_some_and(|name| name.starts_with("shardcast"))
                || (root.is_live() && *pid == std::process::id())
        };
        let control = Some(runtime.pid).filter(is_ours);
        let engine = runtime.engine_pid.filter(is_ours);
        let mut ports = Vec::new();
        if control.is_some() {
            ports.extend([runtime.http.port(), runtime.https.port()]);
            ports.extend(settings.rtmp_port);
            ports.extend(settings.rtmps_port);
        }
        if engine.is_some() {
            ports.extend(runtime.udp_ports);
        }
        Self {
            control,
            engine,
            ports,
        }
    }

    fn is(&self, pid: u32) -> bool {
        self.control == Some(pid) || self.engine == Some(pid)
    }
}

/// A bound socket.
struct Bound {
    address: IpAddr,
    port: u16,
    inode: u64,
}

/// Who has the ports of `settings`. Port 0 is any free one and is left out.
pub(super) fn read(root: &Root, settings: &Settings, server: &Server) -> Ports {
    let (tcp, udp) = (table(root, "tcp", true), table(root, "udp", false));
    let port = |bound: &[Bound], address: IpAddr, number: u16| {
        let taken = bound.iter().find(|one| {
            let meets = one.address.is_unspecified() || address.is_unspecified();
            one.port == number && (meets || one.address == address)
        });
        let holder = taken.map_or(Holder::Free, |one| holder(root, server, one));
        Port { number, holder }
    };
    let tcp_port = |address, number: u16| {
        Some(number)
            .filter(|n| *n != 0)
            .map(|n| port(&tcp, address, n))
    };
    let base = settings.engine.udp_port_base();
    let udp_ports = (0..settings.shards()).filter_map(|shard| base.checked_add(shard));
    Ports {
        http: tcp_port(settings.bind, settings.http_port),
        https: tcp_port(settings.bind, settings.https_port),
        rtmp: settings
            .rtmp_port
            .and_then(|number| tcp_port(settings.bind, number)),
        rtmps: settings
            .rtmps_port
            .and_then(|number| tcp_port(settings.bind, number)),
        tcp_candidates: settings.engine.tcp_candidates_enabled(),
        udp: udp_ports
            .filter(|_| base != 0)
            .map(|number| port(&udp, settings.bind, number))
            .collect(),
    }
}

/// `/proc/net/tcp` and its like: number, local address, remote address, state, …, inode (the tenth).
/// State 0A is a listening socket; sockets of UDP are bound whatever their state.
fn table(root: &Root, protocol: &str, listening: bool) -> Vec<Bound> {
    let mut bound = Vec::new();
    for name in [protocol.to_owned(), format!("{protocol}6")] {
        let text = root.text(format!("proc/net/{name}")).unwrap_or_default();
        bound.extend(text.lines().skip(1).filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (address, port) = words.get(1)?.split_once(':')?;
            if listening && *words.get(3)? != "0A" {
                return None;
            }
            Some(Bound {
                address: address_of(address)?,
                port: u16::from_str_radix(port, 16).ok()?,
                inode: words.get(9)?.parse().ok()?,
            })
        }));
    }
    bound
}

/// The kernel prints an address as 32-bit words in the machine's order.
fn address_of(hex: &str) -> Option<IpAddr> {
    let mut bytes = Vec::new();
    for at in (0..hex.len()).step_by(8) {
        let word = u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    if let Ok(four) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(Ipv4Addr::from(four).into());
    }
    let sixteen = <[u8; 16]>::try_from(bytes.as_slice()).ok()?;
    Some(Ipv6Addr::from(sixteen).to_canonical())
}

fn holder(root: &Root, server: &Server, bound: &Bound) -> Holder {
    let Some(pid) = process_of(root, bound.inode) else {
        // Processes of other users cannot be looked into.
        if server.ports.contains(&bound.port) {
            return Holder::Ours;
        }
        return Holder::Other {
            process: None,
            unit: None,
        };
    };
    if server.is(pid) {
        return Holder::Ours;
    }
    let name = root.text(format!("proc/{pid}/comm")).unwrap_or_default();
    let groups = root.text(format!("proc/{pid}/cgroup")).unwrap_or_default();
    let unit = groups.lines().find_map(|line| {
        let last = Path::new(line.rsplit(':').next()?).file_name()?.to_str()?;
        last.ends_with(".service").then(|| last.to_owned())
    });
    Holder::Other {
        process: Some((pid, name)),
        unit,
    }
}

/// The process that has the socket open.
fn process_of(root: &Root, inode: u64) -> Option<u32> {
    let wanted = format!("socket:[{inode}]");
    root.names("proc").into_iter().find_map(|name| {
        let pid: u32 = name.parse().ok()?;
        let folder = format!("proc/{pid}/fd");
        let mut files = root.names(&folder).into_iter();
        let has = files.any(|fd| {
            let target = root.link(format!("{folder}/{fd}"));
            target.as_deref() == Some(wanted.as_str())
        });
        has.then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_kernels_tables_are_read() {
        let here = u32::from_ne_bytes([127, 0, 0, 1]);
        assert_eq!(
            address_of(&format!("{here:08X}")),
            Some([127, 0, 0, 1].into())
        );
        let any = address_of(&"0".repeat(32)).unwrap();
        assert!(any.is_unspecified());
        assert_eq!(address_of("12"), None);
        assert_eq!(address_of(""), None);
    }
}
