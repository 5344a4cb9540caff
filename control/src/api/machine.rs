//! What a look at the machine found: `GET /api/v1/doctor`.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::{machine, state::Control};

/// GET `/doctor`: a look that is seconds old at most.
pub(super) async fn doctor(State(control): State<Arc<Control>>) -> Response {
    match machine::recent(&control).await {
        Some(report) => Json(&*report).into_response(),
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
