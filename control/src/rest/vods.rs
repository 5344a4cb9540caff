//! Recordings: `/vods`, as Ant Media Server has them.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    application::{Application, Parameters, ids},
    lists::{Page, not_a_page},
    responses::Outcome,
};
use crate::{
    body::JsonBody,
    recordings::{self, UploadView},
    state::Control,
    store::VodRecord,
};

/// `VoD`. Nulls are written.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Vod {
    stream_name: Option<String>,
    vod_name: Option<String>,
    stream_id: Option<String>,
    /// Unix milliseconds, as `startTime` is.
    creation_date: u64,
    start_time: u64,
    /// Milliseconds.
    duration: u64,
    file_size: u64,
    /// `streams/…`, below the address of the application.
    file_path: Option<String>,
    vod_id: Option<String>,
    #[serde(rename = "type")]
    kind: Option<&'static str>,
    preview_file_path: Option<String>,
    process_status: Option<&'static str>,
    process_start_time: u64,
    process_end_time: u64,
    description: Option<String>,
    metadata: Option<String>,
    latitude: Option<String>,
    longitude: Option<String>,
    altitude: Option<String>,
    /// Not a key of Ant Media Server; null where nothing is uploaded.
    s3: Option<Upload>,
}

/// Where a recording is uploaded to.
#[derive(Debug, Serialize)]
struct Upload {
    /// `waiting` or `uploaded`.
    status: &'static str,
    url: Option<String>,
    /// Why the last attempt failed.
    problem: Option<String>,
}

impl From<UploadView> for Upload {
    fn from(view: UploadView) -> Self {
        let UploadView {
            is_there,
            url,
            problem,
        } = view;
        let status = if is_there { "uploaded" } else { "waiting" };
        Self {
            status,
            url,
            problem,
        }
    }
}

impl Vod {
    fn of(control: &Control, record: &VodRecord) -> Self {
        let is_ready = record.growing.is_none();
        Self {
            stream_name: record.stream_name.clone(),
            vod_name: Some(record.file_name().to_owned()),
            stream_id: Some(record.broadcast.stream().to_owned()),
            creation_date: record.created_unix_ms,
            start_time: record.started_unix_ms,
            duration: record.duration_ms,
            file_size: record.bytes,
            file_path: Some(record.path.clone()),
            vod_id: Some(record.id.clone()),
            kind: Some("streamVod"),
            process_status: Some(if is_ready { "finished" } else { "processing" }),
            s3: recordings::upload_view(control, record).map(Upload::from),
            ..Self::default()
        }
    }
}

/// GET `/{id}`: an empty one when there is none, as there.
pub(super) async fn read(
    State(control): State<Arc<Control>>,
    application: Application,
    Path(id): Path<String>,
) -> Response {
    let vod = control.catalog.vod(&id);
    let vod = vod.filter(|vod| vod.broadcast.application() == application.name);
    Json(vod.map_or_else(Vod::default, |vod| Vod::of(&control, &vod))).into_response()
}

/// GET `/list/{offset}/{size}?sort_by&order_by&streamId&search`
pub(super) async fn list(
    State(control): State<Arc<Control>>,
    application: Application,
    Path((offset, size)): Path<(String, String)>,
    Query(query): Parameters,
) -> Response {
    let Some(page) = Page::read(&offset, &size) else {
        return not_a_page();
    };
    let given = |key: &str| query.get(key).map(String::as_str).unwrap_or_default();
    let mut vods = matching(&control, &application.name, given("search"));
    if !given("streamId").is_empty() {
        vods.retain(|vod| vod.broadcast.stream() == given("streamId"));
    }
    // Sorting needs both, as there.
    match (given("sort_by"), given("order_by")) {
        (_, "") => {}
        ("name", _) => vods.sort_by(|a, b| a.file_name().cmp(b.file_name())),
        ("date", _) => vods.sort_by_key(|vod| vod.created_unix_ms),
        _ => {}
    }
    if !given("sort_by").is_empty() && given("order_by") == "desc" {
        vods.reverse();
    }
    let rows = page.of(vods).map(|vod| Vod::of(&control, &vod));
    Json(rows.collect::<Vec<_>>()).into_response()
}

/// GET `/count`
pub(super) async fn count(
    State(control): State<Arc<Control>>,
    application: Application,
) -> Json<Value> {
    Json(json!({"number": matching(&control, &application.name, "").len()}))
}

/// GET `/count/{search}`
pub(super) async fn count_matching(
    State(control): State<Arc<Control>>,
    application: Application,
    Path(search): Path<String>,
) -> Json<Value> {
    Json(json!({"number": matching(&control, &application.name, &search).len()}))
}

/// Recordings of an application whose name, file or stream holds `search`, whatever its case.
pub(super) fn matching(control: &Control, application: &str, search: &str) -> Vec<Arc<VodRecord>> {
    let search = search.to_lowercase();
    let holds = |text: &str| text.to_lowercase().contains(&search);
    control.catalog.vods(|vod| {
        vod.broadcast.application() == application
            && (search.is_empty()
                || holds(vod.file_name())
                || holds(vod.broadcast.stream())
                || holds(&vod.id)
                || vod.stream_name.as_deref().is_some_and(holds))
    })
}

/// DELETE `/{id}`; and DELETE `/bulk` with a list of ids, as it was before 2.17.
pub(super) async fn delete(
    State(control): State<Arc<Control>>,
    application: Application,
    Path(id): Path<String>,
    body: JsonBody,
) -> Response {
    if id == "bulk" {
        match body.texts() {
            Ok(Some(ids)) => return delete_all(&control, &application, &ids).await,
            Ok(None) => {}
            Err(error) => return error.into_response(),
        }
    }
    delete_all(&control, &application, &[id]).await
}

/// DELETE `/?ids=a,b`
pub(super) async fn delete_many(
    State(control): State<Arc<Control>>,
    application: Application,
    Query(query): Parameters,
) -> Response {
    delete_all(&control, &application, &ids(&query)).await
}

/// Deletes one after the other, up to the first that fails.
async fn delete_all(control: &Control, application: &Application, ids: &[String]) -> Response {
    let mut outcome = Outcome::failed("vod does not exist");
    for id in ids {
        outcome = match delete_one(control, application, id).await {
            Ok(outcome) => outcome,
            Err(response) => return response,
        };
        if !outcome.success {
            break;
        }
    }
    outcome.into_response()
}

async fn delete_one(
    control: &Control,
    application: &Application,
    id: &str,
) -> Result<Outcome, Response> {
    let vod = control.catalog.vod(id);
    let Some(vod) = vod.filter(|vod| vod.broadcast.application() == application.name) else {
        return Ok(Outcome::failed("vod does not exist"));
    };
    // The file first: a row without a file can be deleted again, a file without a row is found by nobody.
    if let Err(error) = recordings::remove(control, &vod).await {
        return Ok(Outcome::failed(error.to_string()));
    }
    let removed = control.catalog.change(|t| t.remove_vod(id)).await;
    removed.map_err(IntoResponse::into_response)?;
    Ok(Outcome::done_with("vod deleted"))
}
