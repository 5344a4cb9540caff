//! Create, read, change, stop and delete broadcasts.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use rand::Rng;
use shardcast_link::BroadcastId;

use super::{
    Application,
    body::{self, JsonBody},
    broadcast_json, endpoint_list, profile,
    responses::{BAD_NAME, Outcome, answer},
    room,
};
use crate::{
    clock,
    control::Control,
    limits,
    signalling::Eviction,
    store::{BroadcastRecord, Profile},
};

/// The path parameter: a stream.
pub(super) type StreamPath = Path<String>;
pub(super) type Parameters = Query<HashMap<String, String>>;

/// POST `/create`
pub(super) async fn create(
    State(control): State<Arc<Control>>,
    application: Application,
    Query(query): Parameters,
    body: JsonBody,
) -> Response {
    let object = match body.object() {
        Ok(object) => object.unwrap_or_default(),
        Err(error) => return error.into_response(),
    };
    let read = profile::overlay(&Profile::default(), &object)
        .and_then(|profile| Ok((profile, body::text(&object, "streamId")?)));
    let (mut profile, stream) = match read {
        Ok(read) => read,
        Err(error) => return error.into_response(),
    };
    let endpoints = match endpoint_list::list_of(&object, &application.settings) {
        Ok(endpoints) => endpoints,
        Err(error) => return error.into_response(),
    };
    let stream = stream.unwrap_or_default().trim().to_owned();
    let stream = if stream.is_empty() {
        random_stream()
    } else {
        stream
    };
    let Some(id) = application.broadcast(&stream) else {
        let outcome = Outcome::failed("Stream id is not valid: letters, digits, '-', '_' and '.'");
        return outcome.with_error_id(BAD_NAME).bad_request();
    };
    if let Some(problem) = profile::problem(&profile, &object) {
        return Outcome::failed(problem).bad_request();
    }
    let pulls = matches!(
        profile.kind.as_str(),
        "ipCamera" | "streamSource" | "playlist" | "VoD"
    );
    if query.get("autoStart").is_some_and(|value| value == "true") && !pulls {
        return Outcome::failed("autoStart is for pull sources, not for liveStream")
            .into_response();
    }
    if profile
        .listener_hook_url
        .as_deref()
        .unwrap_or_default()
        .is_empty()
    {
        let shared = &application.settings.webhooks.url;
        profile.listener_hook_url = Some(shared.clone()).filter(|url| !url.is_empty());
    }
    let record = BroadcastRecord {
        profile,
        endpoints: endpoints.map(|listed| endpoint_list::rows(listed, &[])),
        ..BroadcastRecord::new(id, clock::unix_ms())
    };
    insert(&control, record).await
}

async fn insert(control: &Control, record: BroadcastRecord) -> Response {
    let id = record.id.clone();
    let inserted = control
        .catalog
        .change(|t| {
            if t.broadcast(&id).is_some() {
                return Err("Stream id is already being used");
            }
            if t.broadcast_count() >= limits::BROADCASTS_MAX {
                return Err("There are too many broadcasts; delete some");
            }
            t.put_broadcast(record.clone());
            Ok(())
        })
        .await;
    match inserted {
        Ok(Ok(())) => Json(broadcast_json::broadcast(control, &record)).into_response(),
        Ok(Err(problem)) => Outcome::failed(problem).bad_request(),
        Err(error) => error.into_response(),
    }
}

/// 24 digits, as there.
fn random_stream() -> String {
    let mut random = rand::rng();
    (0..24)
        .map(|_| char::from(b'0' + random.random_range(0..10u8)))
        .collect()
}

/// GET `/{id}`: 404 with an empty body when there is none.
pub(super) async fn read(
    State(control): State<Arc<Control>>,
    application: Application,
    Path(stream): StreamPath,
) -> Response {
    let id = application.broadcast(&stream);
    match id.and_then(|id| control.catalog.broadcast(&id)) {
        Some(record) => Json(broadcast_json::broadcast(&control, &record)).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// PUT `/{id}`: fields that are given are replaced.
pub(super) async fn update(
    State(control): State<Arc<Control>>,
    application: Application,
    Path(stream): StreamPath,
    body: JsonBody,
) -> Response {
    let object = match body.object() {
        Ok(object) => object.unwrap_or_default(),
        Err(error) => return error.into_response(),
    };
    let Some(id) = application.broadcast(&stream) else {
        return unknown().into_response();
    };
    let endpoints = match endpoint_list::list_of(&object, &application.settings) {
        Ok(endpoints) => endpoints,
        Err(error) => return error.into_response(),
    };
    if let (Some(listed), Some(record)) = (&endpoints, control.catalog.broadcast(&id)) {
        let (before, encoding) = (record.endpoints(), &application.settings.encoding);
        let after = endpoint_list::rows(listed.clone(), before);
        if let Err(problem) = room::admit(&control, encoding, &id, before, &after) {
            return Outcome::failed(problem.to_string()).into_response();
        }
    }
    let (changed, durable) = control.catalog.change_now(|t| {
        let Some(record) = t.broadcast(&id) else {
            return Ok(Some(unknown()));
        };
        let mut record = record.as_ref().clone();
        record.profile = profile::overlay(&record.profile, &object)?;
        if let Some(problem) = profile::problem(&record.profile, &object) {
            return Ok(Some(Outcome::failed(problem)));
        }
        if let Some(listed) = endpoints {
            record.endpoints = Some(endpoint_list::rows(listed, record.endpoints()));
        }
        t.put_broadcast(record);
        Ok::<_, body::BodyError>(None)
    });
    match changed {
        Ok(None) => {
            control.want_again(&id);
            answer(durable, Outcome::done()).await
        }
        Ok(Some(outcome)) => outcome.into_response(),
        Err(error) => error.into_response(),
    }
}

/// DELETE `/{id}`
pub(super) async fn delete(
    State(control): State<Arc<Control>>,
    application: Application,
    Path(stream): StreamPath,
) -> Response {
    delete_one(&control, application.broadcast(&stream)).await
}

/// DELETE `/?ids=a,b`: stops at the first failure and answers with the last result.
pub(super) async fn delete_many(
    State(control): State<Arc<Control>>,
    application: Application,
    Query(query): Parameters,
) -> Response {
    let ids = query.get("ids").map(String::as_str).unwrap_or_default();
    let mut response = Outcome::failed("ids is missing").into_response();
    for stream in ids
        .split(',')
        .map(str::trim)
        .filter(|stream| !stream.is_empty())
    {
        let id = application.broadcast(stream);
        let known = id
            .as_ref()
            .is_some_and(|id| control.catalog.broadcast(id).is_some());
        response = delete_one(&control, id).await;
        if !known {
            break;
        }
    }
    response
}

async fn delete_one(control: &Control, id: Option<BroadcastId>) -> Response {
    let Some(id) = id else {
        return unknown().into_response();
    };
    let Some(record) = control.catalog.broadcast(&id) else {
        return unknown().into_response();
    };
    let was_live = record.is_live();
    control.end(&id, Eviction::ByRest);
    match control.catalog.change(|t| t.remove_broadcast(&id)).await {
        Ok(()) if was_live => {
            Outcome::done_with("broadcast is deleted and its live stream is stopped")
                .into_response()
        }
        Ok(()) => Outcome::done_with("broadcast is deleted; it was not live").into_response(),
        Err(error) => error.into_response(),
    }
}

/// POST `/{id}/stop`: the broadcast stays, its publisher goes.
pub(super) async fn stop(
    State(control): State<Arc<Control>>,
    application: Application,
    Path(stream): StreamPath,
) -> Response {
    let Some(id) = application.broadcast(&stream) else {
        return unknown().into_response();
    };
    match control.catalog.broadcast(&id) {
        None => unknown().into_response(),
        Some(record) if !record.is_live() => {
            Outcome::failed("the stream is not live").into_response()
        }
        Some(_) => {
            control.end(&id, Eviction::ByRest);
            // The end itself is on its way to the disk; wait for it.
            match control.catalog.settled().await {
                Ok(()) => Outcome::done().into_response(),
                Err(error) => error.into_response(),
            }
        }
    }
}

/// POST `/{id}/start`: for pull sources, which are not built.
pub(super) async fn start(
    State(control): State<Arc<Control>>,
    application: Application,
    Path(stream): StreamPath,
) -> Outcome {
    let id = application.broadcast(&stream);
    match id.and_then(|id| control.catalog.broadcast(&id)) {
        None => unknown(),
        Some(_) => Outcome::failed("a liveStream is started by its publisher").with_error_id(-4),
    }
}

pub(super) fn unknown() -> Outcome {
    Outcome::failed("broadcast does not exist")
}
