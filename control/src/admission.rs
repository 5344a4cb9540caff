//! Who may publish, and who may watch.

use std::sync::Arc;

use shardcast_link::BroadcastId;

use crate::{
    clock, lifecycle, limits,
    publishing::message::ServerMessage,
    state::Control,
    store::{BroadcastRecord, TokenRecord},
};

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
    if application.publish_token_control_enabled && !is_valid(control, id, token, "publish") {
        return Err("unauthorized_access");
    }
    let Some(record) = record else {
        if application.accept_only_streams_in_data_store {
            return Err("not_allowed_unregistered_streams");
        }
        return may_begin(control, id, application.ingesting_stream_limit);
    };
    if !is_planned_for(&record, clock::unix_s()) {
        return Err("stream_not_active_or_expired");
    }
    if record.is_live() && !lifecycle::is_stale(control, &record) {
        // It comes back; it counts already.
        return Ok(());
    }
    if has_expired(&record, clock::unix_ms()) {
        return Err("stream_not_active_or_expired");
    }
    may_begin(control, id, application.ingesting_stream_limit)
}

/// Whether a client with this token may watch `id`.
pub(crate) fn may_watch(control: &Control, id: &BroadcastId, token: &str) -> bool {
    let application = control.application(id.application());
    application
        .is_some_and(|it| !it.play_token_control_enabled || is_valid(control, id, token, "play"))
}

/// Checks whether a client may watch `id`: its token, and how many watch already. The shard that has
/// the broadcast, or what the client is told.
pub(crate) fn check_view(
    control: &Control,
    id: &BroadcastId,
    token: &str,
) -> Result<u16, ServerMessage> {
    let refused = |word| ServerMessage::error(id.stream(), word);
    let Some(application) = control.application(id.application()) else {
        return Err(refused("invalidStreamName"));
    };
    // Before anything is said of the broadcast, so that nobody learns without a token what is live.
    if !may_watch(control, id, token) {
        return Err(refused("unauthorized_access"));
    }
    let no_stream = || ServerMessage::NoStream {
        stream: id.stream().to_owned(),
    };
    let record = control.catalog.broadcast(id).ok_or_else(no_stream)?;
    if lifecycle::status_word(control, &record) != "broadcasting" {
        return Err(no_stream());
    }
    // A new engine has nothing before its publishers are back, who come at the same time as their viewers: who comes first has
    // the broadcast placed.
    let shard = control.shards.assignment(id);
    let shard = shard.or_else(|| control.shards.place(id));
    let shard = shard.ok_or_else(no_stream)?;
    let limits = [
        application.webrtc_viewer_limit,
        usize::try_from(record.profile.webrtc_viewer_limit).ok(),
    ];
    let Some(limit) = limits.into_iter().flatten().min() else {
        return Ok(shard);
    };
    // Viewers of an earlier process are known by the shard's report alone.
    let live = control.shards.broadcast(id);
    let reported = live.map_or(0, |live| live.viewers + live.rtmp_viewers);
    let viewers = control.lock_hub().viewer_count(id).max(reported as usize);
    if viewers >= limit {
        return Err(refused("viewerLimitReached"));
    }
    Ok(shard)
}

/// Whether `record` may be published at `now`, in Unix seconds: between `plannedStartDate` and
/// `plannedEndDate`, where it has both.
fn is_planned_for(record: &BroadcastRecord, now: u64) -> bool {
    let (start, end) = (
        record.profile.planned_start_date,
        record.profile.planned_end_date,
    );
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    start == 0 || end == 0 || (start..=end).contains(&now)
}

/// Whether `record` should have begun before `now`, in Unix milliseconds: its `expireDurationMS`
/// counts from its creation, and 0 is never. What has begun in time may come back.
fn has_expired(record: &BroadcastRecord, now: u64) -> bool {
    let duration_ms = record.profile.expire_duration_ms;
    if duration_ms == 0 {
        return false;
    }
    // Less than 0 was over before it was created.
    let Ok(duration_ms) = u64::try_from(duration_ms) else {
        return true;
    };
    now >= record.created_unix_ms.saturating_add(duration_ms)
}

/// A token stays valid until it expires, for any number of attempts: the SDK repeats the same one
/// with every retry.
fn is_valid(control: &Control, id: &BroadcastId, token: &str, kind: &str) -> bool {
    control
        .catalog
        .token(token)
        .is_some_and(|record| matches(&record, id, kind))
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
    if control.drain.is_on() || control.shards.refuse(id) {
        // The word on which clients of Ant Media Server look for another server.
        return Err("highResourceUsage");
    }
    let full = ingesting_stream_limit.is_some_and(|most| {
        let live = control.catalog.live_broadcasts();
        let of_application =
            |record: &&Arc<BroadcastRecord>| record.id.application() == id.application();
        live.iter().filter(of_application).count() >= most
    });
    if full || control.catalog.broadcast_count() >= limits::BROADCASTS_MAX {
        return Err("highResourceUsage");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(change: impl FnOnce(&mut BroadcastRecord)) -> BroadcastRecord {
        let mut record = BroadcastRecord::new(BroadcastId::new("app", "s1").unwrap(), 10_000);
        change(&mut record);
        record
    }

    #[test]
    fn a_broadcast_is_to_begin_within_its_time_from_its_creation() {
        for (duration_ms, now, expired) in [
            (0, u64::MAX, false),
            (5_000, 10_000, false),
            (5_000, 14_999, false),
            (5_000, 15_000, true),
            (5_000, 0, false),
            (-1, 10_000, true),
            (i64::MAX, 15_000, false),
        ] {
            let record = record(|record| record.profile.expire_duration_ms = duration_ms);
            assert_eq!(has_expired(&record, now), expired, "{duration_ms} at {now}");
        }
    }

    #[test]
    fn a_window_holds_where_it_has_both_ends() {
        for (start, end, now, open) in [
            (0, 0, 500, true),
            (0, 400, 500, true),
            (600, 0, 500, true),
            (400, 600, 399, false),
            (400, 600, 400, true),
            (400, 600, 600, true),
            (400, 600, 601, false),
            (600, 400, 500, false),
        ] {
            let record = record(|record| {
                record.profile.planned_start_date = start;
                record.profile.planned_end_date = end;
            });
            assert_eq!(is_planned_for(&record, now), open, "{start}-{end} at {now}");
        }
    }
}
