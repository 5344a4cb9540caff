//! Who may publish.

use shardcast_link::BroadcastId;

use crate::{clock, control::Control, lifecycle, limits, store::TokenRecord};

/// Checks name, address, token and settings; the error is the word for the client. Whether it
/// publishes from an address that the application takes was seen at its handshake
/// (`from_allowed_address`).
pub(crate) fn check(
    control: &Control,
    id: &BroadcastId,
    token: &str,
    from_allowed_address: bool,
) -> Result<(), &'static str> {
    let Some(application) = control.application(id.application()) else {
        return Err("invalidStreamName");
    };
    if !from_allowed_address {
        return Err("unauthorized_access");
    }
    let record = control.catalog.broadcast(id);
    if application.publish_token_control_enabled && !is_valid(control, id, token) {
        return Err("unauthorized_access");
    }
    let Some(record) = record else {
        if application.accept_only_streams_in_data_store {
            return Err("not_allowed_unregistered_streams");
        }
        return may_begin(control, id, application.ingesting_stream_limit);
    };
    let (start, end) = (
        record.profile.planned_start_date,
        record.profile.planned_end_date,
    );
    if start != 0 && end != 0 {
        let now = i64::try_from(clock::unix_s()).unwrap_or(i64::MAX);
        if now < start || now > end {
            return Err("stream_not_active_or_expired");
        }
    }
    if record.is_live() && !lifecycle::is_off_air(control, &record) {
        // It comes back; it counts already.
        return Ok(());
    }
    may_begin(control, id, application.ingesting_stream_limit)
}

/// A token stays valid until it expires, for any number of attempts: the SDK repeats the same one
/// with every retry.
fn is_valid(control: &Control, id: &BroadcastId, token: &str) -> bool {
    control
        .catalog
        .token(token)
        .is_some_and(|record| matches(&record, id, "publish"))
}

/// Whether `token` permits `kind` of `id` now.
pub(crate) fn matches(token: &TokenRecord, id: &BroadcastId, kind: &str) -> bool {
    token.broadcast == *id && token.kind == kind && clock::unix_s() < token.expire_unix_s
}

/// Whether there is room for one that is not live yet.
fn may_begin(
    control: &Control,
    id: &BroadcastId,
    ingesting_stream_limit: Option<usize>,
) -> Result<(), &'static str> {
    if control.drain.is_on() {
        // The word on which clients of Ant Media Server look for another server.
        return Err("highResourceUsage");
    }
    let records = control.catalog.broadcasts();
    let live = |record: &&std::sync::Arc<crate::store::BroadcastRecord>| {
        record.is_live() && record.id.application() == id.application()
    };
    let full =
        ingesting_stream_limit.is_some_and(|most| records.iter().filter(live).count() >= most);
    if full || records.len() >= limits::BROADCASTS_MAX {
        return Err("highResourceUsage");
    }
    Ok(())
}
