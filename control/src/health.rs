//! `/healthz`: the process answers. `/readyz`: it can take publishers.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use axum::{extract::State, http::StatusCode, response::IntoResponse};

use crate::{drain, state::Control};

pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether all shards that the engine has are reachable and heard, and the store can write.
pub(crate) fn is_ready(control: &Control) -> bool {
    problems(control).is_empty()
}

pub(crate) async fn readyz(State(control): State<Arc<Control>>) -> impl IntoResponse {
    let problems = problems(&control);
    if problems.is_empty() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{}\n", problems.join("\n")),
        )
    }
}

fn problems(control: &Control) -> Vec<String> {
    let mut problems = Vec::new();
    let expected = control.shards_expected.load(Ordering::Relaxed);
    let connected = control.shards.connected_count() as u64;
    if connected < expected {
        problems.push(format!("{connected} of {expected} shards are connected"));
    }
    for (shard, seconds) in control.shards.silent(Instant::now()) {
        problems.push(format!("shard {shard} has not been heard for {seconds} s"));
    }
    if !control.catalog.is_healthy() {
        problems.push("the store cannot write; see the log".to_owned());
    }
    if control.stopping.load(Ordering::Relaxed) {
        problems.push("stopping".to_owned());
    }
    if control.drain.is_on() {
        let live = drain::live_broadcasts(control);
        problems.push(format!("draining: {live} broadcasts are still live"));
    }
    problems
}
