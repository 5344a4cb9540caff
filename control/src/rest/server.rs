//! What belongs to the server and not to an application.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde_json::{Value, json};

use super::{lists, vods};
use crate::state::Control;

/// GET `/version`. `buildNumber` is when this was built, `yyyyMMdd_HHmm` in UTC. Clients look at `versionType` to know whether WebRTC features are there.
pub(super) async fn version() -> Json<Value> {
    Json(json!({
        "versionName": env!("CARGO_PKG_VERSION"),
        "versionType": "Enterprise Edition",
        "buildNumber": env!("SHARDCAST_BUILD_NUMBER"),
    }))
}

/// GET `/liveness`
pub(super) async fn liveness(State(control): State<Arc<Control>>) -> Json<Value> {
    Json(json!({"host": control.settings.public_host(), "status": "ok"}))
}

/// GET `/applications`
pub(super) async fn applications(State(control): State<Arc<Control>>) -> Json<Value> {
    let names: Vec<&String> = control.settings.application.keys().collect();
    Json(json!({ "applications": names }))
}

/// GET `/applications-info`
pub(super) async fn applications_info(State(control): State<Arc<Control>>) -> Json<Value> {
    let rows = control.settings.application.keys().map(|name| {
        let live = lists::live_count(&control, name);
        let vods = vods::matching(&control, name, "");
        let storage: u64 = vods.iter().map(|vod| vod.bytes).sum();
        json!({
            "name": name,
            "liveStreamCount": live,
            "vodCount": vods.len(),
            "storage": storage,
        })
    });
    Json(rows.collect())
}
