//! What proxies say of the client behind them. Anybody can write these headers, so for REST they
//! only ever close doors; signalling takes a client's address from them when the proxy is trusted.

use std::net::IpAddr;

use axum::http::{HeaderMap, header};
use shardcast_link::CidrList;

/// Headers with one address each (nginx and Envoy, Akamai, Cloudflare).
const SINGLE: [&str; 4] = [
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
];

/// The first address that a proxy names and that is not in `allowed`, as it is written.
pub(crate) fn outside<'a>(headers: &'a HeaderMap, allowed: &CidrList) -> Option<&'a str> {
    let single = SINGLE.iter().flat_map(|name| values(headers, name));
    let mut words = x_forwarded_for(headers)
        .chain(forwarded(headers))
        .chain(single);
    words.find(|word| !node_address(word).is_some_and(|address| allowed.contains(address)))
}

/// The client of a request from `peer`: `peer` itself, or, when that is a proxy in `trusted`, the
/// last address on the way that is not in `trusted` (what is before that one, the client may have
/// written).
pub(crate) fn client(peer: IpAddr, headers: &HeaderMap, trusted: &CidrList) -> IpAddr {
    let mut words: Vec<&str> = x_forwarded_for(headers).collect();
    if words.is_empty() {
        words = forwarded(headers).collect();
    }
    if words.is_empty() {
        words = SINGLE
            .iter()
            .flat_map(|name| values(headers, name))
            .collect();
        words.truncate(1);
    }
    let mut client = peer.to_canonical();
    for word in words.into_iter().rev() {
        match node_address(word) {
            Some(address) if trusted.contains(client) => client = address.to_canonical(),
            _ => break,
        }
    }
    client
}

fn x_forwarded_for(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    values(headers, "x-forwarded-for")
}

/// RFC 7239 §4.
fn forwarded(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let pairs = headers
        .get_all(header::FORWARDED)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or("for=?").split([',', ';']));
    pairs.filter_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        let value = value.trim().trim_matches('"');
        key.trim_end().eq_ignore_ascii_case("for").then_some(value)
    })
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter();
    values
        .flat_map(|value| value.to_str().unwrap_or("?").split(','))
        .map(|word| word.trim().trim_matches('"'))
}

/// `1.2.3.4`, `1.2.3.4:5`, `::1` or `[::1]:5` (RFC 7239 §6).
fn node_address(word: &str) -> Option<IpAddr> {
    word.parse().ok().or_else(|| address(without_port(word)))
}

/// The address that `host` is, with or without the brackets of a URL (RFC 3986 §3.2.2).
pub(crate) fn address(host: &str) -> Option<IpAddr> {
    let inner = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(host).parse().ok()
}

pub(crate) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn every_forwarded_address_must_be_allowed_too() {
        let allowed: CidrList = "127.0.0.0/8,10.0.0.0/8,::1/128".parse().unwrap();
        for (name, value, wanted) in [
            ("x-forwarded-for", "10.1.2.3", None),
            ("x-forwarded-for", "10.1.2.3, 127.0.0.1", None),
            (
                "x-forwarded-for",
                "203.0.113.9, 10.1.2.3",
                Some("203.0.113.9"),
            ),
            ("x-forwarded-for", "unknown", Some("unknown")),
            ("x-forwarded-for", "", Some("")),
            (
                "forwarded",
                "for=10.1.2.3:80;proto=http, for=\"[::1]:9\"",
                None,
            ),
            (
                "forwarded",
                "proto=http;For=203.0.113.9",
                Some("203.0.113.9"),
            ),
            ("forwarded", "for =203.0.113.9", Some("203.0.113.9")),
            ("x-real-ip", "10.1.2.3", None),
            ("x-real-ip", "203.0.113.9", Some("203.0.113.9")),
            ("x-client-ip", "203.0.113.9", Some("203.0.113.9")),
            ("true-client-ip", "203.0.113.9", Some("203.0.113.9")),
            ("cf-connecting-ip", "2001:db8::9", Some("2001:db8::9")),
        ] {
            let headers = headers(&[(name, value)]);
            assert_eq!(outside(&headers, &allowed), wanted, "{name}: {value}");
        }
    }

    #[test]
    fn a_client_is_told_by_a_trusted_proxy_only_and_cannot_choose_its_own_address() {
        let trusted: CidrList = "127.0.0.0/8,10.0.0.0/8".parse().unwrap();
        for (peer, pairs, wanted) in [
            (
                "203.0.113.1",
                vec![("x-forwarded-for", "1.1.1.1")],
                "203.0.113.1",
            ),
            ("127.0.0.1", vec![], "127.0.0.1"),
            (
                "127.0.0.1",
                vec![("x-forwarded-for", "203.0.113.2")],
                "203.0.113.2",
            ),
            (
                "127.0.0.1",
                vec![("x-forwarded-for", "1.1.1.1, 203.0.113.2, 10.0.0.9")],
                "203.0.113.2",
            ),
            (
                "127.0.0.1",
                vec![("x-forwarded-for", "1.1.1.1, junk")],
                "127.0.0.1",
            ),
            (
                "::ffff:127.0.0.1",
                vec![("x-real-ip", "2001:db8::2")],
                "2001:db8::2",
            ),
            (
                "127.0.0.1",
                vec![("forwarded", "for=\"[2001:db8::2]:99\"")],
                "2001:db8::2",
            ),
            (
                "127.0.0.1",
                vec![("x-real-ip", "1.1.1.1"), ("x-forwarded-for", "203.0.113.2")],
                "203.0.113.2",
            ),
        ] {
            let found = client(peer.parse().unwrap(), &headers(&pairs), &trusted);
            assert_eq!(found, wanted.parse::<IpAddr>().unwrap(), "{peer} {pairs:?}");
        }
    }
}
