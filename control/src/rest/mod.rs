//! REST v2 of Ant Media Server: paths, bodies and results as its clients know them.
//!
//! Most operations answer 200 with a `Result` whose `success` is the outcome; the exceptions (400, 404)
//! are those of the original. CORS preflights are answered in front of the address filter, so
//! that a browser shows the filter's text and not a network error.

mod application;
mod broadcasts;
mod change;
mod data;
mod endpoint_body;
mod endpoint_list;
mod endpoints;
mod lists;
mod profile;
mod recording;
mod rendition_admission;
mod resolution_height;
mod responses;
mod server;
mod slate;
mod statistics;
mod tokens;
mod types;
mod vods;

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{delete, get, post, put},
};
use tower::ServiceExt;
use tower_http::cors::{Any, CorsLayer};

use self::application::ApplicationName;
use crate::{access, state::Control};

/// The two trees of REST. Its path decides which one a request belongs to; each sees the rest
/// of the path only.
#[derive(Clone, Debug)]
pub(crate) struct Trees {
    application: Router,
    server: Router,
}

impl Trees {
    pub(crate) fn new(control: &Arc<Control>) -> Self {
        Self {
            application: application_tree(control),
            server: server_tree(control),
        }
    }

    /// Answers `request` when its path is `/{app}/rest/v2/…` or `/rest/v2/…`; gives it back
    /// otherwise.
    #[allow(
        clippy::result_large_err,
        reason = "not an error: the request goes on to the pages"
    )]
    pub(crate) async fn answer(&self, mut request: Request) -> Result<Response, Request> {
        let Some((application, rest)) = split(request.uri().path()) else {
            return Err(request);
        };
        let application = application.map(str::to_owned);
        let query = request
            .uri()
            .query()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        // Clients that put a slash behind a path mean the same.
        let Ok(uri) = format!("/{}{query}", rest.trim_matches('/')).parse::<Uri>() else {
            return Err(request);
        };
        *request.uri_mut() = uri;
        let tree = match application {
            Some(name) => {
                request.extensions_mut().insert(ApplicationName(name));
                self.application.clone()
            }
            None => self.server.clone(),
        };
        Ok(tree
            .oneshot(request)
            .await
            .unwrap_or_else(|never: Infallible| match never {}))
    }
}

/// The application (`None` for the server) and what comes behind `rest/v2`.
fn split(path: &str) -> Option<(Option<&str>, &str)> {
    let is_end = |rest: &&str| rest.is_empty() || rest.starts_with('/');
    if let Some(rest) = path.strip_prefix("/rest/v2").filter(is_end) {
        return Some((None, rest));
    }
    let (application, rest) = path.strip_prefix('/')?.split_once('/')?;
    let rest = rest.strip_prefix("rest/v2").filter(is_end)?;
    Some((Some(application), rest))
}

fn application_tree(control: &Arc<Control>) -> Router {
    let filter = middleware::from_fn_with_state(Arc::clone(control), application::filter);
    let endpoint = post(endpoints::add).delete(endpoints::remove);
    let broadcasts = Router::new()
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
        .route("/{id}/endpoint/{service_id}", put(endpoints::update))
        .route(
            "/{id}/slate",
            get(slate::get).put(slate::put).delete(slate::delete),
        )
        .route("/{id}/data", post(data::send))
        .route("/{id}/recording/{wanted}", put(recording::switch))
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
        );
    let vods = Router::new()
        .route("/", delete(vods::delete_many))
        .route("/count", get(vods::count))
        .route("/count/{search}", get(vods::count_matching))
        .route("/list/{offset}/{size}", get(vods::list))
        .route("/{id}", get(vods::read).delete(vods::delete));
    Router::new()
        .route("/version", get(server::version))
        .nest("/broadcasts", broadcasts)
        .nest("/vods", vods)
        .fallback(not_found)
        .layer(filter)
        .layer(cors())
        .layer(middleware::from_fn(name_origin))
        .with_state(Arc::clone(control))
}

fn server_tree(control: &Arc<Control>) -> Router {
    let filter = middleware::from_fn_with_state(Arc::clone(control), access::server_filter);
    Router::new()
        .route("/version", get(server::version))
        .route("/liveness", get(server::liveness))
        .route("/applications", get(server::applications))
        .route("/applications-info", get(server::applications_info))
        .fallback(not_found)
        .layer(filter)
        .layer(cors())
        .layer(middleware::from_fn(name_origin))
        .with_state(Arc::clone(control))
}

async fn not_found() -> impl IntoResponse {
    StatusCode::NOT_FOUND
}

/// Names the origin that was let in, where the rule of Ant Media Server's CORS filter says `*`. That
/// stays on preflights and refusals, which show nothing, so that a page can read why.
async fn name_origin(request: Request, next: middleware::Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let is_preflight = request.method() == Method::OPTIONS;
    let mut response = next.run(request).await;
    if is_preflight || response.extensions().get::<access::Refused>().is_some() {
        return response;
    }
    let headers = response.headers_mut();
    headers.remove(header::ACCESS_CONTROL_ALLOW_ORIGIN);
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    response
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
