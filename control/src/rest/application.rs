//! The application that a path names, its address filter, and what else is in a path.

use std::{collections::HashMap, sync::Arc};

use axum::{
    extract::{FromRequestParts, Path, Query, Request, State},
    http::{StatusCode, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use shardcast_link::BroadcastId;

use crate::{access, settings::ApplicationSettings, state::Control};

/// The path parameter: a stream.
pub(super) type StreamPath = Path<String>;
/// The query.
pub(super) type Parameters = Query<HashMap<String, String>>;

/// The first part of a request's path.
#[derive(Clone, Debug)]
pub(super) struct ApplicationName(pub(super) String);

/// The application that a path names.
#[derive(Debug)]
pub(super) struct Application {
    pub(super) name: String,
    pub(super) settings: ApplicationSettings,
}

impl Application {
    /// The broadcast `stream` of it; `None` when that cannot be a name.
    pub(super) fn broadcast(&self, stream: &str) -> Option<BroadcastId> {
        BroadcastId::new(&self.name, stream).ok()
    }
}

impl FromRequestParts<Arc<Control>> for Application {
    type Rejection = StatusCode;

    async fn from_request_parts(
        parts: &mut Parts,
        control: &Arc<Control>,
    ) -> Result<Self, Self::Rejection> {
        let name = parts
            .extensions
            .get::<ApplicationName>()
            .map(|name| name.0.as_str());
        let name = name.unwrap_or_default();
        let settings = control.application(name).ok_or(StatusCode::NOT_FOUND)?;
        Ok(Self {
            name: name.to_owned(),
            settings: settings.clone(),
        })
    }
}

/// Filters by the list of the application that the path names.
pub(super) async fn filter(
    State(control): State<Arc<Control>>,
    request: Request,
    next: Next,
) -> Response {
    let name = request
        .extensions()
        .get::<ApplicationName>()
        .map(|name| name.0.as_str());
    let name = name.unwrap_or_default();
    let Some(application) = control.application(name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let allowed = application.remote_allowed_cidr.clone();
    access::filter(&control, &allowed, request, next).await
}

/// The ids of `?ids=a,b`.
pub(super) fn ids(query: &HashMap<String, String>) -> Vec<String> {
    let ids = query.get("ids").map(String::as_str).unwrap_or_default();
    let ids = ids.split(',').map(str::trim).filter(|id| !id.is_empty());
    ids.map(str::to_owned).collect()
}
