//! Lists and counts of broadcasts.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::application::{Application, Parameters};
use crate::{lifecycle, limits, state::Control, store::BroadcastRecord, views};

/// A part of a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    offset: usize,
    size: usize,
}

impl Page {
    /// Reads offset and size; less than 0 is 0, as there, and there are at most
    /// [`limits::LIST_ROWS_MAX`] rows.
    pub(super) fn read(offset: &str, size: &str) -> Option<Self> {
        let number = |text: &str| {
            let number: i64 = text.parse().ok()?;
            Some(usize::try_from(number).unwrap_or(0))
        };
        Some(Self {
            offset: number(offset)?,
            size: number(size)?.min(limits::LIST_ROWS_MAX),
        })
    }

    pub(super) fn of<T>(self, rows: Vec<T>) -> impl Iterator<Item = T> {
        rows.into_iter().skip(self.offset).take(self.size)
    }
}

/// Paths with something else than numbers are no paths.
pub(super) fn not_a_page() -> Response {
    StatusCode::NOT_FOUND.into_response()
}

/// GET `/list/{offset}/{size}?type_by&sort_by&order_by&search`
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
    let mut records = matching(&control, &application, given("search"));
    if !given("type_by").is_empty() {
        records.retain(|record| record.profile.kind == given("type_by"));
    }
    // Sorting needs both, as there.
    if !given("sort_by").is_empty() && !given("order_by").is_empty() {
        sort(
            &control,
            &mut records,
            given("sort_by"),
            given("order_by") == "desc",
        );
    }
    rows(&control, page, records)
}

/// GET `/filter-list/{offset}/{size}/{type}`, before 2.17
pub(super) async fn list_of_kind(
    State(control): State<Arc<Control>>,
    application: Application,
    Path((offset, size, kind)): Path<(String, String, String)>,
) -> Response {
    let Some(page) = Page::read(&offset, &size) else {
        return not_a_page();
    };
    let mut records = matching(&control, &application, "");
    records.retain(|record| record.profile.kind == kind);
    rows(&control, page, records)
}

fn rows(control: &Control, page: Page, records: Vec<Arc<BroadcastRecord>>) -> Response {
    let rows = page
        .of(records)
        .map(|record| views::broadcast(control, &record));
    Json(rows.collect::<Vec<Value>>()).into_response()
}

fn sort(control: &Control, records: &mut [Arc<BroadcastRecord>], by: &str, descending: bool) {
    match by {
        "name" => records.sort_by(|a, b| a.profile.name.cmp(&b.profile.name)),
        "date" => records.sort_by_key(|record| record.created_unix_ms),
        "status" => {
            records.sort_by_key(|record| lifecycle::status_word(control, record));
        }
        _ => return,
    }
    if descending {
        records.reverse();
    }
}

/// GET `/count`
pub(super) async fn count(
    State(control): State<Arc<Control>>,
    application: Application,
) -> Json<Value> {
    number(matching(&control, &application, "").len())
}

/// GET `/count/{search}`
pub(super) async fn count_matching(
    State(control): State<Arc<Control>>,
    application: Application,
    Path(search): Path<String>,
) -> Json<Value> {
    number(matching(&control, &application, &search).len())
}

/// GET `/active-live-stream-count`
pub(super) async fn count_live(
    State(control): State<Arc<Control>>,
    application: Application,
) -> Json<Value> {
    number(live_count(&control, &application.name))
}

/// Broadcasts of `application` that are live.
pub(super) fn live_count(control: &Control, application: &str) -> usize {
    let records = control.catalog.live_broadcasts();
    let of_application = |record: &&Arc<BroadcastRecord>| record.id.application() == application;
    records.iter().filter(of_application).count()
}

fn number(number: usize) -> Json<Value> {
    Json(json!({ "number": number }))
}

/// Broadcasts of the application whose name or id holds `search`, whatever its case.
fn matching(
    control: &Control,
    application: &Application,
    search: &str,
) -> Vec<Arc<BroadcastRecord>> {
    let mut records = control.catalog.broadcasts_of(&application.name);
    if search.is_empty() {
        return records;
    }
    let search = search.to_lowercase();
    records.retain(|record| {
        let name = record
            .profile
            .name
            .as_deref()
            .unwrap_or_default()
            .to_lowercase();
        record.id.stream().to_lowercase().contains(&search) || name.contains(&search)
    });
    records
}
