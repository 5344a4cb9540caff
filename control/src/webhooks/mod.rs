//! Tells an application's backend by HTTP what happens to its streams, in the words of Ant Media
//! Server.
//!
//! A call that is owed is put into the store with the change that it tells of ([`owe`]); the
//! [`delivery`] makes the calls of one stream one after the other and those of different streams
//! side by side, again and again until one is taken or given up. [`failures`] sees destinations
//! that were given up, [`statuses`] makes the periodic report.
//!
//! The address is the stream's `listenerHookURL`, or else the application's. `endpointFailed`
//! tells the destination's URL whole, stream key and all, as Ant Media Server does: the backend
//! has given it to us and knows the destination by it. No log line has it.

pub(crate) mod authenticate;
pub(crate) mod client;
pub(crate) mod delivery;
mod failures;
mod payload;
mod receiver_rules;
mod receivers;
pub(crate) mod statuses;

use std::sync::atomic::Ordering;

use shardcast_link::BroadcastId;

pub(crate) use failures::destinations_reported;
pub(crate) use payload::{Happening, Reading};
pub(crate) use receiver_rules::refuse_deliveries;

use crate::{
    clock,
    control::Control,
    store::{Action, BroadcastRecord, HookRecord, Transaction},
};

/// Owes whoever listens for `record` the news of `happening`; nothing when nobody does.
pub(crate) fn owe(
    control: &Control,
    t: &mut Transaction<'_>,
    record: &BroadcastRecord,
    happening: &Happening<'_>,
) {
    let Some(url) = listener(control, record) else {
        return;
    };
    let dropped = t.put_hook(HookRecord {
        sequence: 0,
        delivery: delivery_id(),
        broadcast: record.id.clone(),
        action: happening.action(),
        url,
        fields: payload::fields(record, happening, clock::unix_ms()),
    });
    if let Some(dropped) = dropped {
        let metrics = &control.metrics.webhooks;
        metrics.dropped.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            broadcast = %dropped.broadcast,
            action = dropped.action.word(),
            "too many webhooks wait; one was dropped undelivered"
        );
    }
    control.webhook_owed.notify_one();
}

/// An attempt to publish `id`, which may be no broadcast yet, has brought no media.
pub(crate) fn timed_out(control: &Control, id: &BroadcastId) {
    control.catalog.change_soon(|t| {
        let record = t.broadcast(id);
        let record = record.map_or_else(
            || BroadcastRecord::new(id.clone(), 0),
            |record| record.as_ref().clone(),
        );
        owe(control, t, &record, &Happening::TimedOut);
    });
}

/// What tells repetitions of one call from other calls, and our calls from those of others.
fn delivery_id() -> String {
    format!("{:032x}", rand::random::<u128>())
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

impl Happening<'_> {
    fn action(&self) -> Action {
        match self {
            Self::DestinationFailed { .. } => Action::EndpointFailed,
            Self::Ended => Action::LiveStreamEnded,
            Self::Started => Action::LiveStreamStarted,
            Self::Status(_) => Action::LiveStreamStatus,
            Self::TimedOut => Action::PublishTimeoutError,
        }
    }
}
