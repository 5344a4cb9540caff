//! How the network reaches this machine, and this machine the platforms.

use std::net::IpAddr;

use shardcast_link::machine::{Authorities, Probe};

use super::{
    super::{
        host::Host,
        report::{Finding, Topic},
    },
    list,
};

const ADDRESS: Topic = Topic("public_address", "Public address");
const AUTHORITIES: Topic = Topic("authorities", "TLS authorities");
const PLATFORMS: Topic = Topic("platforms", "Platforms");

fn probe(host: &Host) -> Option<&Probe> {
    host.probe.as_ref()?.as_ref().ok()
}

/// Whether the Internet may send to `address`.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            // RFC 6598: shared between a provider and its customers.
            let is_shared = a == 100 && (64..128).contains(&b);
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || is_shared)
        }
        IpAddr::V6(v6) => {
            !(v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unique_local()
                || v6.is_unicast_link_local())
        }
    }
}

/// Whether browsers are told an address that reaches this machine.
pub(super) fn public_address(host: &Host) -> Finding {
    let reach = &host.reach;
    let own = probe(host).map(|probe| probe.addresses.as_slice());
    let told: Vec<IpAddr> = match (reach.advertise.as_slice(), reach.bind) {
        ([], Some(bind)) if !bind.is_unspecified() => vec![bind],
        ([], bind) => {
            let own = own.unwrap_or_default().iter().copied();
            let is_bound =
                |address: &IpAddr| address.is_ipv4() || bind.is_none_or(|bind| bind.is_ipv6());
            own.filter(|address| !address.is_loopback() && is_bound(address))
                .collect()
        }
        (advertise, _) => advertise.to_vec(),
    };
    let mut what = format!("browsers are told {}", list(&told));
    if let Some(Err(problem)) = &reach.seen_as {
        what = format!("{what} ({problem}, so it is not compared)");
    }
    if told.is_empty() {
        return match own {
            None => ADDRESS.unknown("the addresses of this machine were not read"),
            Some(_) => ADDRESS
                .warning("this machine has no address but loopback")
                .costs("only programs on this machine can publish")
                .mend("shardcast run --advertise ADDRESS"),
        };
    }
    match &reach.seen_as {
        Some(Ok(seen)) if told.contains(seen) => {
            return ADDRESS.ok(format!("{what}; packets of this machine come from there"));
        }
        Some(Ok(seen)) => {
            return ADDRESS
                .warning(format!("{what}; packets of this machine come from {seen}"))
                .costs("publishers outside of this network do not reach it, unless they are told an address that does")
                .mend(format!("shardcast run --advertise {seen}"));
        }
        Some(Err(_)) | None => {}
    }
    if !told.iter().copied().any(is_public) {
        return ADDRESS
            .warning(format!("{what}: no public address"))
            .costs("publishers outside of this network cannot send media")
            .mend("shardcast run --advertise PUBLIC_ADDRESS");
    }
    let is_foreign = |address: &IpAddr| own.is_some_and(|own| !own.contains(address));
    if !reach.advertise.is_empty() && reach.advertise.iter().all(is_foreign) {
        return ADDRESS.ok(format!(
            "{what}, which is right if the network translates it to this machine (1:1 NAT)"
        ));
    }
    ADDRESS.ok(what)
}

/// Whether certificates of destinations can be checked.
pub(super) fn authorities(host: &Host) -> Finding {
    match probe(host).and_then(|probe| probe.authorities.as_ref()) {
        None => AUTHORITIES.unknown("the engine did not read them"),
        Some(Authorities::Read { count: 0 }) => AUTHORITIES
            .fault("this machine has none")
            .costs("no rtmps:// destination can be trusted, so none is connected")
            .mend("apt install ca-certificates"),
        Some(Authorities::Read { count }) => AUTHORITIES.ok(format!("{count} are trusted")),
        Some(Authorities::Fails { problem }) => AUTHORITIES
            .fault(problem.clone())
            .costs("the engine does not start")
            .mend("correct rtmps_ca_file, or take it out of the settings"),
    }
}

/// Whether the platforms take RTMPS from here.
pub(super) fn platforms(host: &Host) -> Finding {
    if !host.reach.online {
        return PLATFORMS
            .unknown("not called: that is asked for by `shardcast doctor` without --offline");
    }
    let reached = probe(host).map(|probe| probe.platforms.as_slice());
    let reached = reached.unwrap_or_default();
    if reached.is_empty() {
        return PLATFORMS.unknown("the engine did not call them");
    }
    let failed: Vec<_> = reached
        .iter()
        .filter_map(|one| Some((one, one.problem.as_ref()?)))
        .collect();
    let Some((first, _)) = failed.first() else {
        let names = reached.iter().map(|one| &one.platform);
        return PLATFORMS.ok(format!("{} take RTMPS from here", list(names)));
    };
    let problems = failed
        .iter()
        .map(|(one, problem)| format!("{} ({}): {problem}", one.platform, one.address));
    PLATFORMS
        .warning(list(problems))
        .costs("destinations there are not connected")
        .mend(format!(
            "openssl s_client -connect {} shows where it ends; then the firewall, proxy or DNS of this network",
            first.address
        ))
}
