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
        PublishRequest, SocketId, ViewRequest,
        message::{ClientMessage, Play, Publish, ServerMessage},
    },
    source,
    state::Control,
    views,
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
        ClientMessage::Play(play) => view(control, sender, &play, None),
        ClientMessage::Toggle {
            broadcast,
            video,
            audio,
        } => effects::with_hub(control, |hub, out| {
            hub.view_tracks(socket, &broadcast, (video, audio), out);
        }),
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
    let ice = control
        .application(application)
        .map(|a| a.ice_server.clone());
    let (uri, username, credential) = match ice {
        Some(ice) => (ice.uri, ice.username, ice.credential),
        None => Default::default(),
    };
    ServerMessage::IceServerConfig {
        uri,
        username,
        credential,
    }
}

/// Lets the hub decide about a wish to watch, with the client's `offer` if it makes one.
pub(super) fn view(control: &Control, sender: Sender<'_>, play: &Play, offer: Option<String>) {
    let application = control.application(sender.application);
    let request = ViewRequest {
        broadcast: play.broadcast.clone(),
        offer,
        admission: admission::check_view(control, &play.broadcast, &play.token),
        start_timeout_ms: application.map_or(0, |application| application.start_timeout_ms),
    };
    let now = Instant::now();
    effects::with_hub(control, |hub, out| {
        hub.view(now, sender.socket, request, out);
    });
}

fn stream_info(control: &Control, id: &BroadcastId) -> ServerMessage {
    let stream = id.stream().to_owned();
    let publisher = control
        .shards
        .broadcast(id)
        .and_then(|status| status.publisher);
    let Some(publisher) = publisher else {
        return ServerMessage::NoStream { stream };
    };
    let video = publisher.video.clone().unwrap_or_default();
    let info = json!([{
        "streamWidth": video.width, "streamHeight": video.height,
        "videoBitrate": source::video_bitrate(&publisher),
        "audioBitrate": source::audio_bitrate(&publisher),
        "videoCodec": video.codec}]);
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
