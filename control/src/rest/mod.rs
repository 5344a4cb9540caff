//! REST v2 of Ant Media Server: paths, bodies and results as its clients know them.
//!
//! Most operations answer 200 with a `Result` whose `success` tells; the exceptions (400, 404)
//! are those of the original. CORS preflights are answered in front of the address filter, so
//! that a browser sees the filter's words and not a network error.

mod body;
mod broadcast_json;
mod broadcasts;
mod endpoints;
pub(crate) mod ip_filter;
mod lists;
mod profile;
mod responses;
mod server;
mod statistics;
mod tokens;
mod types;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::FromRequestParts,
    http::{HeaderName, Method, StatusCode, header, request::Parts},
    middleware,
    response::IntoResponse,
    routing::{delete, get, post},
};
use shardcast_link::BroadcastId;
use tower_http::cors::{Any, CorsLayer};

pub(crate) use broadcast_json::public_broadcast;

use crate::{control::Control, settings::ApplicationSettings};

/// Routes below `/{app}/rest/v2`.
pub(crate) fn application_router(control: &Arc<Control>) -> Router<Arc<Control>> {
    let filter = middleware::from_fn_with_state(Arc::clone(control), ip_filter::application);
    Router::new()
        .route("/version", get(server::version))
        .nest("/broadcasts", broadcasts_router())
        .fallback(not_found)
        .layer(filter)
        .layer(cors())
}

fn broadcasts_router() -> Router<Arc<Control>> {
    let endpoint = post(endpoints::add).delete(endpoints::remove);
    Router::new()
        .route("/", delete(broadcasts::delete_many))
        .route("/create", post(broadcasts::create))
        .route("/count", get(lists::count))
        .route("/count/{search}", get(lists::count_matching))
        .route("/active-live-stream-count", get(lists::count_live))
        .route("/total-broadcast-statistics", get(statistics::total))
        .route("/validate-token", post(tokens::validate))
        .route("/list/{offset}/{size}", get(lists::list))
        .route(
            "/filter-list/{offset}/{size}/{kind}",
            get(lists::list_of_kind),
        )
        .route(
            "/{id}",
            get(broadcasts::read)
                .put(broadcasts::update)
                .delete(broadcasts::delete),
        )
        .route("/{id}/rtmp-endpoint", endpoint.clone())
        .route("/{id}/endpoint", endpoint)
        .route("/{id}/stop", post(broadcasts::stop))
        .route("/{id}/start", post(broadcasts::start))
        .route("/{id}/token", get(tokens::issue))
        .route("/{id}/tokens", delete(tokens::revoke_all))
        .route("/{id}/tokens/list/{offset}/{size}", get(tokens::list))
        .route("/{id}/broadcast-statistics", get(statistics::one))
        .route("/{id}/stream-info", get(statistics::stream_info))
        .route(
            "/{id}/webrtc-client-stats/{offset}/{size}",
            get(statistics::clients),
        )
        .fallback(not_found)
}

/// Routes below `/rest/v2`, which belong to no application.
pub(crate) fn server_router(control: &Arc<Control>) -> Router<Arc<Control>> {
    let filter = middleware::from_fn_with_state(Arc::clone(control), ip_filter::server);
    Router::new()
        .route("/version", get(server::version))
        .route("/liveness", get(server::liveness))
        .route("/applications", get(server::applications))
        .route("/applications-info", get(server::applications_info))
        .fallback(not_found)
        .layer(filter)
        .layer(cors())
}

async fn not_found() -> impl IntoResponse {
    StatusCode::NOT_FOUND
}

/// The rule of Ant Media Server's CORS filter.
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::HEAD,
            Method::OPTIONS,
            Method::PUT,
            Method::DELETE,
        ])
        .allow_headers([
            header::ACCEPT,
            header::ORIGIN,
            HeaderName::from_static("x-requested-with"),
            header::ACCESS_CONTROL_REQUEST_METHOD,
            header::ACCESS_CONTROL_REQUEST_HEADERS,
            header::CONTENT_TYPE,
            header::AUTHORIZATION,
        ])
        .max_age(Duration::from_secs(1800))
}

/// The application that a path names.
#[derive(Debug)]
pub(crate) struct Application {
    pub(crate) name: String,
    pub(crate) settings: ApplicationSettings,
}

impl Application {
    /// The broadcast `stream` of it; `None` when that cannot be a name.
    pub(crate) fn broadcast(&self, stream: &str) -> Option<BroadcastId> {
        BroadcastId::new(&self.name, stream).ok()
    }
}

impl FromRequestParts<Arc<Control>> for Application {
    type Rejection = StatusCode;

    async fn from_request_parts(
        parts: &mut Parts,
        control: &Arc<Control>,
    ) -> Result<Self, Self::Rejection> {
        // Nested routers see a path without the prefix; the original is kept beside it.
        let original = parts.extensions.get::<axum::extract::OriginalUri>();
        let path = original.map_or(parts.uri.path(), |original| original.0.path());
        let name = path.split('/').nth(1).unwrap_or_default();
        let settings = control.application(name).ok_or(StatusCode::NOT_FOUND)?;
        Ok(Self {
            name: name.to_owned(),
            settings: settings.clone(),
        })
    }
}
