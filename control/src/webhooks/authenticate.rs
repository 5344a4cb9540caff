//! Asks an application's backend whether somebody may publish, as Ant Media Server does for its
//! `webhookAuthenticateURL`: 200 is yes, and everything else is no, also when the backend cannot be
//! reached.

use std::{collections::HashMap, time::Instant};

use hyper::StatusCode;
use serde_json::{Map, Value, json};
use shardcast_log::Limiter;
use tokio::{
    sync::{OnceCell, Semaphore},
    time::timeout,
};

use super::{
    client::{CallError, HookClient, receiver},
    receiver_rules::ReceiverRules,
};
use crate::{
    control::Control,
    limits,
    settings::Settings,
    signalling::{Verdict, message::Publish},
};

static REFUSED: Limiter = Limiter::refusals();

/// What all questions share: connections, and the places of each application, so that a backend that
/// hangs holds up nobody else's.
#[derive(Debug)]
pub(crate) struct Authenticator {
    client: OnceCell<HookClient>,
    rules: ReceiverRules,
    places: HashMap<String, Semaphore>,
}

/// Why nobody has said yes.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the backend answered {0}; 200 lets somebody publish")]
    Said(StatusCode),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("too many attempts to publish wait for the backend")]
    Full,
    #[error("the backend did not answer in time")]
    TimedOut,
    #[error("TLS cannot be used on this machine")]
    NoClient,
}

impl Authenticator {
    pub(crate) fn new(settings: &Settings) -> Self {
        let places = || Semaphore::new(limits::PUBLISH_CHECKS_MAX);
        let names = settings.application.keys();
        Self {
            client: OnceCell::new(),
            rules: ReceiverRules::new(settings),
            places: names.map(|name| (name.clone(), places())).collect(),
        }
    }

    async fn client(&self) -> Result<&HookClient, Refusal> {
        let make = || async {
            // It reads the certificates of this machine.
            let rules = self.rules.clone();
            let made = tokio::task::spawn_blocking(|| HookClient::new(rules)).await;
            made.ok().and_then(Result::ok).ok_or(Refusal::NoClient)
        };
        self.client.get_or_try_init(make).await
    }

    async fn ask(&self, control: &Control, publish: &Publish) -> Result<(), Refusal> {
        let name = publish.broadcast.application();
        let places = self.places.get(name).ok_or(Refusal::Full)?;
        let application = control.application(name).ok_or(Refusal::Full)?;
        let waited = timeout(limits::HOOK_CALL, places.acquire()).await;
        let Ok(Ok(_place)) = waited else {
            return Err(Refusal::Full);
        };
        let fields = fields(control, publish);
        let call = self.client().await?.ask(&fields, &application.webhooks);
        // As there: 2 s for the connection and 5 s for the answer.
        match timeout(limits::HOOK_CONNECT + limits::HOOK_CALL, call).await {
            Ok(Ok(StatusCode::OK)) => Ok(()),
            Ok(Ok(status)) => Err(Refusal::Said(status)),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Refusal::TimedOut),
        }
    }
}

/// Whether the backend of its application lets `publish` be.
pub(crate) async fn allows(control: &Control, publish: &Publish) -> Verdict {
    let Err(refusal) = control.authenticator.ask(control, publish).await else {
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

/// Who is to be asked about `publish`; `None` when nobody is.
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
