//! One call of a webhook: HTTP/1.1 POST over TCP or TLS, signed.

use std::{error::Error, sync::Arc};

use aws_lc_rs::hmac;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, StatusCode, Uri,
    header::{CONTENT_TYPE, USER_AGENT},
};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::{
    form::Form,
    payload,
    receiver_rules::{DELIVERY_HEADER, NotPermitted, PermittedAddresses, ReceiverRules},
};
use crate::{
    clock, forwarded, limits,
    settings::{WebhookContentType, WebhookSettings},
    store::HookRecord,
};

/// A call was not taken. The receiver's fault, or the operator's who named it; it is repeated.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// Says no, or is broken behind its proxy.
    #[error("the receiver answered {0}; it must answer 2xx, and redirects are not followed")]
    Status(StatusCode),
    /// Down, unreachable, or without a certificate that this machine trusts.
    #[error("the receiver cannot be reached: {0}")]
    Unreachable(String),
    /// Up, and too slow.
    #[error("the receiver has not answered within {} s", limits::HOOK_CALL.as_secs())]
    TimedOut,
    /// The operator does not want it called.
    #[error(transparent)]
    NotPermitted(#[from] NotPermitted),
    /// Checked when it was set; an older version may have stored it.
    #[error("its address cannot be used; set it anew")]
    Address,
}

/// Makes calls and keeps connections for the next ones.
#[derive(Clone, Debug)]
pub(crate) struct HookClient {
    client: Client<HttpsConnector<HttpConnector<PermittedAddresses>>, Full<Bytes>>,
    rules: Arc<ReceiverRules>,
}

impl HookClient {
    /// With the certificates that this machine trusts (`SSL_CERT_FILE` names others). Where there
    /// are none, `http://` addresses work all the same. Reads files.
    ///
    /// # Errors
    /// When TLS cannot be used at all, which is this program's fault.
    pub(crate) fn new(rules: ReceiverRules) -> Result<Self, rustls::Error> {
        let rules = Arc::new(rules);
        let names = PermittedAddresses::new(Arc::clone(&rules));
        let mut tcp = HttpConnector::new_with_resolver(names);
        tcp.set_connect_timeout(Some(limits::HOOK_CONNECT));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls()?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(limits::HOOK_IDLE)
            .pool_max_idle_per_host(limits::HOOKS_PER_RECEIVER_MAX)
            .build(https);
        Ok(Self { client, rules })
    }

    /// Makes one attempt to deliver `hook`.
    pub(crate) async fn call(
        &self,
        hook: &HookRecord,
        settings: &WebhookSettings,
    ) -> Result<(), CallError> {
        let body = payload::encode(&hook.fields, settings.content_type);
        let kind = settings.content_type.as_str();
        let request = request(&hook.url, kind, body, &hook.delivery, settings);
        self.deliver(request).await
    }

    /// Makes one attempt to deliver `form` to `url`.
    pub(crate) async fn post(
        &self,
        url: &str,
        form: &Form,
        settings: &WebhookSettings,
    ) -> Result<(), CallError> {
        let (kind, body) = (&form.content_type, form.body.clone());
        self.deliver(request(url, kind, body, &form.delivery, settings))
            .await
    }

    async fn deliver(&self, request: Option<Request<Full<Bytes>>>) -> Result<(), CallError> {
        let answer = self.exchange(request.ok_or(CallError::Address)?);
        let status = timeout(limits::HOOK_CALL, answer)
            .await
            .unwrap_or(Err(CallError::TimedOut))?;
        if status.is_success() {
            Ok(())
        } else {
            Err(CallError::Status(status))
        }
    }

    /// Puts the question `fields`, which is always JSON, to the application's `webhookAuthenticateURL`.
    /// The caller limits the time.
    pub(crate) async fn ask(
        &self,
        fields: &Map<String, Value>,
        settings: &WebhookSettings,
    ) -> Result<StatusCode, CallError> {
        let kind = WebhookContentType::Json;
        let body = payload::encode(fields, kind);
        let (url, delivery) = (&settings.authenticate_url, delivery_id());
        let request = request(url, kind.as_str(), body, &delivery, settings);
        self.exchange(request.ok_or(CallError::Address)?).await
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<StatusCode, CallError> {
        // An address in place of a name is not resolved.
        let literal = request.uri().host().and_then(forwarded::address);
        if let Some(address) = literal.filter(|address| !self.rules.permit(*address)) {
            return Err(NotPermitted(address).into());
        }
        let response = self.client.request(request).await;
        let response = response.map_err(|error| CallError::Unreachable(causes(&error)))?;
        let status = response.status();
        // Read to its end, the connection is good for the next call. What it says does not matter.
        let body = Limited::new(response.into_body(), limits::HOOK_ANSWER_BYTES_MAX);
        let _ = body.collect().await;
        Ok(status)
    }
}

/// An id that repetitions of one call share, and no other call has.
pub(crate) fn delivery_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// The causes of `error`, from the outer to the inner: which part failed, and why. The text of `error`
/// itself say neither.
pub(crate) fn causes(error: &dyn Error) -> String {
    let chain = std::iter::successors(error.source(), |&source| source.source());
    let words: Vec<String> = chain.map(ToString::to_string).collect();
    if words.is_empty() {
        error.to_string()
    } else {
        words.join(": ")
    }
}

/// TLS towards those whom this machine trusts.
///
/// # Errors
/// When TLS cannot be used at all, which is this program's fault.
pub(crate) fn tls() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(match builder.clone().with_native_roots() {
        Ok(builder) => builder.with_no_client_auth(),
        Err(error) => {
            tracing::warn!(%error, "no certificates to know servers by over https");
            builder
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth()
        }
    })
}

fn request(
    url: &str,
    content_type: &str,
    body: Bytes,
    delivery: &str,
    settings: &WebhookSettings,
) -> Option<Request<Full<Bytes>>> {
    let url = url::Url::parse(url).ok()?;
    let uri: Uri = url.as_str().parse().ok()?;
    let timestamp = clock::unix_s().to_string();
    let mut request = Request::post(uri)
        .header(CONTENT_TYPE, content_type)
        .header(USER_AGENT, concat!("shardcast/", env!("CARGO_PKG_VERSION")))
        .header(DELIVERY_HEADER, delivery)
        .header("X-Shardcast-Timestamp", &timestamp);
    if !settings.secret.is_empty() {
        let signature = signature(&settings.secret, &timestamp, &body);
        request = request.header("X-Shardcast-Signature", signature);
    }
    request.body(Full::new(body)).ok()
}

/// `sha256=` and HMAC-SHA256 (RFC 2104) of `timestamp`, a full stop and `body`, in hexadecimal
/// digits. The time is signed too, so that a receiver can refuse replayed calls.
fn signature(secret: &str, timestamp: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(timestamp.as_bytes());
    context.update(b".");
    context.update(body);
    let tag = context.sign();
    let digits = tag.as_ref().iter().map(|byte| format!("{byte:02x}"));
    std::iter::once("sha256=".to_owned())
        .chain(digits)
        .collect()
}

/// `https://h.example:8443`: who is called, without what may be secret in the address.
pub(crate) fn receiver(url: &str) -> String {
    let origin = url::Url::parse(url).map(|url| url.origin());
    origin.map_or_else(|_| "…".to_owned(), |origin| origin.ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_one_that_other_tools_make() {
        // printf '1700000000.{"id":"s1"}' | openssl dgst -sha256 -hmac key
        assert_eq!(
            signature("key", "1700000000", br#"{"id":"s1"}"#),
            "sha256=15fb2b7d4ae98c3abf77298ec3913e7fdba8834cbf841050dd5d659c5bb0aad0"
        );
    }

    #[tokio::test]
    async fn an_unreachable_receiver_is_told_with_the_reason() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let hook = HookRecord {
            sequence: 0,
            delivery: String::new(),
            broadcast: shardcast_link::BroadcastId::new("app", "s1").unwrap(),
            action: crate::store::Action::LiveStreamStarted,
            url: format!("http://{address}/"),
            fields: Map::new(),
        };
        let client = HookClient::new(ReceiverRules::default()).unwrap();
        let called = client.call(&hook, &WebhookSettings::default()).await;
        let error = called.unwrap_err().to_string();
        assert!(error.contains("refused"), "{error}");
    }

    #[test]
    fn what_may_be_secret_in_an_address_is_not_in_the_name_of_its_receiver() {
        let shown = receiver("https://h.example:8443/hooks/secret?token=secret");
        assert_eq!(shown, "https://h.example:8443");
        assert_eq!(receiver("nonsense"), "…");
    }
}
