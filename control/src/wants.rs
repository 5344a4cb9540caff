//! What is wanted of a shard: the state of a broadcast, built from its row and its application's
//! settings. Sent whole each time; the shard changes only the difference.

use shardcast_link::{BroadcastId, Command, WantedBroadcast, WantedDestination};

use crate::{
    settings::ApplicationSettings,
    state::Control,
    store::{BroadcastRecord, EndpointRecord},
    video_settings,
};

/// The state that the shard of `id` shall bring about.
fn wanted(control: &Control, id: &BroadcastId) -> WantedBroadcast {
    let mut wanted = WantedBroadcast::new(id.clone());
    let Some(application) = control.application(id.application()) else {
        return wanted;
    };
    wanted.hold_ms = application.hold_ms;
    wanted.keyframe_interval_ms = application.keyframe_interval_ms;
    wanted.rendition_default = video_settings::rendition_default(&application.encoding);
    if let Some(record) = control.catalog.broadcast(id) {
        wanted.hold_ms = control.hold_ms(&record);
        wanted.destinations = destinations(&record, application);
    }
    wanted.slate = control.catalog.slate(id).map(|slate| slate.name.clone());
    wanted
}

/// What is wanted of `id` has changed: sends it to its shard, if it has one.
pub(crate) fn again(control: &Control, id: &BroadcastId) {
    let _order = control.order_of_wants();
    if let Some(shard) = control.shards.assignment(id) {
        let broadcast = wanted(control, id);
        control.shards.send(shard, Command::Want { broadcast });
    }
}

/// Sends `shard` what is wanted of `id`. `false`: the shard cannot be reached.
pub(crate) fn want(control: &Control, shard: u16, id: &BroadcastId) -> bool {
    let _order = control.order_of_wants();
    let broadcast = wanted(control, id);
    control.shards.send(shard, Command::Want { broadcast })
}

fn destinations(
    record: &BroadcastRecord,
    application: &ApplicationSettings,
) -> Vec<WantedDestination> {
    let retry = application.retry_policy();
    let destination = |endpoint: &EndpointRecord| WantedDestination {
        id: endpoint.id.clone(),
        url: endpoint.url.clone(),
        retry: endpoint.retry.map_or(retry, |own| own.over(retry)),
        video: endpoint.video.over(&application.encoding),
    };
    record.endpoints().iter().map(destination).collect()
}
