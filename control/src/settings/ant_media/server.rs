//! Settings of the whole server (`red5.properties` there).

use std::net::IpAddr;

use toml::Value;

use super::{
    ServerPart, put,
    values::{boolean, parse},
};

/// Sets what one of them means here. `false`: it is none of them, or its value cannot be used.
pub(super) fn assign_server(server: &mut ServerPart, name: &str, value: &Value) -> bool {
    match name {
        "http.port" => put(&mut server.http_port, parse(value)),
        "https.port" => put(&mut server.https_port, parse(value)),
        "rtmp.port" => put(&mut server.rtmp_port, parse(value)),
        // Not a setting there, but guides have it, and what it means is plain.
        "rtmpEnabled" => put(&mut server.rtmp_enabled, boolean(value)),
        "server.name" => match parse::<String>(value) {
            Some(name) if name.is_empty() => true,
            name => put(&mut server.name, name),
        },
        "webRTCTcpCandidatesEnabled" | "webrtc.tcpCandidateEnabled" => {
            put(&mut server.engine.tcp_candidates_enabled, boolean(value))
        }
        "webRTCPortRangeMin" | "webrtc.portRangeMin" => {
            put(&mut server.engine.udp_port_base, parse(value))
        }
        "replaceCandidateAddrWithServerAddr" => {
            put(&mut server.replaces_candidates, boolean(value))
        }
        "webrtc.externalIP" => {
            let address: Option<IpAddr> = parse(value);
            if let Some(address) = address {
                let addresses = server.engine.advertise.get_or_insert_default();
                addresses.push(address);
            }
            address.is_some()
        }
        _ => false,
    }
}
