//! Delivers what is owed: one call at a time for each stream, in order, streams side by side.
//!
//! At least once, that is: a call is taken from the store after its receiver has taken it, so one
//! that was under way when the process died is made again, with the same `X-Shardcast-Delivery`.
//! Attempts are counted anew after a restart.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use shardcast_link::BroadcastId;
use shardcast_log::Limiter;
use tokio::time::sleep;

use super::rounds;
use crate::{
    backend::{CallError, HookClient, Receivers, receiver},
    limits,
    settings::WebhookSettings,
    state::Control,
    store::HookRecord,
};

// A receiver that is away fails for every call, and any client can cause calls where tokens
// are off.
static FAILED: Limiter = Limiter::refusals();
static GIVEN_UP: Limiter = Limiter::refusals();

/// Delivers until the process ends.
pub(crate) async fn run(control: Arc<Control>) {
    // Most servers never have any.
    while control.catalog.hook_count() == 0 {
        control.webhook_owed.notified().await;
    }
    let client = rounds::client(&control).await;
    let courier = Arc::new(Courier::new(Arc::clone(&control), client));
    let round = |stream| Arc::clone(&courier).round(stream);
    let streams = || control.catalog.streams_with_hooks();
    rounds::run(&control.webhook_owed, streams, round).await;
}

/// What all deliveries share.
struct Courier {
    control: Arc<Control>,
    client: HookClient,
    receivers: Receivers,
}

impl Courier {
    fn new(control: Arc<Control>, client: HookClient) -> Self {
        Self {
            control,
            client,
            receivers: Receivers::new(),
        }
    }

    /// Delivers what is owed for `stream`, until nothing is.
    async fn round(self: Arc<Self>, stream: BroadcastId) {
        while let Some(hook) = self.control.catalog.first_hook(&stream) {
            // A change that a kill could still undo is not reported. A store that fails is logged elsewhere.
            let _ = self.control.catalog.flush().await;
            self.deliver(&hook).await;
            let catalog = &self.control.catalog;
            catalog.change_soon(|t| t.remove_hook(hook.sequence));
        }
    }

    /// Returns when the receiver has taken `hook`, or when it is given up.
    async fn deliver(&self, hook: &HookRecord) {
        let metrics = &self.control.counters.webhooks;
        let Some(application) = self.control.application(hook.broadcast.application()) else {
            // Its key is gone with it, and the receiver would refuse an unsigned call.
            metrics.given_up.fetch_add(1, Ordering::Relaxed);
            log_given_up(hook, "its application is no longer in the settings");
            return;
        };
        let settings = &application.webhooks;
        for attempt in 0..=settings.retry_count {
            if attempt > 0 {
                sleep(pause(settings, attempt)).await;
                if !self.control.catalog.is_hook_owed(hook.sequence) {
                    // It had to go for a later one.
                    return;
                }
            }
            match self.call(hook, settings).await {
                Ok(()) => {
                    metrics.delivered.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Err(error) => {
                    metrics.failures.fetch_add(1, Ordering::Relaxed);
                    // What is expendable has a line when it is lost, and none before.
                    if !hook.action.is_expendable() || attempt == settings.retry_count {
                        log_failure(hook, attempt, &error);
                    }
                }
            }
        }
        metrics.given_up.fetch_add(1, Ordering::Relaxed);
        log_given_up(hook, "it was refused too often; see webhookRetryCount");
    }

    async fn call(&self, hook: &HookRecord, settings: &WebhookSettings) -> Result<(), CallError> {
        let receiver = self.receivers.of(Instant::now(), &hook.url);
        let _places = self.receivers.place(&receiver).await;
        let called = self.client.call(hook, settings).await;
        let has_answered = matches!(called, Ok(()) | Err(CallError::Status(_)));
        receiver.called(Instant::now(), has_answered);
        called
    }
}

/// Pause in front of attempt `attempt`, from 1.
pub(super) fn pause(settings: &WebhookSettings, attempt: u32) -> Duration {
    let factor = 1u64.checked_shl(attempt - 1).unwrap_or(u64::MAX);
    let pause = Duration::from_millis(settings.retry_delay_ms.saturating_mul(factor));
    pause.min(limits::HOOK_RETRY_MAX)
}

fn log_failure(hook: &HookRecord, attempt: u32, error: &CallError) {
    let Some(left_out) = FAILED.admit(Instant::now()) else {
        return;
    };
    tracing::warn!(
        broadcast = %hook.broadcast,
        action = hook.action.word(),
        receiver = receiver(&hook.url),
        attempt = attempt + 1,
        %error,
        left_out,
        "a webhook was not delivered"
    );
}

fn log_given_up(hook: &HookRecord, why: &str) {
    let Some(left_out) = GIVEN_UP.admit(Instant::now()) else {
        return;
    };
    tracing::error!(
        broadcast = %hook.broadcast,
        action = hook.action.word(),
        receiver = receiver(&hook.url),
        delivery = hook.delivery,
        why,
        left_out,
        "a webhook is given up"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_fail_fill_no_log() {
        let hook = HookRecord {
            sequence: 0,
            delivery: String::new(),
            broadcast: BroadcastId::new("app", "s").unwrap(),
            action: crate::store::Action::LiveStreamEnded,
            url: "http://h/".to_owned(),
            fields: serde_json::Map::new(),
        };
        for log in [
            (|hook| log_failure(hook, 0, &CallError::TimedOut)) as fn(&HookRecord),
            |hook| log_given_up(hook, "it was refused"),
        ] {
            let lines = crate::logging::lines_of(|| (0..1_000).for_each(|_| log(&hook)));
            assert!((1..=30).contains(&lines.len()), "{}", lines.len());
        }
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        let settings = WebhookSettings::default();
        let pauses: Vec<u64> = [1, 2, 6, 7, 70]
            .map(|n| pause(&settings, n).as_secs())
            .into();
        assert_eq!(pauses, [1, 2, 32, 60, 60]);
    }
}
