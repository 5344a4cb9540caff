//! Files below `/{app}/streams/`: those of HLS and DASH, and recordings; and previews.

mod answer;
mod asking;
mod dash;
mod hls;
mod preview;
mod recording;
mod refusal;
mod reload;
mod visitor;

use std::{collections::HashMap, sync::Arc};

use axum::{
    Router,
    extract::{Path, Query, Request, State},
    http::{Method, StatusCode, header},
    response::Response,
    routing::get,
};
use tower_http::cors::{Any, CorsLayer};

pub(crate) use self::preview::answer as preview_answer;
use self::refusal::Refusal;
use crate::{dash::names::Name as DashName, hls::names::Name, recordings, state::Control};

/// The routes of all applications.
pub(crate) fn router() -> Router<Arc<Control>> {
    let only_read = || async {
        let message = "files are read by GET and HEAD";
        (StatusCode::FORBIDDEN, format!("{message}\n"))
    };
    Router::new()
        .route("/{app}/streams/{*file}", get(serve).fallback(only_read))
        .route(
            "/{app}/previews/{file}",
            get(preview::serve).fallback(only_read),
        )
        .layer(cors())
}

/// Any page may play; whether a client may watch is said by its token.
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD, Method::OPTIONS])
        .allow_headers(Any)
        .expose_headers([
            header::ETAG,
            header::CONTENT_LENGTH,
            header::CONTENT_RANGE,
            header::RETRY_AFTER,
        ])
}

async fn serve(
    State(control): State<Arc<Control>>,
    Path((application, file)): Path<(String, String)>,
    Query(parameters): Query<HashMap<String, String>>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, _) = request.into_parts();
    if recordings::is_file_path(&file) {
        return Ok(recording::serve(&control, &application, &file, &parts, &parameters).await);
    }
    if file == dash::TIME {
        return Ok(dash::time());
    }
    if let Some(name) = DashName::parse(&file) {
        return dash::serve(&control, &application, name, &parts, parameters).await;
    }
    let Some(name) = Name::parse(&file) else {
        let message = "there is no such file: a playlist is {stream}.m3u8";
        return Err(Refusal::not_found(message));
    };
    hls::serve(&control, &application, name, &parts, parameters).await
}
