//! When a broadcast begins and ends, and what remains of it.
//!
//! Media makes a broadcast live. It is over when somebody wished it, when its shard no longer
//! waits for a publisher, or when no shard has it and the hold time has passed (an engine that
//! died comes back without its broadcasts; publishers come back a moment later). A broadcast that
//! was created stays as `finished`; one that was only published is removed.

use shardcast_link::{BroadcastId, DestinationState, DestinationStatus};

use crate::{
    clock,
    control::Control,
    signalling::Hub,
    store::{BroadcastRecord, LastWords, Lifecycle},
    webhooks::{self, Happening},
};

/// Ant Media Server calls a stream whose updates stopped for so long terminated unexpectedly.
const SILENT_MS: u64 = 20_000;

/// The first media of a session has come.
pub(crate) fn started(control: &Control, id: &BroadcastId, name: String, meta_data: String) {
    control.shards.media_flows(id);
    let shard = control.shards.assignment(id);
    let now = clock::unix_ms();
    control.catalog.change_soon(|t| {
        let mut record = t.broadcast(id).map_or_else(
            || BroadcastRecord {
                zombi: true,
                ..BroadcastRecord::new(id.clone(), now)
            },
            |record| record.as_ref().clone(),
        );
        if !name.is_empty() {
            record.profile.name = Some(name);
        }
        if !meta_data.is_empty() {
            record.profile.meta_data = Some(meta_data);
        }
        // A publisher that comes back continues the same broadcast.
        if !record.is_live() {
            record.lifecycle = Lifecycle::Live { since_unix_ms: now };
            for endpoint in record.endpoints.iter_mut().flatten() {
                endpoint.last = None;
            }
            webhooks::owe(control, t, &record, &Happening::Started);
        }
        record.shard = shard;
        t.put_broadcast(record);
    });
}

/// The broadcast is over: its shard forgets it (and ends what is left of its destinations), and
/// what is known of its destinations is kept for those who ask afterwards.
pub(crate) fn finish(control: &Control, id: &BroadcastId) {
    let last = control.shards.broadcast(id);
    {
        // A Want that was read before must not follow the Forget.
        let _order = control.order_of_wants();
        control.shards.forget(id);
    }
    let now = clock::unix_ms();
    control.catalog.change_soon(|t| {
        let Some(record) = t.broadcast(id) else {
            return;
        };
        let Lifecycle::Live { since_unix_ms } = record.lifecycle else {
            return;
        };
        tracing::info!(broadcast = %id, "broadcast finished");
        webhooks::owe(control, t, &record, &Happening::Ended);
        if record.zombi {
            t.remove_broadcast(id);
            return;
        }
        let mut record = record.as_ref().clone();
        record.lifecycle = Lifecycle::Finished {
            since_unix_ms,
            ended_unix_ms: now,
        };
        for endpoint in record.endpoints.iter_mut().flatten() {
            let status = last.as_ref().and_then(|last| {
                last.destinations
                    .iter()
                    .find(|status| status.id == endpoint.id)
            });
            endpoint.last = status.cloned().map(|status| LastWords {
                status: ended(status, now),
            });
        }
        t.put_broadcast(record);
    });
}

/// The last report of a destination, as it is once its broadcast is over: what was in trouble keeps
/// saying so, everything else has ended.
fn ended(mut status: DestinationStatus, now: u64) -> DestinationStatus {
    let in_trouble = matches!(
        status.state,
        DestinationState::BackingOff | DestinationState::Failed
    );
    if !in_trouble {
        status.state = DestinationState::Ended;
        status.since_unix_ms = now;
    }
    status.next_attempt_unix_ms = None;
    status.bitrate_bps = 0;
    status.queue_ms = 0;
    status.unsent_bytes = 0;
    status
}

/// Finishes what is live on paper only. Called once a second.
pub(crate) fn sweep(control: &Control, hub: &Hub) {
    let now = clock::unix_ms();
    for record in control.catalog.broadcasts() {
        let id = &record.id;
        let Lifecycle::Live { since_unix_ms } = record.lifecycle else {
            continue;
        };
        if hub.is_claimed(id) {
            continue;
        }
        let over = match control.shards.broadcast(id) {
            Some(status) => status.publisher.is_none() && !status.holding,
            None => {
                let hold_ms = control.hold_ms(&record);
                let seen = control
                    .shards
                    .media_seen(id)
                    .unwrap_or(control.started_unix_ms);
                now > seen.max(since_unix_ms) + hold_ms
            }
        };
        if over {
            finish(control, id);
        }
    }
    // What an attempt that never got to its first media has left behind.
    let is_live = |id: &BroadcastId| control.catalog.broadcast(id).is_some_and(|r| r.is_live());
    for id in control
        .shards
        .unused(|id| hub.is_claimed(id) || is_live(id))
    {
        control.shards.forget(&id);
    }
}

/// The word that REST has for the state of `record`.
pub(crate) fn status_word(control: &Control, record: &BroadcastRecord) -> &'static str {
    match record.lifecycle {
        Lifecycle::Created => "created",
        Lifecycle::Finished { .. } => "finished",
        Lifecycle::Live { .. } => {
            let updated = update_unix_ms(control, record);
            if control.shards.is_holding(&record.id) {
                // Its destinations are on air, however long the publisher is away.
                "broadcasting"
            } else if clock::unix_ms() > updated + SILENT_MS {
                "terminated_unexpectedly"
            } else {
                "broadcasting"
            }
        }
    }
}

/// When something was last known of the media of `record`; 0 before the first.
pub(crate) fn update_unix_ms(control: &Control, record: &BroadcastRecord) -> u64 {
    match record.lifecycle {
        Lifecycle::Created => 0,
        Lifecycle::Finished { ended_unix_ms, .. } => ended_unix_ms,
        Lifecycle::Live { since_unix_ms } => {
            let seen = control.shards.media_seen(&record.id);
            seen.unwrap_or(control.started_unix_ms).max(since_unix_ms)
        }
    }
}
