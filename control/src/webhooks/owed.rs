//! Puts calls that are owed into the store, with the change that they report.

use std::{sync::atomic::Ordering, time::Instant};

use shardcast_link::BroadcastId;
use shardcast_log::Limiter;

use crate::{
    backend::{self, StreamEvent, delivery_id},
    clock,
    state::Control,
    store::{BroadcastRecord, HookRecord, Transaction},
};

// Any client that publishes can cause calls where tokens are off.
static DROPPED: Limiter = Limiter::refusals();

/// Owes the receiver of `record` a call about `event`; nothing when it has no receiver.
pub(crate) fn owe(
    control: &Control,
    t: &mut Transaction<'_>,
    record: &BroadcastRecord,
    event: &StreamEvent<'_>,
) {
    let Some(url) = listener(control, record) else {
        return;
    };
    let dropped = t.put_hook(HookRecord {
        sequence: 0,
        delivery: delivery_id(),
        broadcast: record.id.clone(),
        action: event.action(),
        url,
        fields: backend::fields(record, event, clock::unix_ms()),
    });
    if let Some(dropped) = dropped {
        let metrics = &control.counters.webhooks;
        metrics.dropped.fetch_add(1, Ordering::Relaxed);
        log_dropped(&dropped);
    }
    control.webhook_owed.notify_one();
}

fn log_dropped(hook: &HookRecord) {
    if let Some(left_out) = DROPPED.admit(Instant::now()) {
        tracing::warn!(
            broadcast = %hook.broadcast,
            action = hook.action.word(),
            left_out,
            "too many webhooks wait; one was dropped undelivered"
        );
    }
}

/// Owes a call about `id`, which may be no broadcast yet, or any more.
pub(crate) fn owe_soon(control: &Control, id: &BroadcastId, event: &StreamEvent<'_>) {
    control.catalog.change_soon(|t| {
        let record = t.broadcast(id);
        let record = record.map_or_else(
            || BroadcastRecord::new(id.clone(), 0),
            |record| record.as_ref().clone(),
        );
        owe(control, t, &record, event);
    });
}

fn listener(control: &Control, record: &BroadcastRecord) -> Option<String> {
    let application = control.application(record.id.application());
    let own = record.profile.listener_hook_url.as_deref();
    let shared = application.map(|application| application.webhooks.url.as_str());
    [own, shared]
        .into_iter()
        .flatten()
        .map(str::trim)
        .find(|url| !url.is_empty())
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Action;

    #[test]
    fn calls_that_are_dropped_fill_no_log() {
        let hook = HookRecord {
            sequence: 0,
            delivery: String::new(),
            broadcast: BroadcastId::new("app", "s").unwrap(),
            action: Action::PublishTimeoutError,
            url: "http://h/".to_owned(),
            fields: serde_json::Map::new(),
        };
        let lines = crate::logging::lines_of(|| (0..1_000).for_each(|_| log_dropped(&hook)));
        assert!((1..=30).contains(&lines.len()), "{}", lines.len());
    }
}
