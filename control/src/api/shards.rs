//! Shards and nodes as placement sees them: `/api/v1/shards`, `/api/v1/nodes`.

use std::{sync::Arc, time::Instant};

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    placements::{bad, unknown},
    whole_numbers,
};
use crate::{
    body::JsonBody,
    health, limits,
    shards::{Cost, Room},
    state::Control,
};

/// GET `/shards`
pub(super) async fn list(State(control): State<Arc<Control>>) -> Json<Value> {
    let rows = rows(&control);
    Json(json!({ "node": control.node, "shards": rows }))
}

/// GET `/nodes`: this one.
pub(super) async fn nodes(State(control): State<Arc<Control>>) -> Json<Value> {
    let shards = control.shards.connected_count();
    Json(json!({"nodes": [{
        "node": control.node,
        "version": env!("CARGO_PKG_VERSION"),
        "host": control.settings.public_host(),
        "ready": health::is_ready(&control),
        "draining": control.drain.is_on(),
        "shards": shards,
    }]}))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    #[serde(default)]
    weight: Option<u32>,
    #[serde(default)]
    draining: Option<bool>,
}

/// PATCH `/shards/{shard}`
pub(super) async fn change(
    State(control): State<Arc<Control>>,
    Path(shard): Path<String>,
    body: JsonBody,
) -> Response {
    let change = match body.object_with_nulls() {
        Ok(object) => {
            serde_json::from_value::<Change>(whole_numbers(json!(object.unwrap_or_default())))
        }
        Err(error) => return error.into_response(),
    };
    let change = match change {
        Ok(change) => change,
        Err(error) => return bad(&error.to_string()),
    };
    let most = limits::SHARD_WEIGHT_MAX;
    if change.weight.is_some_and(|weight| weight > most) {
        return bad(&format!("weight is from 0 to {most}; a core is 100"));
    }
    let stored = shard.parse().ok().and_then(|shard: u16| {
        control.shards.change_policy(
            shard,
            |policy| {
                policy.weight = change.weight.or(policy.weight);
                policy.draining = change.draining.unwrap_or(policy.draining);
            },
            |policy| {
                tracing::info!(shard, ?policy, "placement on a shard is changed");
                control
                    .catalog
                    .change_now(|transaction| transaction.put_shard(policy))
                    .1
            },
        )
    });
    let Some(durable) = stored else {
        return unknown("there is no such shard, or it was never reached");
    };
    if let Err(error) = durable.wait().await {
        return error.into_response();
    }
    let row = rows(&control)
        .into_iter()
        .find(|row| row["shard"].as_u64() == shard.parse().ok());
    Json(row).into_response()
}

fn rows(control: &Control) -> Vec<Value> {
    let rooms = control.shards.rooms(Instant::now());
    let mut rows = Vec::new();
    control.shards.each(|shard, view| {
        let Some(room) = rooms.get(&shard) else {
            return;
        };
        rows.push(row(
            control,
            shard,
            view.is_connected(),
            view.hello.udp_port,
            room,
        ));
    });
    rows
}

fn row(control: &Control, shard: u16, connected: bool, udp_port: u16, room: &Room) -> Value {
    let cost = |cost: &Cost| {
        json!({
            "executorPermille": cost.executor_ppm / 1_000,
            "codecPermille": cost.codec_permille,
            "memoryBytes": cost.memory_bytes,
        })
    };
    json!({
        "node": control.node,
        "shard": shard,
        "connected": connected,
        "udpPort": udp_port,
        "weight": room.weight,
        "draining": room.draining,
        "used": cost(&room.used),
        "capacity": cost(&room.capacity),
    })
}
