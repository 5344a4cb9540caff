//! Protects REST from cross-site requests (CSRF) and DNS rebinding.
//!
//! REST admits certain addresses without a login. A browser at such an address sends the requests of
//! every page that it shows, and a page whose name begins to resolve to this server (DNS rebinding) even
//! reads the answers. So wherever the address alone admits a request, its `Host` and its `Origin` must be
//! ours, and the browser must not mark it as sent by another site.

use axum::http::{HeaderMap, HeaderName, header};
use shardcast_link::CidrList;

use crate::forwarded::{self, address, without_port};

/// Why a request is refused; its text is that of the 403.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// A proxy says that the request came from elsewhere.
    #[error("Not allowed IP: {0}, forwarded by a proxy, is not in remoteAllowedCIDR")]
    Forwarded(String),
    /// A name that may have been pointed at this machine by its owner (DNS rebinding).
    #[error("Not allowed host: {0} is no name of this server. Set server_name to it")]
    Host(String),
    /// A page of another site.
    #[error("Not allowed origin: {0} is not in allowed_origins. Add it to that setting")]
    Origin(String),
    /// A page that may not publish.
    #[error("Not allowed origin: {0} is not in publisher_origins. Add it to that setting")]
    PublisherOrigin(String),
    /// The same, of a request that does not say which site.
    #[error(
        "Not allowed origin: a page of another site asks. Call with fetch() from a page whose origin \
         is in allowed_origins, or open the address by hand"
    )]
    CrossSite,
}

/// Which site's page has sent a request, as the browser says (Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses when a proxy names an address that is not in `allowed`. Any client can write these
/// headers, so they never admit a request.
pub(super) fn check_forwarded(headers: &HeaderMap, allowed: &CidrList) -> Result<(), Refusal> {
    match forwarded::outside(headers, allowed) {
        Some(word) => Err(Refusal::Forwarded(shown(word))),
        None => Ok(()),
    }
}

/// Refuses what a page of another site has sent, or a name that is not this server's.
/// `allowed_origins` are origins such as `https://studio.example`; `*` is any.
pub(super) fn check_origin(
    headers: &HeaderMap,
    server_name: Option<&str>,
    allowed_origins: &[String],
) -> Result<(), Refusal> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let is_server = |host: &str| server_name.is_some_and(|name| name.eq_ignore_ascii_case(host));
    let host = text(header::HOST).map(|host| without_port(host).to_ascii_lowercase());
    if let Some(host) = &host
        && !(address(host).is_some() || is_private_name(host) || is_server(host))
    {
        return Err(Refusal::Host(shown(host)));
    }
    let Some(origin) = text(header::ORIGIN) else {
        // Links, pictures and forms of other sites say no origin when they GET (Fetch Metadata).
        return match text(SEC_FETCH_SITE) {
            Some(site) if site.eq_ignore_ascii_case("cross-site") => Err(Refusal::CrossSite),
            _ => Ok(()),
        };
    };
    if is_ours(origin, host.as_deref(), server_name, allowed_origins) {
        Ok(())
    } else {
        Err(Refusal::Origin(shown(origin)))
    }
}

/// Refuses signalling to pages of other sites where the operator lists those that may publish:
/// `publisher_origins`, unless it is empty. Who is no browser says no origin.
pub(super) fn check_publisher_origin(
    headers: &HeaderMap,
    server_name: Option<&str>,
    publisher_origins: &[String],
) -> Result<(), Refusal> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let Some(origin) = text(header::ORIGIN).filter(|_| !publisher_origins.is_empty()) else {
        return Ok(());
    };
    let host = text(header::HOST).map(without_port);
    // A name that was pointed here by its owner does not make a page ours.
    let host = host.filter(|host| address(host).is_some());
    if is_ours(origin, host, server_name, publisher_origins) {
        Ok(())
    } else {
        Err(Refusal::PublisherOrigin(shown(origin)))
    }
}

/// Whether `origin` is in `listed`, or a page of this machine, or of this server under `host`.
fn is_ours(origin: &str, host: Option<&str>, server_name: Option<&str>, listed: &[String]) -> bool {
    let is_origin = |listed: &String| {
        listed == "*" || listed.trim_end_matches('/').eq_ignore_ascii_case(origin)
    };
    if listed.iter().any(is_origin) {
        return true;
    }
    let Some(from) = origin.split_once("://").map(|(_, host)| without_port(host)) else {
        return false;
    };
    let is_from = |name: &str| name.eq_ignore_ascii_case(from);
    address(from).is_some_and(|address| address.is_loopback())
        || is_localhost(from)
        || server_name.is_some_and(is_from)
        || host.is_some_and(is_from)
}

/// Names that no outsider can point anywhere, because no public DNS server is asked for them:
/// those without a dot, and those below what is set apart for networks of one's own (RFC 6761,
/// 6762, 8375, and ICANN's `internal`).
fn is_private_name(host: &str) -> bool {
    let is_below = |domain: &str| {
        host.strip_suffix(domain)
            .is_some_and(|name| name.ends_with('.'))
    };
    is_localhost(host)
        || (!host.is_empty()
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)))
        || ["local", "internal", "home.arpa"]
            .iter()
            .any(|domain| is_below(domain))
}

/// Names below `localhost` never leave the machine (RFC 6761 §6.3).
fn is_localhost(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

fn shown(text: &str) -> String {
    text.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        pairs.iter().map(pair).collect()
    }

    fn origin(host: &'static str, origin: &'static str, allowed: &[&str]) -> bool {
        let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        let headers = headers(&[("host", host), ("origin", origin)]);
        check_origin(&headers, Some("live.example"), &allowed).is_ok()
    }

    #[test]
    fn pages_of_this_machine_and_of_this_server_may_call() {
        for (host, from) in [
            ("127.0.0.1:5080", "http://localhost:3000"),
            ("localhost:5080", "http://127.0.0.1:8080"),
            ("localhost:5080", "http://studio.localhost"),
            ("[::1]:5080", "http://[::1]:9"),
            ("192.0.2.7:5080", "http://192.0.2.7"),
            ("live.example", "https://live.example:5443"),
        ] {
            assert!(origin(host, from, &[]), "{from} to {host}");
        }
        assert_eq!(check_origin(&headers(&[]), None, &[]), Ok(()), "no browser");
    }

    #[test]
    fn pages_of_other_sites_may_call_only_when_they_are_listed() {
        for from in [
            "https://evil.example",
            "null",
            "https://localhost.evil.example",
        ] {
            assert!(
                !origin("127.0.0.1:5080", from, &["https://studio.example/"]),
                "{from}"
            );
            assert!(origin("127.0.0.1:5080", from, &["*"]), "{from}");
        }
        let listed = ["https://studio.example/"];
        assert!(origin("127.0.0.1:5080", "https://studio.example", &listed));
    }

    #[test]
    fn a_name_that_is_not_this_servers_is_refused_whatever_it_resolves_to() {
        for host in [
            "evil.example:5080",
            "localhost.evil.example",
            "?",
            "",
            "127.0.0.1@evil.example",
            "evillocal.example",
            ".",
        ] {
            assert!(!origin(host, "http://localhost", &["*"]), "{host}");
        }
    }

    #[test]
    fn names_that_no_public_dns_knows_need_no_setting() {
        for host in [
            "shardcast:5080",
            "media_1",
            "media.local",
            "shardcast.prod.internal",
            "tv.home.arpa",
        ] {
            assert!(origin(host, "http://localhost", &[]), "{host}");
        }
    }

    #[test]
    fn every_page_may_publish_until_some_are_listed() {
        for (listed, from, wanted) in [
            (None, "https://evil.example", true),
            (
                Some("https://studio.example"),
                "https://evil.example",
                false,
            ),
            (Some("https://studio.example"), "null", false),
            (
                Some("https://studio.example"),
                "https://studio.example",
                true,
            ),
            (
                Some("https://studio.example"),
                "https://live.example:5443",
                true,
            ),
            (
                Some("https://studio.example"),
                "http://localhost:3000",
                true,
            ),
            (
                Some("https://studio.example"),
                "http://192.0.2.7:5080",
                true,
            ),
            (
                Some("https://studio.example"),
                "http://rebound.example",
                false,
            ),
            (Some("https://studio.example"), "", true),
        ] {
            let host = if from.contains("rebound") {
                "rebound.example"
            } else {
                "192.0.2.7:5080"
            };
            let mut headers = headers(&[("host", host), ("origin", from)]);
            if from.is_empty() {
                headers.remove("origin");
            }
            let listed: Vec<String> = listed.into_iter().map(str::to_owned).collect();
            let found = check_publisher_origin(&headers, Some("live.example"), &listed);
            assert_eq!(found.is_ok(), wanted, "{listed:?} {from}");
        }
    }

    #[test]
    fn a_picture_or_a_link_of_another_site_may_not_call() {
        for (site, wanted) in [
            ("cross-site", false),
            ("same-site", true),
            ("same-origin", true),
            ("none", true),
        ] {
            let headers = headers(&[("host", "127.0.0.1"), ("sec-fetch-site", site)]);
            assert_eq!(check_origin(&headers, None, &[]).is_ok(), wanted, "{site}");
        }
        let listed = headers(&[
            ("host", "127.0.0.1"),
            ("origin", "https://studio.example"),
            ("sec-fetch-site", "cross-site"),
        ]);
        let studio = ["https://studio.example".to_owned()];
        assert_eq!(check_origin(&listed, None, &studio), Ok(()));
    }
}
