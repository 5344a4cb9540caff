//! `liveStreamStatus`: what arrives of each live stream, again and again, where an application
//! asks for it. While a publisher is away nothing arrives and nothing is notified.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use shardcast_link::BroadcastId;
use tokio::time::MissedTickBehavior;

use super::owed::owe;
use crate::{
    backend::{Reading, StreamEvent},
    source,
    state::Control,
    store::BroadcastRecord,
};

/// How often it is looked what is due.
const POLL: Duration = Duration::from_millis(500);

/// Tells until the process ends, if an application asks.
pub(crate) async fn run(control: Arc<Control>) {
    let mut applications = control.settings.application.values();
    if !applications.any(|application| application.webhooks.status_period_ms.is_some()) {
        return std::future::pending().await;
    }
    let mut notified = HashMap::new();
    let mut ticks = tokio::time::interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        notify_due(&control, Instant::now(), &mut notified);
    }
}

/// Tells what is due; `notified` holds when each live stream had its last turn, or began.
fn notify_due(control: &Control, now: Instant, notified: &mut HashMap<BroadcastId, Instant>) {
    let records = control.catalog.live_broadcasts();
    let mut turns = HashMap::with_capacity(records.len());
    for record in &records {
        let Some(period) = period(control, record) else {
            continue;
        };
        let mut turn = notified.get(&record.id).copied().unwrap_or(now);
        if now.saturating_duration_since(turn) >= period
            && let Some(reading) = reading(control, &record.id)
        {
            turn = now;
            control
                .catalog
                .change_soon(|t| owe(control, t, record, &StreamEvent::Status(reading)));
        }
        turns.insert(record.id.clone(), turn);
    }
    *notified = turns;
}

fn period(control: &Control, record: &BroadcastRecord) -> Option<Duration> {
    let application = control.application(record.id.application())?;
    application
        .webhooks
        .status_period_ms
        .map(Duration::from_millis)
}

fn reading(control: &Control, id: &BroadcastId) -> Option<Reading> {
    let live = control.shards.broadcast(id).filter(|live| !live.holding)?;
    let frames_left_out = live.frames_left_out();
    let (width, height) = source::size(&live).unwrap_or_default();
    let publisher = live.publisher?;
    let video = publisher.video.unwrap_or_default();
    Some(Reading {
        width,
        height,
        bytes_received: publisher.bytes_received,
        frames_damaged: video.frames_damaged,
        frames_left_out,
        speed: f64::from(u8::from(publisher.media_age_ms < 2_000)),
    })
}
