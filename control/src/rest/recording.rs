//! Recording on demand: PUT `/{id}/recording/{true|false}`.

use std::{collections::HashMap, sync::Arc};

use axum::{
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};

use super::{
    application::{Application, Parameters},
    responses::{Outcome, answer, unknown},
};
use crate::{
    clock, recordings,
    state::Control,
    store::{BroadcastRecord, RecordingRecord},
    wants,
};

/// What was changed.
enum Changed {
    /// A live broadcast: the recording that began or ended.
    Live(RecordingRecord),
    /// One that is not live is recorded from its start on, or not.
    Later,
}

pub(super) async fn switch(
    State(control): State<Arc<Control>>,
    application: Application,
    Path((stream, wanted)): Path<(String, String)>,
    Query(query): Parameters,
) -> Response {
    let wanted = match wanted.as_str() {
        "true" => true,
        "false" => false,
        _ => return Outcome::failed("recording is true or false").bad_request(),
    };
    let name = match file_name(&query) {
        Ok(name) => name,
        Err(outcome) => return outcome.into_response(),
    };
    let Some(id) = application.broadcast(&stream) else {
        return unknown().into_response();
    };
    let now = clock::unix_ms();
    let (changed, durable) = control.catalog.change_now(|t| {
        let mut record = t.broadcast(&id).ok_or_else(unknown)?.as_ref().clone();
        let changed = change(&mut record, wanted, now, name)?;
        t.put_broadcast(record);
        Ok(changed)
    });
    let outcome = match changed {
        Ok(Changed::Live(recording)) => Outcome {
            message: Some(now.to_string()),
            ..Outcome::added(recording.vod_id)
        },
        Ok(Changed::Later) => Outcome::done(),
        Err(outcome) => return Outcome::into_response(outcome),
    };
    wants::again(&control, &id);
    answer(durable, outcome).await
}

/// What the file is to be called, if the query says so and asks for nothing that is not there.
fn file_name(query: &HashMap<String, String>) -> Result<Option<String>, Outcome> {
    let given = |key: &str| query.get(key).map_or("", |value| value.trim());
    if !matches!(given("recordType"), "" | "mp4") {
        return Err(Outcome::failed("recordType: only mp4 is recorded"));
    }
    if !matches!(given("resolutionHeight"), "" | "0") {
        let problem = "resolutionHeight: the publisher's own video is recorded; leave it out";
        return Err(Outcome::failed(problem));
    }
    let name = Some(given("fileName")).filter(|name| !name.is_empty());
    if name.is_some_and(|name| !recordings::is_recording_name(name)) {
        let problem = "fileName: letters, digits, '-', '_' and '.', at most 200";
        return Err(Outcome::failed(problem));
    }
    Ok(name.map(str::to_owned))
}

/// Changes `record` as it is wanted.
fn change(
    record: &mut BroadcastRecord,
    wanted: bool,
    now_unix_ms: u64,
    name: Option<String>,
) -> Result<Changed, Outcome> {
    if !record.is_live() {
        let switch = if wanted { 1 } else { -1 };
        if record.profile.mp4_enabled == switch {
            let already = if wanted { "on" } else { "off" };
            return Err(Outcome::failed(format!("recording is {already} already")));
        }
        record.profile.mp4_enabled = switch;
        return Ok(Changed::Later);
    }
    match (wanted, record.recording.take()) {
        (true, None) => {
            let recording = recordings::begin(now_unix_ms, name);
            record.recording = Some(recording.clone());
            Ok(Changed::Live(recording))
        }
        (false, Some(recording)) => Ok(Changed::Live(recording)),
        (true, Some(_)) => Err(Outcome::failed("it is being recorded already")),
        (false, None) => Err(Outcome::failed("it is not being recorded")),
    }
}
