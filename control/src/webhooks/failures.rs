//! Destinations that were given up: each is told once, whether this process heard of it when it
//! happened or found it in a report afterwards.

use std::collections::HashMap;

use shardcast_link::{BroadcastId, DestinationId, DestinationState, DestinationStatus};

use super::{Happening, owe};
use crate::{
    control::Control,
    store::{EndpointRecord, LastWords},
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
        (is_failed(status) != is_told(endpoint)).then_some(status)
    };
    let record = control.catalog.broadcast(id);
    // What is unusable is known before the first media; it is told when the broadcast is live.
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
            endpoint.last = is_failed(status).then(|| LastWords {
                status: status.clone(),
            });
            if endpoint.last.is_some() {
                failed.push(endpoint.url.clone());
            }
        }
        for url in &failed {
            owe(control, t, &record, &Happening::DestinationFailed { url });
        }
        t.put_broadcast(record);
    });
}

fn is_failed(status: &DestinationStatus) -> bool {
    status.state == DestinationState::Failed
}

/// Whether its end was told; forgotten when it is tried again, and with the next broadcast.
fn is_told(endpoint: &EndpointRecord) -> bool {
    let last = endpoint.last.as_ref();
    last.is_some_and(|last| is_failed(&last.status))
}
