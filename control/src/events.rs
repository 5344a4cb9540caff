//! What shards report, and what follows from it.

use std::{sync::atomic::Ordering, time::Instant};

use shardcast_link::{
    BroadcastId, BroadcastStatus, Command, DestinationStatus, EndReason, Event, IngestProtocol,
    Problem, SessionId, ShardHello, ShardStatus, fragment::RungName,
};
use shardcast_log::{Limiter, outsider};

use crate::{
    effects,
    hls::Asked,
    lifecycle, limits,
    publishing::{Hub, NO_MEDIA_OFFERED},
    redact,
    shards::Commands,
    slates,
    state::Control,
    wants, webhooks,
};

// What any client can cause as often as it likes where tokens are off.
static NO_MEDIA: Limiter = Limiter::refusals();
static REFUSED: Limiter = Limiter::refusals();
static VIEW_REFUSED: Limiter = Limiter::refusals();
static VIEWS: Limiter = Limiter::new(limits::SESSION_LINES, limits::SESSION_LINES_EVERY);
static NOT_RENEGOTIATED: Limiter = Limiter::refusals();
static PUBLISHING: Limiter = Limiter::new(limits::SESSION_LINES, limits::SESSION_LINES_EVERY);
static SESSIONS: Limiter = Limiter::new(limits::SESSION_LINES, limits::SESSION_LINES_EVERY);

/// A shard has opened its link with `hello` and `status`; `commands` leads to it.
pub(crate) fn connected(
    control: &Control,
    hello: ShardHello,
    status: ShardStatus,
    engine_pid: Option<i32>,
    commands: Commands,
) {
    let shard = hello.shard;
    control
        .shards_expected
        .store(u64::from(hello.shards.max(1)), Ordering::Relaxed);
    tracing::info!(
        shard,
        engine = hello.engine,
        udp_port = hello.udp_port,
        broadcasts = status.broadcasts.len(),
        "shard connected"
    );
    let replaced = control.shards.connected(hello, engine_pid, commands);
    effects::with_hub(control, |hub, out| {
        if replaced {
            tracing::warn!(shard, "the engine is a new one; its sessions are lost");
            hub.engine_replaced(shard, out);
        }
        reconcile(control, hub, shard, &status);
        // Before offers that wait are handed over: whether they may depends on it.
        control.shards.status(shard, status);
        hub.shard_reachable(out);
    });
    slates::bring(control, shard);
}

/// Tells a shard what it shall have of what it has.
fn reconcile(control: &Control, hub: &Hub, shard: u16, status: &ShardStatus) {
    for broadcast in &status.broadcasts {
        let id = &broadcast.id;
        let elsewhere = control
            .shards
            .assignment(id)
            .is_some_and(|other| other != shard);
        let over = control.shards.is_forgotten(id);
        let record = control.catalog.broadcast(id);
        let known = !over && (record.is_some() || hub.is_claimed(id));
        // Media came while no control process was there to hear of it.
        let publishes = broadcast
            .publisher
            .as_ref()
            .is_some_and(|p| p.bytes_received > 0);
        if known && publishes && record.is_some_and(|record| !record.is_live()) {
            let protocol = broadcast.publisher.as_ref().map(|p| p.protocol);
            let by_rtmp = protocol == Some(IngestProtocol::Rtmp);
            lifecycle::started(control, id, by_rtmp, String::new(), String::new());
        }
        if known && !elsewhere {
            keep_hls(control, broadcast);
            wants::want(control, shard, id);
        } else {
            tracing::warn!(shard, broadcast = %id, "the shard has a broadcast that is over");
            let broadcast = id.clone();
            control.shards.send(shard, Command::Forget { broadcast });
        }
    }
}

/// What was packaged when this process began is watched.
fn keep_hls(control: &Control, broadcast: &BroadcastStatus) {
    let id = &broadcast.id;
    let application = control.application(id.application());
    if let Some(application) = application.filter(|it| broadcast.hls && it.hls.is_packaged()) {
        let (now, list_size) = (Instant::now(), application.hls.list_size());
        let asked = control.hls.ask(now, id, list_size);
        if let (true, Asked::New(stream)) = (broadcast.hls_ladder, asked) {
            let rungs = wants::rungs(control, &application.encoding, id);
            let rungs: Vec<RungName> = rungs.iter().map(RungName::from).collect();
            control.hls.ask_ladder(now, &stream, &rungs);
        }
    }
}

/// Takes an event of `shard`.
pub(crate) fn take(control: &Control, shard: u16, event: Event) {
    match event {
        Event::Status(status) => {
            for live in &status.broadcasts {
                webhooks::destinations_reported(control, &live.id, &live.destinations);
            }
            control.shards.status(shard, status);
            slates::bring(control, shard);
        }
        Event::Destination { broadcast, status } => {
            log_destination(&broadcast, &status);
            webhooks::destinations_reported(control, &broadcast, std::slice::from_ref(&status));
            control.shards.destination(shard, &broadcast, status);
        }
        Event::Answer {
            session,
            sdp,
            candidates,
            offers_video,
            offers_audio,
        } => {
            let media = offers_video || offers_audio;
            if !media {
                log_no_media(&session);
            }
            effects::with_hub(control, |hub, out| {
                hub.answered(&session, sdp, candidates, media, out);
            });
        }
        Event::Refused { session, problem } => {
            if let Some(left_out) = REFUSED.admit(Instant::now()) {
                let problem = outsider(&problem.message);
                tracing::warn!(%session, %problem, left_out, "an offer was refused");
            }
            effects::with_hub(control, |hub, out| hub.refused(&session, problem, out));
        }
        Event::NotRenegotiated { session, problem } => {
            not_renegotiated(control, &session, problem);
        }
        Event::Publishing { session, broadcast } => {
            publishing(control, shard, &session, &broadcast);
        }
        Event::Ended {
            session,
            broadcast,
            reason,
        } => ended(control, &session, &broadcast, reason),
        Event::ViewDescribed { .. }
        | Event::ViewRefused { .. }
        | Event::Viewing { .. }
        | Event::ViewSwitched { .. }
        | Event::ViewerReport { .. }
        | Event::ViewEnded { .. } => of_viewer(control, event),
        Event::Hello(_) => tracing::warn!(shard, "a second hello is ignored"),
        Event::DataMessage {
            broadcast,
            sender,
            message,
        } => webhooks::data_message(control, &broadcast, sender, message),
        _ => of_recording(control, event),
    }
}

fn publishing(control: &Control, shard: u16, session: &SessionId, broadcast: &BroadcastId) {
    if let Some(left_out) = PUBLISHING.admit(Instant::now()) {
        tracing::info!(%broadcast, %session, shard, left_out, "publishing");
    }
    effects::with_hub(control, |hub, out| {
        hub.publishing(session, broadcast, out);
    });
}

fn of_recording(control: &Control, event: Event) {
    if let Event::Recorded { file } = event {
        control.recordings.has_closed(file.into());
    }
}

fn of_viewer(control: &Control, event: Event) {
    match event {
        Event::ViewDescribed {
            session,
            sdp,
            candidates,
        } => effects::with_hub(control, |hub, out| {
            hub.view_described(&session, sdp, candidates, out);
        }),
        Event::ViewRefused {
            session,
            refusal,
            problem,
        } => {
            if let Some(left_out) = VIEW_REFUSED.admit(Instant::now()) {
                let problem = outsider(&problem.message);
                tracing::info!(%session, %problem, left_out, "a viewer was refused");
            }
            effects::with_hub(control, |hub, out| {
                hub.view_refused(&session, refusal, problem, out);
            });
        }
        Event::Viewing { session, .. } => {
            effects::with_hub(control, |hub, out| hub.viewing(&session, out));
        }
        Event::ViewSwitched { session, height } => {
            effects::with_hub(control, |hub, out| hub.view_switched(&session, height, out));
        }
        Event::ViewerReport {
            session,
            broadcast,
            report,
        } => {
            if report.estimate_bps.is_some() {
                effects::with_hub(control, |hub, out| {
                    hub.view_reported(&session, &report, out);
                });
            }
            let now = Instant::now();
            control.viewers.reported(now, session, broadcast, report);
        }
        Event::ViewEnded {
            session,
            broadcast,
            reason,
        } => {
            control.viewers.ended(&session);
            if let Some(left_out) = VIEWS.admit(Instant::now()) {
                tracing::debug!(%broadcast, %session, ?reason, left_out, "viewer ended");
            }
            effects::with_hub(control, |hub, out| {
                hub.view_ended(&session, &broadcast, reason, out);
            });
        }
        _ => {}
    }
}

fn not_renegotiated(control: &Control, session: &SessionId, problem: Problem) {
    if let Some(left_out) = NOT_RENEGOTIATED.admit(Instant::now()) {
        let problem = outsider(&problem.message);
        tracing::info!(%session, %problem, left_out, "a further offer was refused");
    }
    effects::with_hub(control, |hub, out| {
        hub.not_renegotiated(session, problem, out);
    });
}

fn ended(control: &Control, session: &SessionId, broadcast: &BroadcastId, reason: EndReason) {
    if let Some(left_out) = SESSIONS.admit(Instant::now()) {
        tracing::info!(%broadcast, %session, ?reason, left_out, "session ended");
    }
    control.shards.media_ended(broadcast, session);
    effects::with_hub(control, |hub, out| {
        hub.ended(Instant::now(), session, reason, out);
    });
}

fn log_no_media(session: &SessionId) {
    if let Some(left_out) = NO_MEDIA.admit(Instant::now()) {
        let why = NO_MEDIA_OFFERED;
        tracing::warn!(%session, why, left_out, "a publisher offers no media");
    }
}

fn log_destination(broadcast: &BroadcastId, status: &DestinationStatus) {
    let problem = status
        .last_problem
        .as_ref()
        .map(|problem| redact::text(&problem.message));
    tracing::info!(
        %broadcast,
        destination = %status.id,
        state = ?status.state,
        attempts = status.attempts,
        problem,
        "destination"
    );
}
