//! The client that proxies name in their headers. Any client can write these headers, so for REST they
//! only ever close doors; signalling takes a client's address from them when the proxy is trusted.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Instant,
};

use axum::http::{HeaderMap, header};
use shardcast_link::CidrList;
use shardcast_log::Limiter;

static DISAGREE: Limiter = Limiter::refusals();

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

/// Whether `address` is trusted with more than strangers are, and to name the clients behind it: it
/// may use REST. Where the range that permits it holds strangers, that says nothing, and only this
/// machine is.
pub(crate) fn is_trusted(address: IpAddr, allowed: &CidrList) -> bool {
    let is_known = !allowed.holds_strangers(address) || address.to_canonical().is_loopback();
    is_known && allowed.contains(address)
}

/// The client of a request from `peer`, and whether it is trusted: `peer` itself, or, when that is a
/// trusted proxy, the last address on the way that is not trusted (what is before that one, the
/// client may have written). A proxy passes on the headers that it does not set, so where two of
/// them disagree one may be the client's. Such a client, and one that the proxy does not name, has
/// the unspecified address of the family of `peer` and is not trusted: with the proxy's address it
/// would be the same client as the proxy and this machine.
pub(crate) fn client(peer: IpAddr, headers: &HeaderMap, allowed: &CidrList) -> (IpAddr, bool) {
    let peer = peer.to_canonical();
    if !is_trusted(peer, allowed) {
        return (peer, false);
    }
    let lists: [(&str, Vec<&str>); 2] = [
        ("x-forwarded-for", x_forwarded_for(headers).collect()),
        ("forwarded", forwarded(headers).collect()),
    ];
    let lists = lists.into_iter().filter(|(_, way)| !way.is_empty());
    let single = |name: &'static str| values(headers, name).map(move |word| (name, vec![word]));
    let mut ways = lists.chain(SINGLE.into_iter().flat_map(single));
    let Some((header, way)) = ways.next() else {
        return (peer, true);
    };
    let last_hop = last(&way);
    let mut client = peer;
    for word in way.into_iter().rev() {
        if !is_trusted(client, allowed) {
            break;
        }
        match node_address(word) {
            Some(address) => client = address.to_canonical(),
            // A client that the proxy does not name.
            None => return (nobody(peer), false),
        }
    }
    // Behind several proxies a header with one address names the client or the proxy before the last.
    let disagrees = |(_, way): &(&str, Vec<&str>)| {
        let named = last(way);
        named.is_none() || (named != Some(client) && named != last_hop)
    };
    let Some((other, _)) = ways.find(disagrees) else {
        return (client, is_trusted(client, allowed));
    };
    if let Some(left_out) = DISAGREE.admit(Instant::now()) {
        tracing::warn!(
            proxy = %peer,
            header,
            other,
            left_out,
            "two headers of a proxy name different clients, so this client counts as no address; \
             the proxy must set both or remove the one that it does not set"
        );
    }
    (nobody(peer), false)
}

/// The address of a client that is not known, of the family of `peer`.
fn nobody(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// The address that `way` ends with, as the nearest proxy has seen it.
fn last(way: &[&str]) -> Option<IpAddr> {
    let address = way.last().and_then(|word| node_address(word));
    address.map(|address| address.to_canonical())
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

    /// The client of a request from `peer` with `pairs` for headers, where `allowed` may use REST.
    fn found(allowed: &str, peer: &str, pairs: &[(&'static str, &'static str)]) -> (String, bool) {
        let allowed = allowed.parse().unwrap();
        let (address, is_trusted) = client(peer.parse().unwrap(), &headers(pairs), &allowed);
        (address.to_string(), is_trusted)
    }

    /// Peer, headers, and the client with whether it may use REST.
    type Case = (
        &'static str,
        &'static [(&'static str, &'static str)],
        &'static str,
        bool,
    );

    const CLIENTS: [Case; 11] = [
        (
            "203.0.113.1",
            &[("x-forwarded-for", "1.1.1.1")],
            "203.0.113.1",
            false,
        ),
        ("127.0.0.1", &[], "127.0.0.1", true),
        (
            "127.0.0.1",
            &[("x-forwarded-for", "203.0.113.2")],
            "203.0.113.2",
            false,
        ),
        (
            "127.0.0.1",
            &[("x-forwarded-for", "1.1.1.1, 203.0.113.2, 10.0.0.9")],
            "203.0.113.2",
            false,
        ),
        (
            "127.0.0.1",
            &[("x-forwarded-for", "10.0.0.7")],
            "10.0.0.7",
            true,
        ),
        (
            "127.0.0.1",
            &[("x-forwarded-for", "1.1.1.1, junk")],
            "0.0.0.0",
            false,
        ),
        (
            "::ffff:127.0.0.1",
            &[("x-real-ip", "2001:db8::2")],
            "2001:db8::2",
            false,
        ),
        (
            "127.0.0.1",
            &[("forwarded", "for=\"[2001:db8::2]:99\"")],
            "2001:db8::2",
            false,
        ),
        (
            "127.0.0.1",
            &[
                ("x-real-ip", "203.0.113.2"),
                ("x-forwarded-for", "1.1.1.1, 203.0.113.2"),
            ],
            "203.0.113.2",
            false,
        ),
        // The proxy before this one is of a network that names its client.
        (
            "127.0.0.1",
            &[
                ("x-real-ip", "10.0.0.9"),
                ("cf-connecting-ip", "203.0.113.2"),
                ("x-forwarded-for", "203.0.113.2, 10.0.0.9"),
            ],
            "203.0.113.2",
            false,
        ),
        (
            "127.0.0.1",
            &[("x-real-ip", "junk"), ("x-forwarded-for", "203.0.113.2")],
            "0.0.0.0",
            false,
        ),
    ];

    #[test]
    fn a_client_is_told_by_a_trusted_proxy_only_and_cannot_choose_its_own_address() {
        for (peer, pairs, address, is_trusted) in CLIENTS {
            let wanted = (address.to_owned(), is_trusted);
            let allowed = "127.0.0.0/8,10.0.0.0/8";
            assert_eq!(found(allowed, peer, pairs), wanted, "{peer} {pairs:?}");
        }
    }

    #[test]
    fn a_header_that_the_proxy_passes_through_is_not_taken_for_its_own() {
        // The first of each is the client's.
        let cases: [&[(&str, &str)]; 4] = [
            &[("x-forwarded-for", "1.1.1.1"), ("x-real-ip", "203.0.113.2")],
            &[
                ("x-forwarded-for", "1.1.1.1"),
                ("forwarded", "for=203.0.113.2"),
            ],
            &[("forwarded", "for=1.1.1.1"), ("x-real-ip", "203.0.113.2")],
            &[
                ("x-real-ip", "1.1.1.1"),
                ("cf-connecting-ip", "203.0.113.2"),
            ],
        ];
        for pairs in cases {
            for (peer, nobody) in [("127.0.0.1", "0.0.0.0"), ("::1", "::")] {
                let wanted = (nobody.to_owned(), false);
                let found = found("127.0.0.0/8,::1", peer, pairs);
                assert_eq!(found, wanted, "{peer} {pairs:?}");
            }
        }
    }

    #[test]
    fn where_everybody_may_use_rest_only_this_machine_is_a_proxy() {
        let forged: [(&str, &str); 1] = [("x-forwarded-for", "1.1.1.1, 203.0.113.2")];
        for (allowed, peer, wanted) in [
            ("0.0.0.0/0,::/0", "198.51.100.1", "198.51.100.1"),
            ("0.0.0.0/0,::/0", "2001:db8::2", "2001:db8::2"),
            ("0.0.0.0/0,10.0.0.0/8", "10.0.0.1", "10.0.0.1"),
            ("0.0.0.0/0,::/0", "127.0.0.1", "203.0.113.2"),
            ("0.0.0.0/1,128.0.0.0/1", "198.51.100.1", "198.51.100.1"),
            ("::/1,8000::/1", "2001:db8::2", "2001:db8::2"),
        ] {
            let wanted = (wanted.to_owned(), false);
            assert_eq!(found(allowed, peer, &forged), wanted, "{allowed} {peer}");
        }
        let this_machine = ("127.0.0.1".to_owned(), true);
        assert_eq!(found("0.0.0.0/0", "127.0.0.1", &[]), this_machine);
    }
}
