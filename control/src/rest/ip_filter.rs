//! Who may use REST: the address filter of Ant Media Server, closed to all but this machine until
//! the operator opens it. `X-Forwarded-For` is not looked at: anybody can write it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::ApplicationName;
use crate::{cidr::CidrList, control::Control};

/// The other end of the connection, put into each request by the listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Filters by the list of the application that the path names.
pub(crate) async fn application(
    State(control): State<Arc<Control>>,
    request: Request,
    next: Next,
) -> Response {
    let name = request
        .extensions()
        .get::<ApplicationName>()
        .map(|name| name.0.as_str());
    let name = name.unwrap_or_default();
    let Some(application) = control.application(name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let allowed = application.remote_allowed_cidr.clone();
    filter(&allowed, request, next).await
}

/// Filters by the list of the server.
pub(crate) async fn server(
    State(control): State<Arc<Control>>,
    request: Request,
    next: Next,
) -> Response {
    let allowed = control.settings.remote_allowed_cidr.clone();
    filter(&allowed, request, next).await
}

async fn filter(allowed: &CidrList, request: Request, next: Next) -> Response {
    let address = request
        .extensions()
        .get::<Peer>()
        .map(|peer| peer.0.ip().to_canonical());
    match address {
        Some(address) if allowed.contains(address) => next.run(request).await,
        address => refusal(address),
    }
}

fn refusal(address: Option<IpAddr>) -> Response {
    let address = address.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
    let text = format!(
        "Not allowed IP: {address} is not in remoteAllowedCIDR. Add it to that setting (or call \
         from this machine, the default).\n"
    );
    (StatusCode::FORBIDDEN, text).into_response()
}
