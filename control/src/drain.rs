//! Takes a server out of service without ending a broadcast: new ones are refused, those that are live
//! go on, and the process ends after the last.
//!
//! It is a request to this process and not stored: a process that is started again takes publishers.

use std::{collections::HashSet, time::Duration};

use serde_json::{Value, json};

use crate::state::Control;

/// How often it is checked whether the last broadcast is over.
const POLL: Duration = Duration::from_millis(250);

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

/// The answer of `/api/v1/drain`.
pub(crate) fn report(control: &Control) -> Value {
    json!({
        "draining": control.drain.is_on(),
        "live_broadcasts": live_broadcasts(control),
    })
}

/// Broadcasts that the end of this process would end: live, held for their publisher, or about to
/// begin with a publisher that was taken before.
pub(crate) fn live_broadcasts(control: &Control) -> usize {
    let mut live: HashSet<_> = control.lock_hub().claimed().cloned().collect();
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
        tokio::time::sleep(POLL).await;
    }
}
