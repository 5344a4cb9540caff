//! Messages that clients send over data channels, for the backend that collects them: each is posted to the
//! application's `dataChannelWebHookURL`, as a form, in the order of its stream.
//!
//! What waits is bounded and in memory alone ([`crate::state::DataMessages`]).

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use shardcast_link::{BroadcastId, DataMessage, DataSender};
use shardcast_log::Limiter;
use tokio::time::sleep;

use super::{delivery::pause, rounds};
use crate::{
    backend::{CallError, ClientMessage, Form, HookClient, Receivers, receiver},
    clock,
    settings::WebhookSettings,
    state::Control,
};

// Clients send as many as they like, and a receiver that is away takes none.
static FAILED: Limiter = Limiter::refusals();
static GIVEN_UP: Limiter = Limiter::refusals();
static DROPPED: Limiter = Limiter::refusals();

/// A shard has taken a message of `id` from a client.
pub(crate) fn data_message(
    control: &Control,
    id: &BroadcastId,
    sender: DataSender,
    message: DataMessage,
) {
    let application = control.application(id.application());
    if application.is_none_or(|it| it.webhooks.data_url.is_empty()) {
        return;
    }
    let (is_text, payload) = match message {
        DataMessage::Text { text } => (true, text.into()),
        DataMessage::Binary { base64 } => match BASE64.decode(base64) {
            Ok(payload) => (false, payload.into()),
            Err(_) => return,
        },
    };
    let message = ClientMessage {
        sender,
        is_text,
        payload,
        at_unix_ms: clock::unix_ms(),
    };
    let dropped = control.data_messages.push(id.clone(), message);
    if dropped > 0 {
        let metrics = &control.counters.webhooks;
        metrics.dropped.fetch_add(dropped, Ordering::Relaxed);
        if let Some(left_out) = DROPPED.admit(Instant::now()) {
            let what =
                "too many messages of data channels wait for their webhook; some were dropped";
            tracing::warn!(broadcast = %id, dropped, left_out, "{what}");
        }
    }
}

/// Posts until the process ends.
pub(crate) async fn run(control: Arc<Control>) {
    let mut applications = control.settings.application.values();
    if applications.all(|application| application.webhooks.data_url.is_empty()) {
        return std::future::pending().await;
    }
    let courier = Arc::new(Courier {
        client: rounds::client(&control).await,
        control: Arc::clone(&control),
        receivers: Receivers::new(),
    });
    let messages = &control.data_messages;
    let round = |stream| Arc::clone(&courier).round(stream);
    rounds::run(&messages.arrived, || messages.streams(), round).await;
}

struct Courier {
    control: Arc<Control>,
    client: HookClient,
    /// Apart from those of the other webhooks, which a chat shall not keep waiting.
    receivers: Receivers,
}

impl Courier {
    /// Posts what waits of `stream`, until nothing does.
    async fn round(self: Arc<Self>, stream: BroadcastId) {
        while let Some(message) = self.control.data_messages.first(&stream) {
            if let Some(application) = self.control.application(stream.application()) {
                let settings = &application.webhooks;
                self.deliver(&stream, &message, settings).await;
            }
            self.control.data_messages.remove_first(&stream);
        }
    }

    /// Returns when the receiver has taken `message`, or when it is given up.
    async fn deliver(
        &self,
        stream: &BroadcastId,
        message: &ClientMessage,
        settings: &WebhookSettings,
    ) {
        let metrics = &self.control.counters.webhooks;
        let form = Form::of_message(stream, message);
        let log = |limiter: &Limiter, attempt: u32, error: &CallError, what: &str| {
            if let Some(left_out) = limiter.admit(Instant::now()) {
                let receiver = receiver(&settings.data_url);
                tracing::warn!(broadcast = %stream, receiver, attempt, %error, left_out, "{what}");
            }
        };
        for attempt in 0..=settings.retry_count {
            if attempt > 0 {
                sleep(pause(settings, attempt)).await;
            }
            let receiver = self.receivers.of(Instant::now(), &settings.data_url);
            let places = self.receivers.place(&receiver).await;
            let called = self.client.post(&settings.data_url, &form, settings).await;
            drop(places);
            let has_answered = matches!(called, Ok(()) | Err(CallError::Status(_)));
            receiver.called(Instant::now(), has_answered);
            let Err(error) = called else {
                metrics.delivered.fetch_add(1, Ordering::Relaxed);
                return;
            };
            metrics.failures.fetch_add(1, Ordering::Relaxed);
            if attempt < settings.retry_count {
                let what = "a message of a data channel was not posted";
                log(&FAILED, attempt + 1, &error, what);
            } else {
                metrics.given_up.fetch_add(1, Ordering::Relaxed);
                let what = "a message of a data channel is given up; see webhookRetryCount";
                log(&GIVEN_UP, attempt + 1, &error, what);
            }
        }
    }
}
