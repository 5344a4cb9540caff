//! Errors of WHIP and WHEP: the word of the hub, as the status and the text of an HTTP answer.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{body::BodyError, publishing::message::ServerMessage};

/// Seconds after which a client that found no room may try again.
const RETRY_AFTER_S: u32 = 5;

/// Why a request is refused.
#[derive(Debug)]
pub(super) enum Refusal {
    /// With this status and text.
    Said(StatusCode, String),
    /// The body is at fault.
    Body(BodyError),
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self::Said(status, message.into())
    }

    /// There is no room now.
    pub(super) fn later(message: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl From<ServerMessage> for Refusal {
    fn from(message: ServerMessage) -> Self {
        match message {
            ServerMessage::Error {
                definition,
                message,
                ..
            } => {
                let text = message.unwrap_or_else(|| explanation(definition).to_owned());
                Self::new(status(definition), text)
            }
            ServerMessage::NoStream { .. } => Self::new(
                StatusCode::NOT_FOUND,
                "no_stream_exist: the stream is not live",
            ),
            ServerMessage::ServerWillStop => Self::later("the media server has gone: try again"),
            _ => Self::new(StatusCode::CONFLICT, "the broadcast was ended meanwhile"),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, message) = match self {
            Self::Said(status, message) => (status, message),
            Self::Body(error) => return error.into_response(),
        };
        let mut response = (status, format!("{message}\n")).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let seconds = HeaderValue::from(RETRY_AFTER_S);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

fn status(definition: &str) -> StatusCode {
    match definition {
        "unauthorized_access"
        | "not_allowed_unregistered_streams"
        | "stream_not_active_or_expired" => StatusCode::FORBIDDEN,
        "streamIdInUse" | "already_publishing" => StatusCode::CONFLICT,
        "highResourceUsage" | "viewerLimitReached" => StatusCode::SERVICE_UNAVAILABLE,
        // The offer is well, and what it asks for is not to be had in this form.
        "webrtc_not_enabled" => StatusCode::NOT_ACCEPTABLE,
        "publishTimeoutError" => StatusCode::GATEWAY_TIMEOUT,
        "server_error_check_logs" => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}

pub(in crate::signalling) fn explanation(definition: &'static str) -> &'static str {
    match definition {
        "unauthorized_access" => {
            "unauthorized_access: the token is missing, wrong or expired, or this address may not publish"
        }
        "not_allowed_unregistered_streams" => {
            "not_allowed_unregistered_streams: create the broadcast by REST before it is published"
        }
        "stream_not_active_or_expired" => {
            "stream_not_active_or_expired: the broadcast is planned for another time"
        }
        "streamIdInUse" => "streamIdInUse: another client publishes this stream",
        "highResourceUsage" => "highResourceUsage: this server takes no more broadcasts now",
        "viewerLimitReached" => "viewerLimitReached: the stream has as many viewers as it may",
        "publishTimeoutError" => "publishTimeoutError: no shard has answered in time",
        other => other,
    }
}
