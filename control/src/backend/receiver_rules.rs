//! Where webhooks may go. Every client of REST can name a receiver, so its address is checked after its
//! name is resolved, and a call that comes back to a Shardcast server is refused there.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    vec,
};

use axum::{
    extract::Request,
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use shardcast_link::{AddressRules, is_link_local};
use tower::Service;

use crate::settings::Settings;

/// Marks each call of a webhook, with an id that its repetitions share.
pub(crate) const DELIVERY_HEADER: &str = "x-shardcast-delivery";

/// The operator's lists. Link-local addresses are permitted only where a list names them.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReceiverRules(AddressRules);

impl ReceiverRules {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self(AddressRules {
            allow: settings.webhook_allow.clone(),
            deny: settings.webhook_deny.clone(),
        })
    }

    pub(crate) fn permit(&self, address: IpAddr) -> bool {
        let is_named = self.0.allow.is_some();
        (is_named || !is_link_local(address)) && self.0.permit(address)
    }
}

/// The rules deny an address. The fault of the client that named the receiver, or of the rules.
#[derive(Debug, thiserror::Error)]
#[error("its address {0} is not permitted on this server: see webhook_allow and webhook_deny")]
pub(crate) struct NotPermitted(pub(crate) IpAddr);

/// Resolves names to the permitted ones of their addresses.
#[derive(Clone, Debug)]
pub(crate) struct PermittedAddresses {
    names: GaiResolver,
    rules: Arc<ReceiverRules>,
}

impl PermittedAddresses {
    pub(crate) fn new(rules: Arc<ReceiverRules>) -> Self {
        let names = GaiResolver::new();
        Self { names, rules }
    }
}

impl Service<Name> for PermittedAddresses {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.names.poll_ready(context)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (found, rules) = (self.names.call(name), Arc::clone(&self.rules));
        Box::pin(async move {
            let mut refused = None;
            let mut permitted = Vec::new();
            for address in found.await? {
                if rules.permit(address.ip()) {
                    permitted.push(address);
                } else {
                    refused = Some(address.ip());
                }
            }
            match refused.filter(|_| permitted.is_empty()) {
                Some(address) => Err(io::Error::other(NotPermitted(address))),
                None => Ok(permitted.into_iter()),
            }
        })
    }
}

/// Refuses calls of webhooks. They come from an address that may use REST, and say what a stranger
/// may have wanted: a receiver that is a Shardcast server would stop shows and drain it.
pub(crate) async fn refuse_deliveries(request: Request, next: Next) -> Response {
    if request.headers().contains_key(DELIVERY_HEADER) {
        let text = "This is a Shardcast server and no receiver of webhooks.\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(allow: Option<&str>, deny: Option<&str>, address: &str) -> bool {
        let list = |text: &str| text.parse().unwrap();
        let rules = ReceiverRules(AddressRules {
            allow: allow.map(list),
            deny: deny.map(list),
        });
        rules.permit(address.parse().unwrap())
    }

    #[test]
    fn link_local_addresses_are_for_those_who_allow_them() {
        for address in ["169.254.169.254", "fe80::1", "64:ff9b::169.254.169.254"] {
            assert!(!permits(None, None, address), "{address}");
            assert!(!permits(None, Some("10.0.0.0/8"), address), "{address}");
            assert!(!permits(Some("10.0.0.0/8"), None, address), "{address}");
        }
        assert!(permits(Some("169.254.0.0/16"), None, "169.254.169.254"));
        assert!(!permits(
            Some("0.0.0.0/0"),
            Some("169.254.0.0/16"),
            "169.254.169.254"
        ));
        for address in ["127.0.0.1", "10.1.2.3", "203.0.113.9", "::1"] {
            assert!(permits(None, None, address), "{address}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_to_what_is_denied_is_not_resolved() {
        for (deny, is_found) in [("127.0.0.0/8,::1", false), ("10.0.0.0/8", true)] {
            let rules = ReceiverRules(AddressRules {
                allow: None,
                deny: Some(deny.parse().unwrap()),
            });
            let mut names = PermittedAddresses::new(Arc::new(rules));
            let found = names.call("localhost".parse().unwrap()).await;
            assert_eq!(found.is_ok(), is_found, "{deny}");
            if let Err(error) = found {
                assert!(error.to_string().contains("webhook_deny"), "{error}");
            }
        }
    }
}
