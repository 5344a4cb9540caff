//! Destinations of a broadcast, under the old path (`rtmp-endpoint`) and the new (`endpoint`),
//! with the URL in the body or the query, as `rtmpUrl` or `endpointUrl`.
//!
//! Adding never fails because a stream is just starting: the destination is stored, and its shard
//! starts it when there is media.

use std::{collections::HashMap, sync::Arc};

use axum::{
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use shardcast_link::{BroadcastId, DestinationId, rtmp_url::is_same_destination};

use super::{
    application::{Application, Parameters, StreamPath},
    change,
    endpoint_body::{EndpointRequest, check_service_id, check_url, own, random_service_id},
    resolution_height,
    responses::{Outcome, answer, unknown},
};
use crate::{
    body::JsonBody,
    redact,
    settings::ApplicationSettings,
    state::Control,
    store::{BroadcastRecord, Durable, EndpointRecord},
};

/// POST `/{id}/rtmp-endpoint` and `/{id}/endpoint`
pub(super) async fn add(
    State(control): State<Arc<Control>>,
    application: Application,
    Path(stream): StreamPath,
    Query(query): Parameters,
    body: JsonBody,
) -> Response {
    let request = body.object().and_then(|object| {
        let request = EndpointRequest::read(&query, object)?;
        request
            .service_id
            .as_deref()
            .map_or(Ok(()), check_service_id)?;
        Ok(request)
    });
    let request = match request {
        Ok(request) => request,
        Err(error) => return error.into_response(),
    };
    let Some(id) = application.broadcast(&stream) else {
        return unknown().into_response();
    };
    let settings = &application.settings;
    let endpoint = match endpoint_of(&control, settings, &id, request) {
        Ok(endpoint) => endpoint,
        Err(outcome) => return outcome.into_response(),
    };
    let service_id = endpoint.id.0.clone();
    let shown = redact::url(&endpoint.url);
    let add = |record: &mut BroadcastRecord| insert(record, &endpoint, settings.endpoints_max);
    match change_destinations(&control, settings, &id, add) {
        Ok(durable) => {
            tracing::info!(broadcast = %id, destination = service_id, url = shown, "added");
            answer(durable, Outcome::added(service_id)).await
        }
        Err(outcome) => outcome.into_response(),
    }
}

/// The row of a new destination of `id`.
fn endpoint_of(
    control: &Control,
    settings: &ApplicationSettings,
    id: &BroadcastId,
    request: EndpointRequest,
) -> Result<EndpointRecord, Outcome> {
    let missing = || Outcome::failed("missing url: rtmpUrl or endpointUrl");
    let url = request.url.clone().ok_or_else(missing)?;
    check_url(&url).map_err(Outcome::failed)?;
    check(settings, &request)?;
    let height = request.resolution_height;
    let video =
        resolution_height::video_of(control, &settings.encoding, id, height, &request.video);
    Ok(EndpointRecord {
        id: DestinationId(request.service_id.unwrap_or_else(random_service_id)),
        url,
        retry: own(request.retry),
        video: video.map_err(|problem| Outcome::failed(problem.to_string()))?,
        last: None,
    })
}

/// Whether the retry policy and the video settings can be used.
fn check(settings: &ApplicationSettings, request: &EndpointRequest) -> Result<(), Outcome> {
    let retry = request.retry.unwrap_or_default();
    let checked = retry.check(settings.retry_policy());
    checked.map_err(|problem| Outcome::failed(problem.to_string()))?;
    let checked = request.video.check();
    checked.map_err(|problem| Outcome::failed(problem.to_string()))
}

/// Changes the destinations of `id` and sends its shard what is wanted now, unless that has no
/// capacity for the renditions that it would have to begin.
fn change_destinations(
    control: &Control,
    settings: &ApplicationSettings,
    id: &BroadcastId,
    change: impl Fn(&mut BroadcastRecord) -> Result<(), Outcome>,
) -> Result<Durable, Outcome> {
    change::change(control, &settings.encoding, id, |record| {
        let mut record = record.clone();
        change(&mut record)?;
        Ok(record)
    })
}

fn insert(
    record: &mut BroadcastRecord,
    endpoint: &EndpointRecord,
    most: usize,
) -> Result<(), Outcome> {
    let endpoints = record.endpoints.get_or_insert_default();
    if endpoints
        .iter()
        .any(|known| is_same_destination(&known.url, &endpoint.url))
    {
        return Err(Outcome::failed(
            "this URL is a destination of the broadcast already",
        ));
    }
    if endpoints.iter().any(|known| known.id == endpoint.id) {
        return Err(Outcome::failed("this endpointServiceId is in use already"));
    }
    if endpoints.len() >= most {
        return Err(Outcome::failed(format!(
            "endpoints_max allows {most} destinations"
        )));
    }
    endpoints.push(endpoint.clone());
    Ok(())
}

/// PUT `/{id}/endpoint/{endpointServiceId}`, which Ant Media Server does not have: changes how the
/// destination is retried and which video it is sent, without touching its connection.
pub(super) async fn update(
    State(control): State<Arc<Control>>,
    application: Application,
    Path((stream, service_id)): Path<(String, String)>,
    body: JsonBody,
) -> Response {
    let read = |object| EndpointRequest::read(&HashMap::new(), object);
    let request = match body.object().and_then(read) {
        Ok(request) => request,
        Err(error) => return error.into_response(),
    };
    let settings = &application.settings;
    if let Err(outcome) = check(settings, &request) {
        return outcome.into_response();
    }
    let Some(id) = application.broadcast(&stream) else {
        return unknown().into_response();
    };
    let update = |record: &mut BroadcastRecord| replace(record, &service_id, &request);
    match change_destinations(&control, settings, &id, update) {
        Ok(durable) => answer(durable, Outcome::done()).await,
        Err(outcome) => outcome.into_response(),
    }
}

fn replace(
    record: &mut BroadcastRecord,
    service_id: &str,
    request: &EndpointRequest,
) -> Result<(), Outcome> {
    let mut endpoints = record.endpoints.iter_mut().flatten();
    let Some(endpoint) = endpoints.find(|endpoint| endpoint.id.0 == service_id) else {
        return Err(Outcome::failed("the broadcast has no such destination"));
    };
    let other = |url: &String| !is_same_destination(url, &endpoint.url);
    if request.url.as_ref().is_some_and(other) {
        return Err(Outcome::failed(
            "the URL of a destination stays: remove it and add another",
        ));
    }
    if request
        .service_id
        .as_ref()
        .is_some_and(|id| id != service_id)
    {
        return Err(Outcome::failed(
            "the endpointServiceId of a destination stays, as the path has it",
        ));
    }
    if request.retry.is_some() {
        endpoint.retry = own(request.retry);
    }
    let changed = endpoint.video.changed(&request.video);
    endpoint.video = changed.map_err(|problem| Outcome::failed(problem.to_string()))?;
    Ok(())
}

/// DELETE of the same paths; by `endpointServiceId`, or by URL as the StreamLick guide does. One of
/// them names the destination, so a `resolutionHeight` beside it says nothing.
pub(super) async fn remove(
    State(control): State<Arc<Control>>,
    application: Application,
    Path(stream): StreamPath,
    Query(query): Parameters,
    body: JsonBody,
) -> Response {
    let request = match body
        .object()
        .and_then(|object| EndpointRequest::read(&query, object))
    {
        Ok(request) => request,
        Err(error) => return error.into_response(),
    };
    let Some(id) = application.broadcast(&stream) else {
        return unknown().into_response();
    };
    if request.url.is_none() && request.service_id.is_none() {
        let outcome = Outcome::failed("name the destination: endpointServiceId, or its URL");
        return outcome.into_response();
    }
    let is_meant = |endpoint: &EndpointRecord| match &request.service_id {
        Some(service_id) => endpoint.id.0 == *service_id,
        None => request
            .url
            .as_ref()
            .is_some_and(|url| is_same_destination(url, &endpoint.url)),
    };
    let take_out = |record: &mut BroadcastRecord| {
        let before = record.endpoints().len();
        let lists = record.endpoints.iter_mut();
        lists.for_each(|list| list.retain(|endpoint| !is_meant(endpoint)));
        if record.endpoints().len() == before {
            return Err(Outcome::failed("the broadcast has no such destination"));
        }
        Ok(())
    };
    match change_destinations(&control, &application.settings, &id, take_out) {
        Ok(durable) => {
            tracing::info!(broadcast = %id, "destination removed");
            answer(durable, Outcome::done()).await
        }
        Err(outcome) => outcome.into_response(),
    }
}
