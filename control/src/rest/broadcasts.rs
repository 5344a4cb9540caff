//! Create, read, change, stop and delete broadcasts.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use rand::Rng;
use serde_json::{Map, Value};

use super::{
    application::{Application, Parameters, StreamPath, ids},
    change::change,
    endpoint_list::{self, Listed},
    profile, rendition_admission,
    responses::{BAD_NAME, Outcome, answer, unknown},
};
use crate::{
    body::{self, BodyError, JsonBody},
    clock, effects, limits,
    publishing::Eviction,
    state::Control,
    store::{BroadcastRecord, Profile, Transaction},
    views,
};

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
    let listed = endpoint_list::list_of(&object, &application.settings);
    let rows = |listed: Option<Vec<_>>| {
        let rows = listed.map(|listed| endpoint_list::rows(listed, &[]));
        rows.transpose()
    };
    let endpoints = match listed.and_then(rows) {
        Ok(endpoints) => endpoints,
        Err(error) => return error.into_response(),
    };
    let stream = Some(stream.unwrap_or_default().trim().to_owned());
    let stream = stream
        .filter(|stream| !stream.is_empty())
        .unwrap_or_else(random_stream);
    let Some(id) = application.broadcast(&stream) else {
        let outcome = Outcome::failed("Stream id is not valid: letters, digits, '-', '_' and '.'");
        return outcome.with_error_id(BAD_NAME).bad_request();
    };
    if let Some(problem) = profile::problem(&profile, &object) {
        return Outcome::failed(problem).bad_request();
    }
    if query.get("autoStart").is_some_and(|value| value == "true") && !is_pulled(&profile) {
        return Outcome::failed("autoStart is for pull sources, not for liveStream")
            .into_response();
    }
    let hook = profile.listener_hook_url.as_deref();
    if hook.unwrap_or_default().is_empty() {
        let shared = &application.settings.webhooks.url;
        profile.listener_hook_url = Some(shared.clone()).filter(|url| !url.is_empty());
    }
    let record = BroadcastRecord {
        profile,
        endpoints,
        ..BroadcastRecord::new(id, clock::unix_ms())
    };
    let encoding = &application.settings.encoding;
    if let Err(problem) = rendition_admission::check(&control, encoding, &[], record.endpoints()) {
        return Outcome::failed(problem.to_string()).bad_request();
    }
    insert(&control, record).await
}

/// Whether Ant Media Server would fetch the stream, in place of waiting for a publisher.
fn is_pulled(profile: &Profile) -> bool {
    let kind = profile.kind.as_str();
    matches!(kind, "ipCamera" | "streamSource" | "playlist" | "VoD")
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
        Ok(Ok(())) => Json(views::broadcast(control, &record)).into_response(),
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
        Some(record) => Json(views::broadcast(&control, &record)).into_response(),
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
    let listed = match endpoint_list::list_of(&object, &application.settings) {
        Ok(listed) => listed,
        Err(error) => return error.into_response(),
    };
    let changed = |record: &BroadcastRecord| changed(record, &object, listed.clone());
    match change(&control, &application.settings.encoding, &id, changed) {
        Ok(durable) => answer(durable, Outcome::done()).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Why a Broadcast stays as it is.
enum Refusal {
    Body(BodyError),
    Outcome(Outcome),
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl From<Outcome> for Refusal {
    fn from(outcome: Outcome) -> Self {
        Self::Outcome(outcome)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Body(error) => error.into_response(),
            Self::Outcome(outcome) => outcome.into_response(),
        }
    }
}

/// `record` with what `object` says of it, and with the destinations that are `listed`.
fn changed(
    record: &BroadcastRecord,
    object: &Map<String, Value>,
    listed: Option<Vec<Listed>>,
) -> Result<BroadcastRecord, Refusal> {
    let mut record = record.clone();
    record.profile = profile::overlay(&record.profile, object)?;
    if let Some(problem) = profile::problem(&record.profile, object) {
        return Err(Outcome::failed(problem).into());
    }
    if let Some(listed) = listed {
        record.endpoints = Some(endpoint_list::rows(listed, record.endpoints())?);
    }
    Ok(record)
}

/// DELETE `/{id}`; and DELETE `/bulk` with a list of ids, as it was before 2.17.
pub(super) async fn delete(
    State(control): State<Arc<Control>>,
    application: Application,
    Path(stream): StreamPath,
    body: JsonBody,
) -> Response {
    if stream == "bulk" {
        match body.texts() {
            Ok(Some(streams)) => return delete_all(&control, &application, &streams).await,
            // A broadcast may have that name too.
            Ok(None) => {}
            Err(error) => return error.into_response(),
        }
    }
    delete_all(&control, &application, &[stream]).await
}

/// DELETE `/?ids=a,b`
pub(super) async fn delete_many(
    State(control): State<Arc<Control>>,
    application: Application,
    Query(query): Parameters,
) -> Response {
    delete_all(&control, &application, &ids(&query)).await
}

/// Deletes `streams` up to the first one that does not exist, in one write, and answers with the last
/// result.
async fn delete_all(control: &Control, application: &Application, streams: &[String]) -> Response {
    let mut outcome = Outcome::failed("ids is missing");
    let mut found = Vec::new();
    for stream in streams {
        let id = application.broadcast(stream);
        let Some(record) = id.and_then(|id| control.catalog.broadcast(&id)) else {
            outcome = unknown();
            break;
        };
        outcome = Outcome::done_with(if record.is_live() {
            "broadcast is deleted and its live stream is stopped"
        } else {
            "broadcast is deleted; it was not live"
        });
        effects::end(control, &record.id, Eviction::ByRest);
        found.push(record.id.clone());
    }
    let remove = |t: &mut Transaction<'_>| {
        for id in &found {
            t.remove_broadcast(id);
        }
    };
    match control.catalog.change(remove).await {
        Ok(()) => {
            for id in &found {
                control.previews.forget(id);
            }
            outcome.into_response()
        }
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
            effects::end(&control, &id, Eviction::ByRest);
            // The end itself is on its way to the disk; wait for it.
            match control.catalog.flush().await {
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
