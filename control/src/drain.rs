//! Taking a server out of service without ending anybody's broadcast: nothing new is taken, what
//! is live goes on, and after the last of it the process ends.
//!
//! It is a wish of the operator towards this process, so it is not stored: one that is started
//! again takes publishers.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use serde_json::{Value, json};

use crate::control::Control;

/// How often it is looked whether the last broadcast is over.
const LOOK: Duration = Duration::from_millis(250);

/// Whether this process drains.
#[derive(Debug, Default)]
pub(crate) struct Drain(AtomicBool);

impl Drain {
    pub(crate) fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, on: bool) -> bool {
        self.0.swap(on, Ordering::Relaxed) != on
    }
}

/// No new broadcasts from now on.
pub(crate) fn start(control: &Control) {
    if control.drain.set(true) {
        let live = live_broadcasts(control);
        tracing::warn!(live, "draining: nothing new is taken, what is live goes on");
    }
}

/// Publishers are taken again.
pub(crate) fn cancel(control: &Control) {
    if control.drain.set(false) {
        tracing::warn!("draining is cancelled: publishers are taken again");
    }
}

/// What the operator is told.
pub(crate) fn report(control: &Control) -> Value {
    json!({
        "draining": control.drain.is_on(),
        "live_broadcasts": live_broadcasts(control),
    })
}

/// Broadcasts that the end of this process would end: live, held for their publisher, or about to
/// begin with a publisher that was taken before.
pub(crate) fn live_broadcasts(control: &Control) -> usize {
    let mut live: HashSet<_> = control.with_hub(|hub, _| hub.claimed().cloned().collect());
    let records = control.catalog.live_broadcasts();
    live.extend(records.iter().map(|record| record.id.clone()));
    live.len()
}

/// Returns when a drain has come to its end.
pub(crate) async fn finished(control: &Control) {
    loop {
        if control.drain.is_on() && live_broadcasts(control) == 0 {
            tracing::info!("drained: the last broadcast is over");
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}
