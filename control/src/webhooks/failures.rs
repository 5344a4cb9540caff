//! Destinations that were given up: each is reported once, whether this process received the event or
//! found it in a report afterwards.

use std::collections::HashMap;

use shardcast_link::{BroadcastId, DestinationId, DestinationState, DestinationStatus};

use super::owed::owe;
use crate::{
    backend::StreamEvent,
    state::Control,
    store::{EndpointRecord, LastReport},
};

/// A shard has reported `destinations` of `id`, all or some.
pub(crate) fn destinations_reported(
    control: &Control,
    id: &BroadcastId,
    destinations: &[DestinationStatus],
) {
    let reported: HashMap<&DestinationId, &DestinationStatus> = destinations
        .iter()
        .map(|status| (&status.id, status))
        .collect();
    let changed = |endpoint: &EndpointRecord| {
        let status = reported.get(&endpoint.id).copied()?;
        (is_failed(status) != is_notified(endpoint)).then_some(status)
    };
    let record = control.catalog.broadcast(id);
    // An unusable address is known before the first media; it is reported when the broadcast is live.
    let concerns = record.filter(|record| record.is_live());
    if !concerns.is_some_and(|record| record.endpoints().iter().any(|e| changed(e).is_some())) {
        return;
    }
    control.catalog.change_soon(|t| {
        let Some(record) = t.broadcast(id).filter(|record| record.is_live()) else {
            return;
        };
        let mut record = record.as_ref().clone();
        let mut failed = Vec::new();
        for endpoint in record.endpoints.iter_mut().flatten() {
            let Some(status) = changed(endpoint) else {
                continue;
            };
            endpoint.last = is_failed(status).then(|| LastReport {
                status: status.clone(),
            });
            if endpoint.last.is_some() {
                failed.push(endpoint.url.clone());
            }
        }
        for url in &failed {
            owe(control, t, &record, &StreamEvent::DestinationFailed { url });
        }
        t.put_broadcast(record);
    });
}

fn is_failed(status: &DestinationStatus) -> bool {
    status.state == DestinationState::Failed
}

/// Whether its end was reported; forgotten when it is retried, and with the next broadcast.
fn is_notified(endpoint: &EndpointRecord) -> bool {
    let last = endpoint.last.as_ref();
    last.is_some_and(|last| is_failed(&last.status))
}
