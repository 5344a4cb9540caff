//! What is wanted of a shard: the state of a broadcast, built from its row and its application's
//! settings. Sent whole each time; the shard changes only the difference.

use shardcast_link::{
    BroadcastId, Command, DataChannels, RenditionSpec, WantedBroadcast, WantedDestination,
    WantedHls,
};

use crate::{
    ladder::Ladder,
    recordings,
    settings::{ApplicationSettings, EncodingSettings},
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
    wanted.data = DataChannels {
        is_enabled: application.data_channel_enabled,
        from_viewers: application.data_channel_player_distribution,
        reported: !application.webhooks.data_url.is_empty(),
    };
    let hls = &application.hls;
    wanted.preview = application.preview.wanted();
    wanted.rendition_default = video_settings::rendition_default(&application.encoding);
    wanted.ladder = rungs(control, &application.encoding, id);
    if hls.is_packaged() && (hls.always || control.hls.is_asked(id)) {
        wanted.hls = Some(WantedHls {
            ladder: control.hls.is_ladder_asked(id),
            ..hls.wanted()
        });
    }
    if let Some(record) = control.catalog.broadcast(id) {
        wanted.hold_ms = control.hold_ms(&record);
        wanted.destinations = destinations(&record, application);
        wanted.recording = recordings::wanted(&control.settings, application, &record);
    }
    wanted.slate = control.catalog.slate(id).map(|slate| slate.name.clone());
    wanted
}

/// The renditions that destinations of `id` may ask for, and viewers may be sent: its own list stands in
/// place of its application's.
pub(crate) fn ladder(
    control: &Control,
    application: &EncodingSettings,
    id: &BroadcastId,
) -> Ladder {
    let record = control.catalog.broadcast(id);
    let list = record.and_then(|record| record.profile.encoder_settings_list.clone());
    // What an older version has stored unseen may be anything.
    let own = list.and_then(|list| Ladder::of_values(&list).ok());
    own.filter(|ladder| !ladder.is_empty())
        .unwrap_or_else(|| application.ladder.clone())
}

/// The same as renditions that a shard makes.
pub(crate) fn rungs(
    control: &Control,
    application: &EncodingSettings,
    id: &BroadcastId,
) -> Vec<RenditionSpec> {
    let ladder = ladder(control, application, id);
    let rungs = ladder.rungs().iter().copied();
    rungs
        .map(|rung| video_settings::rung(application, rung))
        .collect()
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
