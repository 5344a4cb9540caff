//! What all questions to backends share: connections, and places for each application.

use std::{collections::HashMap, sync::Arc};

use hyper::StatusCode;
use serde_json::{Map, Value};
use tokio::{sync::OnceCell, time::timeout};

use super::{
    client::{CallError, HookClient},
    questions::{Asker, Questions},
    receiver_rules::ReceiverRules,
};
use crate::{
    limits,
    settings::{Settings, WebhookSettings},
};

/// The backend's answer: an error is the definition that the client is sent.
pub(crate) type Verdict = Result<(), &'static str>;

/// What all questions share: connections, and the places of each application, so that a backend that
/// hangs holds up that of no other application.
#[derive(Debug)]
pub(crate) struct Authenticator {
    client: OnceCell<HookClient>,
    rules: ReceiverRules,
    questions: HashMap<String, Arc<Questions>>,
}

/// Why the answer is no.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the backend answered {0}; 200 lets the client publish")]
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
        let names = settings.application.keys();
        Self {
            client: OnceCell::new(),
            rules: ReceiverRules::new(settings),
            questions: names.map(|name| (name.clone(), Arc::default())).collect(),
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

    /// Asks the backend of the application `name` for `asker`, when it is its turn. `fields` makes the
    /// body then: a question that waits keeps none.
    ///
    /// # Errors
    /// When it does not say yes, or cannot be asked.
    pub(crate) async fn ask(
        &self,
        asker: Asker,
        name: &str,
        settings: &WebhookSettings,
        fields: impl FnOnce() -> Map<String, Value>,
    ) -> Result<(), Refusal> {
        let questions = self.questions.get(name).ok_or(Refusal::Full)?;
        let _place = questions.place(asker).await.ok_or(Refusal::Full)?;
        let fields = fields();
        let call = self.client().await?.ask(&fields, settings);
        // As there: 2 s for the connection and 5 s for the answer.
        match timeout(limits::HOOK_CONNECT + limits::HOOK_CALL, call).await {
            Ok(Ok(StatusCode::OK)) => Ok(()),
            Ok(Ok(status)) => Err(Refusal::Said(status)),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Refusal::TimedOut),
        }
    }
}
