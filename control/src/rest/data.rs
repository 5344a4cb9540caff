//! Messages to the publisher and the viewers of a broadcast, over their data channels.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use shardcast_link::{Command, DATA_MESSAGE_BYTES_MAX};

use super::{
    application::{Application, StreamPath},
    responses::{Outcome, unknown},
};
use crate::{body, state::Control};

/// POST `/{id}/data`: the body is the message, as it is.
pub(super) async fn send(
    State(control): State<Arc<Control>>,
    application: Application,
    Path(stream): StreamPath,
    body: Body,
) -> Response {
    let bytes = match body::collect(body, DATA_MESSAGE_BYTES_MAX).await {
        Ok(bytes) => bytes,
        Err(error) => return error.into_response(),
    };
    let Ok(text) = String::from_utf8(bytes.to_vec()) else {
        return Outcome::failed("the message must be a text in UTF-8").bad_request();
    };
    if text.is_empty() {
        return Outcome::failed("the body must hold a message").into_response();
    }
    let Some(id) = application.broadcast(&stream) else {
        return unknown().into_response();
    };
    if !application.settings.data_channel_enabled {
        return Outcome::failed("dataChannelEnabled is off").into_response();
    }
    let is_live = control
        .catalog
        .broadcast(&id)
        .is_some_and(|it| it.is_live());
    let shard = control.shards.assignment(&id).filter(|_| is_live);
    let sent = shard.is_some_and(|shard| {
        let broadcast = id.clone();
        control
            .shards
            .send(shard, Command::Data { broadcast, text })
    });
    if sent {
        Outcome::done().into_response()
    } else {
        Outcome::failed("the broadcast is not live").into_response()
    }
}
