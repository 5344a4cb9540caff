//! Watching by WHEP: `POST /{app}/whep/{stream}` with an offer to receive makes a session, as WHIP makes
//! one that sends.

use std::sync::Arc;

use axum::{
    extract::{Path, Query, Request, State},
    http::StatusCode,
    response::Response,
};

use super::{Parameters, SDP, created, credentials, name, refusal::Refusal, take, text};
use crate::{
    limits,
    publishing::message::Play,
    signalling::{caller::Caller, whip::session::Session},
    state::Control,
};

pub(super) async fn watch(
    State(control): State<Arc<Control>>,
    Path((application, stream)): Path<(String, String)>,
    Query(mut parameters): Parameters,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let broadcast = name(&control, &application, &stream)?;
    if control.stopping.load(std::sync::atomic::Ordering::Relaxed) {
        return Err(Refusal::later("this server is stopping"));
    }
    let token = credentials(&parts.headers, &mut parameters)?;
    let subscriber_id = take(
        &mut parameters,
        "subscriberId",
        limits::CREDENTIAL_BYTES_MAX,
    )?;
    let offer = text(&parts.headers, body, SDP).await?;
    if offer.is_empty() {
        let message = "the body must hold an SDP offer";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, message));
    }
    let caller = Caller::of(&control, &application, &parts.headers, &parts.extensions);
    let Some(mut session) = Session::open(&control, caller, broadcast.clone()) else {
        return Err(Refusal::later("too many signalling sockets"));
    };
    let play = Play {
        broadcast,
        token,
        subscriber_id,
    };
    let answer = session.watch(&play, offer.clone()).await?;
    let (name, etag) = session.run(offer, true);
    let location = format!("/{application}/whep/{stream}/{name}");
    Ok(created(&control, &application, location, &etag, &answer))
}
