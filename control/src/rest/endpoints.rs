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
use rand::{Rng, distr::Alphanumeric};
use shardcast_link::{BroadcastId, DestinationId, rtmp_url::is_same_destination};

use super::{
    Application,
    body::JsonBody,
    broadcasts::{Parameters, StreamPath, unknown},
    endpoint_body::{Wish, check_service_id, check_url, own},
    heights,
    responses::{Outcome, answer},
    room,
};
use crate::{
    control::Control,
    redact,
    settings::ApplicationSettings,
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
    let wish = body.object().and_then(|object| {
        let wish = Wish::read(&query, object)?;
        wish.service_id
            .as_deref()
            .map_or(Ok(()), check_service_id)?;
        Ok(wish)
    });
    let wish = match wish {
        Ok(wish) => wish,
        Err(error) => return error.into_response(),
    };
    let Some(id) = application.broadcast(&stream) else {
        return unknown().into_response();
    };
    let settings = &application.settings;
    let endpoint = match endpoint_of(&control, settings, &id, wish) {
        Ok(endpoint) => endpoint,
        Err(outcome) => return outcome.into_response(),
    };
    let service_id = endpoint.id.0.clone();
    let shown = redact::url(&endpoint.url);
    let add = |record: &mut BroadcastRecord| insert(record, &endpoint, settings.endpoints_max);
    match change(&control, settings, &id, add) {
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
    wish: Wish,
) -> Result<EndpointRecord, Outcome> {
    let missing = || Outcome::failed("missing url: rtmpUrl or endpointUrl");
    let url = wish.url.clone().ok_or_else(missing)?;
    check_url(&url).map_err(Outcome::failed)?;
    check(settings, &wish)?;
    let height = wish.resolution_height;
    let picture = heights::picture(control, &settings.encoding, id, height, &wish.picture);
    Ok(EndpointRecord {
        id: DestinationId(wish.service_id.unwrap_or_else(random_service_id)),
        url,
        retry: own(wish.retry),
        picture: picture.map_err(|problem| Outcome::failed(problem.to_string()))?,
        last: None,
    })
}

/// Whether what is said of retries and of the picture can be.
fn check(settings: &ApplicationSettings, wish: &Wish) -> Result<(), Outcome> {
    let retry = wish.retry.unwrap_or_default();
    let checked = retry.check(settings.retry_policy());
    checked.map_err(|problem| Outcome::failed(problem.to_string()))?;
    let checked = wish.picture.check();
    checked.map_err(|problem| Outcome::failed(problem.to_string()))
}

/// Changes the destinations of `id` and tells its shard, unless that has no room for what is to be
/// made for them.
fn change(
    control: &Control,
    settings: &ApplicationSettings,
    id: &BroadcastId,
    change: impl Fn(&mut BroadcastRecord) -> Result<(), Outcome>,
) -> Result<Durable, Outcome> {
    let before = control.catalog.broadcast(id).ok_or_else(unknown)?;
    let mut after = before.as_ref().clone();
    change(&mut after)?;
    let (before, after) = (before.endpoints(), after.endpoints());
    let admitted = room::admit(control, &settings.encoding, id, before, after);
    admitted.map_err(|problem| Outcome::failed(problem.to_string()))?;
    // Others may have changed it meanwhile.
    let (changed, durable) = control.catalog.change_now(|t| {
        let mut record = t.broadcast(id).ok_or_else(unknown)?.as_ref().clone();
        change(&mut record)?;
        t.put_broadcast(record);
        Ok(())
    });
    changed?;
    control.want_again(id);
    Ok(durable)
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
/// destination is tried again and what picture it is sent, without touching its connection.
pub(super) async fn update(
    State(control): State<Arc<Control>>,
    application: Application,
    Path((stream, service_id)): Path<(String, String)>,
    body: JsonBody,
) -> Response {
    let read = |object| Wish::read(&HashMap::new(), object);
    let wish = match body.object().and_then(read) {
        Ok(wish) => wish,
        Err(error) => return error.into_response(),
    };
    let settings = &application.settings;
    if let Err(outcome) = check(settings, &wish) {
        return outcome.into_response();
    }
    let Some(id) = application.broadcast(&stream) else {
        return unknown().into_response();
    };
    let update = |record: &mut BroadcastRecord| replace(record, &service_id, &wish);
    match change(&control, settings, &id, update) {
        Ok(durable) => answer(durable, Outcome::done()).await,
        Err(outcome) => outcome.into_response(),
    }
}

fn replace(record: &mut BroadcastRecord, service_id: &str, wish: &Wish) -> Result<(), Outcome> {
    let mut endpoints = record.endpoints.iter_mut().flatten();
    let Some(endpoint) = endpoints.find(|endpoint| endpoint.id.0 == service_id) else {
        return Err(Outcome::failed("the broadcast has no such destination"));
    };
    let other = |url: &String| !is_same_destination(url, &endpoint.url);
    if wish.url.as_ref().is_some_and(other) {
        return Err(Outcome::failed(
            "the URL of a destination stays: remove it and add another",
        ));
    }
    if wish.service_id.as_ref().is_some_and(|id| id != service_id) {
        return Err(Outcome::failed(
            "the endpointServiceId of a destination stays, as the path has it",
        ));
    }
    if wish.retry.is_some() {
        endpoint.retry = own(wish.retry);
    }
    let changed = endpoint.picture.changed(&wish.picture);
    endpoint.picture = changed.map_err(|problem| Outcome::failed(problem.to_string()))?;
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
    let wish = match body.object().and_then(|object| Wish::read(&query, object)) {
        Ok(wish) => wish,
        Err(error) => return error.into_response(),
    };
    let Some(id) = application.broadcast(&stream) else {
        return unknown().into_response();
    };
    if wish.url.is_none() && wish.service_id.is_none() {
        let outcome = Outcome::failed("name the destination: endpointServiceId, or its URL");
        return outcome.into_response();
    }
    let is_meant = |endpoint: &EndpointRecord| match &wish.service_id {
        Some(service_id) => endpoint.id.0 == *service_id,
        None => wish
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
    match change(&control, &application.settings, &id, take_out) {
        Ok(durable) => {
            tracing::info!(broadcast = %id, "destination removed");
            answer(durable, Outcome::done()).await
        }
        Err(outcome) => outcome.into_response(),
    }
}

pub(super) fn random_service_id() -> String {
    let random: String = rand::rng()
        .sample_iter(Alphanumeric)
        .take(6)
        .map(char::from)
        .collect();
    format!("custom{random}")
}
