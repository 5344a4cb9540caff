//! When a broadcast begins and ends, and what is kept of it.
//!
//! Media makes a broadcast live. It is over on request, when its shard no longer
//! waits for a publisher, or when no shard has it and the hold time has passed (an engine that
//! died comes back without its broadcasts; publishers come back a moment later). Attempts to come
//! back do not keep it live for longer than that. A broadcast that was created stays as
//! `finished`; one that was only published is removed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use shardcast_link::{BroadcastId, BroadcastStatus, DestinationState, DestinationStatus};
use shardcast_log::Limiter;

use crate::{
    backend::StreamEvent,
    clock, limits,
    publishing::Hub,
    recordings,
    state::Control,
    store::{BroadcastRecord, LastReport, Lifecycle},
    wants, webhooks,
};

// Who may publish may begin and end broadcasts as often as he likes.
static FINISHED: Limiter = Limiter::new(limits::SESSION_LINES, limits::SESSION_LINES_EVERY);

/// Ant Media Server calls a stream whose updates stopped for so long terminated unexpectedly.
const SILENT_MS: u64 = 20_000;

/// The first media of a session has come: an encoder's, or a browser's.
pub(crate) fn started(
    control: &Control,
    id: &BroadcastId,
    by_rtmp: bool,
    name: String,
    meta_data: String,
) {
    control.shards.media_flows(id);
    let shard = control.shards.assignment(id);
    let now = clock::unix_ms();
    let application = control.application(id.application());
    let begins_recording = control.catalog.change_soon(|t| {
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
            webhooks::owe(control, t, &record, &StreamEvent::Started);
            let enabled = application.is_some_and(|it| recordings::is_enabled(it, &record));
            record.recording = enabled.then(|| recordings::begin(now, None));
        }
        record.shard = shard;
        record.by_rtmp = by_rtmp;
        let records = record.recording.is_some();
        t.put_broadcast(record);
        records
    });
    if begins_recording {
        wants::again(control, id);
    }
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
    record_end(control, id, last.as_ref());
}

/// The broadcast is over, and a client that is about to publish begins it anew at the same shard.
fn finish_under_attempt(control: &Control, id: &BroadcastId) {
    let last = control.shards.broadcast(id);
    record_end(control, id, last.as_ref());
    wants::again(control, id);
}

fn record_end(control: &Control, id: &BroadcastId, last: Option<&BroadcastStatus>) {
    let now = clock::unix_ms();
    control.catalog.change_soon(|t| {
        let Some(record) = t.broadcast(id) else {
            return;
        };
        let Lifecycle::Live { since_unix_ms } = record.lifecycle else {
            return;
        };
        if let Some(left_out) = FINISHED.admit(Instant::now()) {
            tracing::info!(broadcast = %id, left_out, "broadcast finished");
        }
        webhooks::owe(control, t, &record, &StreamEvent::Ended);
        if record.zombi {
            t.remove_broadcast(id);
            return;
        }
        let mut record = record.as_ref().clone();
        record.recording = None;
        record.lifecycle = Lifecycle::Finished {
            since_unix_ms,
            ended_unix_ms: now,
        };
        for endpoint in record.endpoints.iter_mut().flatten() {
            let mut reported = last.iter().flat_map(|last| &last.destinations);
            // Without a report, what was known before is the last.
            if let Some(status) = reported.find(|status| status.id == endpoint.id) {
                let status = ended(status.clone(), now);
                endpoint.last = Some(LastReport { status });
            }
        }
        t.put_broadcast(record);
    });
}

/// The last report of a destination, as it is shown once its broadcast is over: a failed one stays failed,
/// every other has ended.
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
    status.video = None;
    status
}

/// Finishes broadcasts that are stored as live and are not. Called once a second.
pub(crate) fn sweep(control: &Control, hub: &Hub) {
    let now = Instant::now();
    for record in control.catalog.live_broadcasts() {
        let id = &record.id;
        // A shard that is not heard may have a publisher, or hold the destinations open.
        let Some(heard_for) = control.shards.heard_for(now, id) else {
            continue;
        };
        let claimed = hub.is_claimed(id);
        let over = match control.shards.broadcast(id) {
            Some(status) if is_published_or_held(&status) => false,
            Some(_) => !claimed || is_overdue(control, &record),
            // Its engine is another one, which a publisher needs a moment to find.
            None if heard_for < Duration::from_millis(limits::AWAY_MS_MIN) => false,
            // Who publishes may do so behind a link that is down.
            None => !claimed && is_overdue(control, &record),
        };
        match (over, claimed) {
            (true, false) => finish(control, id),
            (true, true) => finish_under_attempt(control, id),
            (false, _) => {}
        }
    }
    // Left behind by attempts that never brought media.
    let is_live = |id: &BroadcastId| control.catalog.broadcast(id).is_some_and(|r| r.is_live());
    for id in control
        .shards
        .unused(|id| hub.is_claimed(id) || is_live(id))
    {
        control.shards.forget(&id);
    }
}

/// Whether `id` is live and its shard cannot be heard. The shard may hang while its destinations are
/// sent media and its publisher may be reconnecting, so it is not known to be over.
pub(crate) fn is_unreachable(control: &Control, now: Instant, id: &BroadcastId) -> bool {
    let is_live = |record: Arc<BroadcastRecord>| record.is_live();
    control.shards.heard_for(now, id).is_none()
        && control.catalog.broadcast(id).is_some_and(is_live)
}

/// Whether `record` is stored as live and is not: the next publisher begins it anew.
pub(crate) fn is_stale(control: &Control, record: &BroadcastRecord) -> bool {
    let status = control.shards.broadcast(&record.id);
    !status.is_some_and(|status| is_published_or_held(&status)) && is_overdue(control, record)
}

/// Whether the shard has a publisher, or waits for one with its destinations open.
fn is_published_or_held(status: &BroadcastStatus) -> bool {
    status.publisher.is_some() || status.holding
}

/// Whether the last media of `record`, which is live, is further back than its publisher may be
/// away.
fn is_overdue(control: &Control, record: &BroadcastRecord) -> bool {
    let away_ms = control.hold_ms(record).max(limits::AWAY_MS_MIN);
    clock::unix_ms() > update_unix_ms(control, record).saturating_add(away_ms)
}

/// `status` of `record` in REST.
pub(crate) fn status_word(control: &Control, record: &BroadcastRecord) -> &'static str {
    match record.lifecycle {
        Lifecycle::Created => "created",
        Lifecycle::Finished { .. } => "finished",
        Lifecycle::Live { .. } => {
            let updated = update_unix_ms(control, record);
            let is_heard = control
                .shards
                .heard_for(Instant::now(), &record.id)
                .is_some();
            if control.shards.is_holding(&record.id) || (!is_heard && !is_overdue(control, record))
            {
                // Its destinations are held open, however long the publisher is away; or no report says
                // otherwise.
                "broadcasting"
            } else if clock::unix_ms() > updated + SILENT_MS {
                "terminated_unexpectedly"
            } else {
                "broadcasting"
            }
        }
    }
}

/// When the show of `record` began, in Unix milliseconds, while it is live.
pub(crate) fn live_since_unix_ms(control: &Control, record: &BroadcastRecord) -> Option<u64> {
    match record.lifecycle {
        Lifecycle::Live { since_unix_ms } => {
            (status_word(control, record) == "broadcasting").then_some(since_unix_ms)
        }
        Lifecycle::Created | Lifecycle::Finished { .. } => None,
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

#[cfg(test)]
mod tests {
    use shardcast_link::{
        DestinationId, ShardHello, ShardStatus, VERSION, VideoPath, VideoSelectionStatus,
    };
    use tokio::sync::{Notify, mpsc};

    use super::*;
    use crate::{
        admission,
        publishing::{Client, PublishRequest, SocketId},
        settings::Settings,
        shards::Commands,
        store::{Catalog, RedbStore},
    };

    /// Control with the live broadcast `s1` of an earlier process, which is not held at all.
    fn restarted() -> (tempfile::TempDir, Control, BroadcastId) {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::in_folder(folder.path());
        for application in settings.application.values_mut() {
            application.hold_ms = 0;
        }
        let name = settings.application.keys().next().unwrap().clone();
        let id = BroadcastId::new(&name, "s1").unwrap();
        let store = RedbStore::open(&folder.path().join("store.redb")).unwrap();
        let control = Control::new(settings, Catalog::open(store).unwrap());
        control.catalog.change_soon(|t| {
            t.put_broadcast(BroadcastRecord {
                lifecycle: Lifecycle::Live { since_unix_ms: 0 },
                ..BroadcastRecord::new(id.clone(), 0)
            });
        });
        (folder, control, id)
    }

    /// Shard 0 has been heard once a second, for so long.
    fn hear(control: &Control, seconds: u64) {
        control.shards.forget_heard();
        let now = Instant::now();
        for n in (0..=seconds).rev() {
            control.shards.heard(now - Duration::from_secs(n), 0);
        }
    }

    fn sweep_once(control: &Control, id: &BroadcastId) -> bool {
        sweep(control, &control.lock_hub());
        control.catalog.broadcast(id).unwrap().is_live()
    }

    #[test]
    fn a_destination_is_sent_nothing_when_its_broadcast_is_over() {
        let picture = VideoSelectionStatus {
            path: VideoPath::Rendition,
            width: 1_280,
            height: 720,
            reason: "it is wanted always".to_owned(),
            switches: 0,
        };
        for (state, last) in [
            (DestinationState::Live, DestinationState::Ended),
            (DestinationState::Failed, DestinationState::Failed),
        ] {
            let mut status = DestinationStatus::new(DestinationId("d1".into()), state);
            (status.bitrate_bps, status.video) = (1, Some(picture.clone()));
            let ended = ended(status, 7);
            assert_eq!((ended.state, ended.bitrate_bps), (last, 0));
            assert_eq!(ended.video, None);
        }
    }

    /// Shard 0 reports `s1` with neither a publisher nor a hold.
    fn report_idle(control: &Control, id: &BroadcastId) -> mpsc::Receiver<shardcast_link::Command> {
        let hello = ShardHello {
            version: VERSION,
            engine: "engine".into(),
            shard: 0,
            shards: 1,
            udp_port: 1,
            capacity: 100,
        };
        let (queue, commands) = mpsc::channel(16);
        let broken = Arc::new(Notify::new());
        control
            .shards
            .connected(hello, None, Commands { queue, broken });
        let idle = serde_json::from_value(serde_json::json!({ "id": id })).unwrap();
        let status = ShardStatus {
            broadcasts: vec![idle],
            ..ShardStatus::default()
        };
        control.shards.status(0, status);
        control.shards.heard(Instant::now(), 0);
        commands
    }

    fn try_to_publish(control: &Control, id: &BroadcastId) {
        let request = PublishRequest {
            broadcast: id.clone(),
            name: String::new(),
            meta_data: String::new(),
            admission: Ok(()),
            was_asked: false,
            last_media: None,
            start_timeout_ms: 10_000,
        };
        let client = Client {
            address: [127, 0, 0, 1].into(),
            is_trusted: false,
        };
        let mut hub = control.lock_hub();
        hub.socket_opened(Instant::now(), SocketId(1), client);
        hub.publish(Instant::now(), SocketId(1), request, &mut Vec::new());
    }

    #[test]
    fn nothing_ends_before_a_shard_can_be_heard_and_its_publisher_had_time_though_nothing_is_held()
    {
        let (_folder, mut control, id) = restarted();
        control.started_unix_ms = 0;
        assert!(sweep_once(&control, &id), "no shard is heard");
        hear(&control, 9);
        assert!(sweep_once(&control, &id), "it was heard a moment ago");
        hear(&control, 11);
        assert!(!sweep_once(&control, &id));
    }

    #[test]
    fn a_shard_that_falls_silent_ends_nothing() {
        let (_folder, mut control, id) = restarted();
        control.started_unix_ms = 0;
        let _commands = report_idle(&control, &id);
        control
            .shards
            .heard(Instant::now() - limits::SHARD_SILENCE_MAX * 2, 0);
        assert!(sweep_once(&control, &id), "nobody knows what it has");
        assert_eq!(
            status_word(&control, &control.catalog.broadcast(&id).unwrap()),
            "terminated_unexpectedly"
        );
        hear(&control, 0);
        assert!(
            !sweep_once(&control, &id),
            "it says itself that it has nothing"
        );
    }

    #[test]
    fn who_tries_to_come_back_in_vain_does_not_keep_a_broadcast_live() {
        let (_folder, mut control, id) = restarted();
        let mut commands = report_idle(&control, &id);
        try_to_publish(&control, &id);
        assert!(sweep_once(&control, &id));
        control.started_unix_ms = 0;
        assert!(!sweep_once(&control, &id));
        // The attempt goes on at its shard.
        assert_eq!(control.shards.assignment(&id), Some(0));
        let told = commands.try_recv().unwrap();
        assert!(matches!(told, shardcast_link::Command::Want { .. }));
    }

    #[test]
    fn a_drain_refuses_who_comes_back_to_what_is_live_on_paper_only() {
        let (_folder, mut control, id) = restarted();
        let _commands = report_idle(&control, &id);
        crate::drain::start(&control);
        assert_eq!(admission::check(&control, &id, "", true), Ok(()));
        control.started_unix_ms = 0;
        let refused = admission::check(&control, &id, "", true);
        assert_eq!(refused, Err("highResourceUsage"));
    }

    #[test]
    fn broadcasts_that_end_fill_no_log() {
        let (_folder, control, id) = restarted();
        let ends = 2 * limits::SESSION_LINES as usize;
        let lines = crate::logging::lines_of(|| {
            for _ in 0..ends {
                started(&control, &id, false, String::new(), String::new());
                finish(&control, &id);
            }
        });
        let finished = lines
            .iter()
            .filter(|line| line.contains("broadcast finished"));
        assert!((1..ends).contains(&finished.count()));
    }
}
