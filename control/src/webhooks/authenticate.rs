//! Asks an application's backend whether a client may publish, as Ant Media Server does for its
//! `webhookAuthenticateURL`: 200 is yes, everything else is no, also when the backend cannot be reached.

use std::time::Instant;

use serde_json::{Map, Value, json};
use shardcast_log::Limiter;

use crate::{
    backend::{Asker, Refusal, Verdict, receiver},
    connection_limits::Network,
    publishing::{Client, message::Publish},
    state::Control,
};

static REFUSED: Limiter = Limiter::refusals();

/// Whether the backend of its application lets `publish` of `client` be.
pub(crate) async fn allows(control: &Control, publish: &Publish, client: Client) -> Verdict {
    let name = publish.broadcast.application();
    let Some(application) = control.application(name) else {
        return Err("invalidStreamName");
    };
    let record = control.catalog.broadcast(&publish.broadcast);
    let asker = Asker {
        network: Network::of(client.address),
        is_trusted: client.is_trusted,
        is_live: record.is_some_and(|record| record.is_live()),
    };
    let asked = control
        .authenticator
        .ask(asker, name, &application.webhooks, || {
            fields(control, publish)
        });
    let Err(refusal) = asked.await else {
        return Ok(());
    };
    let url = url(control, publish).unwrap_or_default();
    if let Some(left_out) = REFUSED.admit(Instant::now()) {
        tracing::warn!(
            broadcast = %publish.broadcast,
            backend = receiver(url),
            %refusal,
            left_out,
            "publish refused"
        );
    }
    Err(match refusal {
        Refusal::Full => "highResourceUsage",
        _ => "unauthorized_access",
    })
}

/// The backend to be asked about `publish`, if there is one.
pub(crate) fn url<'a>(control: &'a Control, publish: &Publish) -> Option<&'a str> {
    let application = control.application(publish.broadcast.application())?;
    let url = application.webhooks.authenticate_url.as_str();
    (!url.is_empty()).then_some(url)
}

/// The body, by the keys of Ant Media Server. `name` is the stream too, which is all that its
/// versions up to 2.4 sent.
fn fields(control: &Control, publish: &Publish) -> Map<String, Value> {
    let stream = publish.broadcast.stream();
    let mut fields = Map::new();
    let mut put = |key: &str, text: &str| drop(fields.insert(key.to_owned(), json!(text)));
    put("appName", publish.broadcast.application());
    put("name", stream);
    put("streamId", stream);
    put("mode", "live");
    let record = control.catalog.broadcast(&publish.broadcast);
    let stored = record.and_then(|record| record.profile.meta_data.clone());
    let meta_data = Some(publish.meta_data.clone()).filter(|text| !text.is_empty());
    for (key, text) in [
        ("token", publish.token.as_str()),
        ("subscriberId", &publish.subscriber_id),
        ("subscriberCode", &publish.subscriber_code),
        ("metaData", &meta_data.or(stored).unwrap_or_default()),
    ] {
        if !text.is_empty() {
            put(key, text);
        }
    }
    fields
}
