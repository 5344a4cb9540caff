//! The `Result` object and how outcomes become HTTP responses.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::store::{Durable, StoreError};

/// `Result` of Ant Media Server. Nulls are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outcome {
    pub(crate) success: bool,
    pub(crate) message: Option<String>,
    pub(crate) data_id: Option<String>,
    pub(crate) error_id: i32,
}

/// The id of a stream that cannot be one.
pub(crate) const BAD_NAME: i32 = -5;

impl Outcome {
    pub(crate) fn done() -> Self {
        Self {
            success: true,
            message: None,
            data_id: None,
            error_id: 0,
        }
    }

    pub(crate) fn done_with(message: impl Into<String>) -> Self {
        Self {
            message: Some(message.into()),
            ..Self::done()
        }
    }

    pub(crate) fn added(id: impl Into<String>) -> Self {
        Self {
            data_id: Some(id.into()),
            ..Self::done()
        }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self {
            success: false,
            message: Some(message.into()),
            data_id: None,
            error_id: 0,
        }
    }

    pub(crate) fn with_error_id(mut self, error_id: i32) -> Self {
        self.error_id = error_id;
        self
    }

    /// 400 with this as the body.
    pub(crate) fn bad_request(self) -> Response {
        (StatusCode::BAD_REQUEST, Json(self)).into_response()
    }
}

/// Answers with `outcome` when the change is durable.
pub(super) async fn answer(durable: Durable, outcome: Outcome) -> Response {
    match durable.wait().await {
        Ok(()) => outcome.into_response(),
        Err(error) => error.into_response(),
    }
}

/// There is no such broadcast.
pub(super) fn unknown() -> Outcome {
    Outcome::failed("broadcast does not exist")
}

impl IntoResponse for Outcome {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}

impl IntoResponse for StoreError {
    fn into_response(self) -> Response {
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            Json(Outcome::failed(self.to_string())),
        )
            .into_response()
    }
}
