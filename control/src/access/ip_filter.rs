//! Who may use REST: the address filter of Ant Media Server, closed to all but this machine until
//! the operator opens it, and behind it the look at who sent the browser ([`super::csrf`]).

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};

use shardcast_link::CidrList;

use super::csrf;
use crate::{settings::Settings, state::Control};

/// The other end of the connection, put into each request by the listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Whether the connection is TLS, put into each request by the listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IsTls(pub(crate) bool);

/// Filters by the list of the server.
pub(crate) async fn server_filter(
    State(control): State<Arc<Control>>,
    request: Request,
    next: Next,
) -> Response {
    let allowed = control.settings.remote_allowed_cidr.clone();
    filter(&control, &allowed, request, next).await
}

/// Lets `request` through to `next` when `allowed` holds its address and no page of another site has
/// sent it.
pub(crate) async fn filter(
    control: &Control,
    allowed: &CidrList,
    request: Request,
    next: Next,
) -> Response {
    let address = request
        .extensions()
        .get::<Peer>()
        .map(|peer| peer.0.ip().to_canonical());
    let Some(address) = address.filter(|address| allowed.contains(*address)) else {
        return refusal(address);
    };
    match check_headers(&control.settings, allowed, address, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refused(format!("{refusal}.\n")),
    }
}

/// Whether an application that lets `allowed` publish takes a publisher from `address`, the other end
/// of the connection. As with REST, the addresses that a proxy names in `headers` must be allowed too.
pub(crate) fn may_publish(
    allowed: Option<&CidrList>,
    address: IpAddr,
    headers: &HeaderMap,
) -> bool {
    let is_allowed = |allowed: &CidrList| {
        allowed.contains(address) && csrf::check_forwarded(headers, allowed).is_ok()
    };
    allowed.is_none_or(is_allowed)
}

/// Whether the page that opens signalling may publish.
///
/// # Errors
/// When it may not; the error is the text of the 403.
pub(crate) fn check_publisher_origin(
    settings: &Settings,
    headers: &HeaderMap,
) -> Result<(), csrf::Refusal> {
    let server_name = settings.server_name.as_deref();
    csrf::check_publisher_origin(headers, server_name, &settings.publisher_origins)
}

fn check_headers(
    settings: &Settings,
    allowed: &CidrList,
    address: IpAddr,
    headers: &HeaderMap,
) -> Result<(), csrf::Refusal> {
    csrf::check_forwarded(headers, allowed)?;
    // Where all addresses are allowed there is no filter to get around.
    if allowed.is_open(address) {
        return Ok(());
    }
    let server_name = settings.server_name.as_deref();
    csrf::check_origin(headers, server_name, &settings.allowed_origins)
}

fn refusal(address: Option<IpAddr>) -> Response {
    let address = address.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
    let text = format!(
        "Not allowed IP: {address} is not in remoteAllowedCIDR. Add it to that setting (or call \
         from this machine, the default).\n"
    );
    refused(text)
}

/// Marks the responses of requests that were not let in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused;

fn refused(text: String) -> Response {
    (StatusCode::FORBIDDEN, Extension(Refused), text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether `peer` gets in, with REST open to `allowed` and `pairs` for headers.
    fn lets_in(allowed: &str, peer: &str, pairs: &[(&'static str, &'static str)]) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            server_name: Some("live.example".to_owned()),
            allowed_origins: vec!["https://studio.example".to_owned()],
            ..Settings::in_folder(folder.path())
        };
        let pair = |(name, value): &(&'static str, &'static str)| {
            let name = axum::http::HeaderName::from_static(name);
            (name, axum::http::HeaderValue::from_static(value))
        };
        let headers: HeaderMap = pairs.iter().map(pair).collect();
        let allowed: CidrList = allowed.parse().unwrap();
        let peer = peer.parse().unwrap();
        allowed.contains(peer) && check_headers(&settings, &allowed, peer, &headers).is_ok()
    }

    #[test]
    fn a_browser_in_an_allowed_network_is_no_hand_of_other_sites() {
        let network = "127.0.0.0/8,::1,10.0.0.0/8,2001:db8::/32";
        let evil = ("origin", "https://evil.example");
        let cases: [(&[(&str, &str)], bool); 8] = [
            (&[], true),
            (&[("host", "10.9.9.1:5080")], true),
            (&[("host", "live.example")], true),
            (&[("host", "10.9.9.1"), evil], false),
            (&[("host", "rebound.evil.example")], false),
            (
                &[("host", "10.9.9.1"), ("sec-fetch-site", "cross-site")],
                false,
            ),
            (
                &[("host", "10.9.9.1"), ("origin", "https://studio.example")],
                true,
            ),
            (
                &[("host", "10.9.9.1"), ("origin", "http://10.9.9.1:5080")],
                true,
            ),
        ];
        for peer in ["127.0.0.1", "10.9.9.1", "::1", "2001:db8::7"] {
            for (pairs, wanted) in cases {
                assert_eq!(lets_in(network, peer, pairs), wanted, "{peer} {pairs:?}");
            }
            assert!(
                lets_in("0.0.0.0/0,::/0", peer, &[evil]),
                "open to everybody"
            );
        }
        let outside = "2001:db8::7";
        assert!(!lets_in("0.0.0.0/0", outside, &[]), "open to IPv4");
        assert!(
            !lets_in("127.0.0.0/1", "127.0.0.1", &[evil]),
            "half the world"
        );
    }
}
