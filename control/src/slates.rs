//! Sends slates to the shards whose broadcasts show them.
//!
//! A shard says in its report which slate it has of each broadcast; one that differs from what is
//! stored is sent. So an engine that lost its state, or a control process that does not know what
//! the one before it has sent, needs no rule of its own.

use base64::{Engine, engine::general_purpose::STANDARD};
use shardcast_link::Command;

use crate::state::Control;

/// Sends `shard` the slates that it lacks. To be called after each of its reports, and when a
/// slate has changed.
pub(crate) fn bring(control: &Control, shard: u16) {
    let due = control
        .shards
        .slates_due(shard, |id| control.catalog.slate(id));
    for slate in due {
        let image_base64 = STANDARD.encode(&slate.image);
        let _order = control.order_of_wants();
        let stored = control.catalog.slate(&slate.broadcast);
        // It was replaced or removed just now: the next call sends what is stored then.
        if stored.is_none_or(|stored| stored.name != slate.name) {
            continue;
        }
        tracing::info!(broadcast = %slate.broadcast, shard, bytes = slate.image.len(), "slate sent");
        let command = Command::Slate {
            broadcast: slate.broadcast.clone(),
            name: slate.name.clone(),
            image_base64,
        };
        if !control.shards.send(shard, command) {
            return;
        }
    }
}
