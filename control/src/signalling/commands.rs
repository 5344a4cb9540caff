//! Carries out the commands of a signalling client: gathers what the hub needs to decide, and asks it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use shardcast_link::{BroadcastId, check_offer};
use shardcast_log::Limiter;

use crate::{
    admission, effects,
    publishing::{
        PublishRequest, SocketId, ViewRequest, Wish,
        message::{ClientMessage, Play, Publish, ServerMessage},
    },
    settings::IceServer,
    source,
    state::Control,
    views, wants,
};

static REFUSED: Limiter = Limiter::refusals();

/// The sender of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender<'a> {
    pub(crate) socket: SocketId,
    pub(crate) application: &'a str,
    /// Whether its address is one that the application takes publishers from.
    pub(crate) from_allowed_address: bool,
}

/// Carries out one message of `sender`. Whether the application's backend has to be asked about a
/// `publish` is for the caller to see to.
pub(crate) fn carry_out(control: &Arc<Control>, sender: Sender<'_>, message: ClientMessage) {
    let (socket, application) = (sender.socket, sender.application);
    let send = |message| control.sockets.send(socket, &message);
    match message {
        ClientMessage::Ping => send(ServerMessage::Pong),
        ClientMessage::GetIceServerConfig => send(ice_servers(control, application)),
        ClientMessage::Publish(attempt) => {
            let admission = admission(control, sender, &attempt);
            publish(control, sender, admission, attempt, false);
        }
        ClientMessage::TakeConfiguration {
            broadcast,
            is_offer,
            sdp,
        } => {
            description(control, socket, &broadcast, is_offer, sdp);
        }
        ClientMessage::TakeCandidate {
            broadcast,
            candidate,
        } => {
            effects::with_hub(control, |hub, out| {
                hub.candidate(socket, &broadcast, candidate, out);
            });
        }
        ClientMessage::Stop { broadcast } => stop(control, sender, &broadcast),
        ClientMessage::Play(play) => view(control, sender, &play, Wish::Browser(None)),
        ClientMessage::Toggle {
            broadcast,
            video,
            audio,
        } => effects::with_hub(control, |hub, out| {
            hub.view_tracks(socket, &broadcast, (video, audio), out);
        }),
        ClientMessage::ForceQuality { broadcast, height } => {
            effects::with_hub(control, |hub, out| {
                hub.view_quality(socket, &broadcast, height, out);
            });
        }
        ClientMessage::GetStreamInfo { broadcast } => send(stream_info(control, &broadcast)),
        ClientMessage::GetBroadcastObject { broadcast } => send(object(control, &broadcast)),
        ClientMessage::UpdateStreamMetaData {
            broadcast,
            meta_data,
        } => {
            if control.lock_hub().is_held_by(&broadcast, socket) {
                update_meta_data(control, &broadcast, meta_data);
            }
        }
        ClientMessage::Unsupported { command } => {
            tracing::debug!(command, "a command without effect");
        }
    }
}

fn description(
    control: &Control,
    socket: SocketId,
    id: &BroadcastId,
    is_offer: bool,
    sdp: Option<String>,
) {
    if let Some(Err(error)) = sdp.as_deref().map(check_offer) {
        let message = ServerMessage::Error {
            stream: Some(id.stream().to_owned()),
            definition: "notSetRemoteDescription",
            message: Some(error.to_string()),
        };
        return control.sockets.send(socket, &message);
    }
    let now = Instant::now();
    effects::with_hub(control, |hub, out| {
        if is_offer {
            hub.offer(now, socket, id, sdp, out);
        } else {
            hub.view_answer(socket, id, sdp, out);
        }
    });
}

fn stop(control: &Control, sender: Sender<'_>, id: &BroadcastId) {
    let application = control.application(sender.application);
    let grace_ms = application.map_or(0, |application| application.stop_grace_ms);
    let (now, grace) = (Instant::now(), Duration::from_millis(grace_ms));
    effects::with_hub(control, |hub, out| {
        if hub.stop_view(sender.socket, id, out) {
            return;
        }
        hub.stop(now, sender.socket, id, grace, out);
        hub.leave_open_while(control.shards.are_silent(now), out);
    });
}

/// Lets the hub decide about an attempt to publish. `was_asked`: the backend has admitted it.
pub(super) fn publish(
    control: &Control,
    sender: Sender<'_>,
    admission: Result<(), &'static str>,
    attempt: Publish,
    was_asked: bool,
) {
    let now = Instant::now();
    let application = control.application(sender.application);
    let request = PublishRequest {
        admission,
        was_asked,
        last_media: control.last_media(&attempt.broadcast),
        start_timeout_ms: application.map_or(0, |application| application.start_timeout_ms),
        broadcast: attempt.broadcast,
        name: attempt.name,
        meta_data: attempt.meta_data,
    };
    if let Err(refusal) = request.admission
        && let Some(left_out) = REFUSED.admit(now)
    {
        let draining = control.drain.is_on();
        tracing::info!(
            broadcast = %request.broadcast,
            refusal,
            draining,
            from_allowed_address = sender.from_allowed_address,
            left_out,
            "publish refused"
        );
    }
    effects::with_hub(control, |hub, out| {
        hub.publish(now, sender.socket, request, out);
    });
}

/// Whether this process admits `attempt`, before the application's backend is asked.
pub(crate) fn admission(
    control: &Control,
    sender: Sender<'_>,
    attempt: &Publish,
) -> Result<(), &'static str> {
    let from_allowed_address = sender.from_allowed_address;
    admission::check(
        control,
        &attempt.broadcast,
        &attempt.token,
        from_allowed_address,
    )
}

fn ice_servers(control: &Control, application: &str) -> ServerMessage {
    let ice = control.application(application).map(|a| &a.ice_server);
    let server = |ice: &IceServer, uri: &str| match IceServer::is_turn(uri) {
        true => json!({"urls": uri, "username": ice.username, "credential": ice.credential}),
        false => json!({"urls": uri}),
    };
    let servers = ice.map(|ice| ice.uris().map(|uri| server(ice, uri)).collect());
    ServerMessage::IceServerConfig {
        uri: ice.map_or("", IceServer::first).to_owned(),
        username: ice.map_or_else(String::new, |ice| ice.username.clone()),
        credential: ice.map_or_else(String::new, |ice| ice.credential.clone()),
        servers: servers.unwrap_or_default(),
    }
}

/// Restarts ICE of a viewer by WHEP, with its `offer` under other credentials.
pub(super) fn restart_view(
    control: &Control,
    sender: Sender<'_>,
    broadcast: &BroadcastId,
    offer: String,
) {
    effects::with_hub(control, |hub, out| {
        hub.restart_view(Instant::now(), sender.socket, broadcast, offer, out);
    });
}

/// Lets the hub decide about a wish to watch.
pub(super) fn view(control: &Control, sender: Sender<'_>, play: &Play, by: Wish) {
    let application = control.application(sender.application);
    let request = ViewRequest {
        broadcast: play.broadcast.clone(),
        by,
        admission: admission::check_view(control, &play.broadcast, &play.token),
        subscriber_id: play.subscriber_id.clone(),
        start_timeout_ms: application.map_or(0, |application| application.start_timeout_ms),
    };
    let now = Instant::now();
    effects::with_hub(control, |hub, out| {
        hub.view(now, sender.socket, request, out);
    });
}

/// What a viewer may be sent: the publisher's video and the rungs below it. Its audio is the publisher's
/// with each.
fn stream_info(control: &Control, id: &BroadcastId) -> ServerMessage {
    let stream = id.stream().to_owned();
    let live = control.shards.broadcast(id);
    let Some((live, publisher)) = live.and_then(|live| Some((live.clone(), live.publisher?)))
    else {
        return ServerMessage::NoStream { stream };
    };
    let video = publisher.video.clone().unwrap_or_default();
    let (width, height) = source::size(&live).unwrap_or((video.width, video.height));
    let audio_bitrate = source::audio_bitrate(&publisher);
    let info = |width, height, bitrate: u64, codec: &str| {
        json!({"streamWidth": width, "streamHeight": height, "videoBitrate": bitrate,
            "audioBitrate": audio_bitrate, "videoCodec": codec})
    };
    let source = info(
        width,
        height,
        source::video_bitrate(&publisher),
        &video.codec,
    );
    let ladder = control.application(id.application());
    let ladder = ladder.map(|application| wants::ladder(control, &application.encoding, id));
    let ladder = ladder.unwrap_or_default();
    let below = ladder.rungs().iter().filter(|rung| rung.height < height);
    let rungs = below.map(|rung| {
        // Chroma is kept for two pixels at a time.
        let wide = u64::from(width) * u64::from(rung.height) / u64::from(height.max(1)) / 2 * 2;
        info(
            u32::try_from(wide).unwrap_or_default(),
            rung.height,
            rung.video_bitrate.into(),
            "H264",
        )
    });
    let info = std::iter::once(source).chain(rungs).collect();
    ServerMessage::StreamInformation { stream, info }
}

/// Any client may open the socket, so fields that only REST may show are left out.
fn object(control: &Control, id: &BroadcastId) -> ServerMessage {
    let stream = id.stream().to_owned();
    let Some(record) = control.catalog.broadcast(id) else {
        return ServerMessage::NoStream { stream };
    };
    let broadcast = views::public_broadcast(control, &record);
    ServerMessage::BroadcastObject {
        stream,
        broadcast: broadcast.to_string(),
    }
}

fn update_meta_data(control: &Control, id: &BroadcastId, meta_data: String) {
    control.catalog.change_soon(|t| {
        if let Some(record) = t.broadcast(id) {
            let mut record = record.as_ref().clone();
            record.profile.meta_data = Some(meta_data);
            t.put_broadcast(record);
        }
    });
}
