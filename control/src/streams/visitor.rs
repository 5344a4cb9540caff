//! Who asks for a file below `/{app}/streams/`, and what it says of itself.

use std::{collections::HashMap, net::IpAddr, time::Instant};

use axum::http::{HeaderMap, header, request::Parts};
use shardcast_link::BroadcastId;

use super::refusal::Refusal;
use crate::{access::Peer, admission, forwarded, hls::Watcher, limits, state::Control};

/// The cookie that tells browsers apart. It permits nothing.
const COOKIE: &str = "shardcast_hls";

/// The sender of a request.
#[derive(Debug)]
pub(super) struct Visitor {
    pub(super) watcher: Watcher,
    pub(super) token: String,
}

impl Visitor {
    pub(super) fn of(
        control: &Control,
        parts: &Parts,
        parameters: &mut HashMap<String, String>,
    ) -> Result<Self, Refusal> {
        let token = parameters.remove("token").unwrap_or_default();
        if token.len() > limits::CREDENTIAL_BYTES_MAX {
            let most = limits::CREDENTIAL_BYTES_MAX;
            return Err(Refusal::bad(format!("token is over {most} bytes")));
        }
        let peer = parts.extensions.get::<Peer>();
        let peer = peer.map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0.ip());
        let proxies = &control.settings.remote_allowed_cidr;
        let (address, _) = forwarded::client(peer, &parts.headers, proxies);
        let program = parts.headers.get(header::USER_AGENT);
        let program = program.map_or(&b""[..], |value| value.as_bytes());
        let watcher = Watcher::new(session(&parts.headers), address, program);
        Ok(Self { watcher, token })
    }

    /// Lets in who has a token that is valid, or was when it began to watch.
    pub(super) fn admit(&self, control: &Control, id: &BroadcastId) -> Result<(), Refusal> {
        if admission::may_watch(control, id, &self.token) {
            return Ok(());
        }
        let stream = control.hls.get(id);
        if stream.is_some_and(|it| it.knows(Instant::now(), self.watcher, &self.token)) {
            return Ok(());
        }
        let message = "unauthorized_access: the token is missing, wrong or expired";
        Err(Refusal::forbidden(message))
    }

    /// What goes behind each address of a playlist, so that the player says the token with each request.
    pub(super) fn query(&self) -> String {
        if self.token.is_empty() {
            return String::new();
        }
        let mut query = url::form_urlencoded::Serializer::for_suffix(String::from("?"), 1);
        query.append_pair("token", &self.token);
        query.finish()
    }

    /// The cookie for a browser that has none.
    pub(super) fn new_cookie(&self, application: &str) -> Option<String> {
        let session: u128 = rand::random();
        let cookie = || {
            format!(
                "{COOKIE}={session:032x}; Path=/{application}/streams/; Max-Age=86400; HttpOnly; SameSite=Lax"
            )
        };
        self.watcher.session.is_none().then(cookie)
    }
}

fn session(headers: &HeaderMap) -> Option<u128> {
    let cookies = headers.get_all(header::COOKIE).iter();
    let mut pairs = cookies.flat_map(|value| value.to_str().unwrap_or_default().split(';'));
    let value = pairs.find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))?;
    u128::from_str_radix(value, 16)
        .ok()
        .filter(|_| value.len() == 32)
}
