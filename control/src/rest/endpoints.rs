//! Destinations of a broadcast, under the old path (`rtmp-endpoint`) and the new (`endpoint`),
//! with the URL in the body or the query, as `rtmpUrl` or `endpointUrl`.
//!
//! Adding never fails because a stream is just starting: the destination is stored, and its shard
//! starts it when there is media.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use axum::{
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use rand::{Rng, distr::Alphanumeric};
use serde::Deserialize;
use serde_json::{Map, Value};
use shardcast_link::{BroadcastId, DestinationId, RtmpUrl, UrlError};

use super::{
    Application,
    body::{self, BodyError, JsonBody},
    broadcasts::{Parameters, StreamPath, unknown},
    responses::{Outcome, answer},
};
use crate::{
    control::Control, redact, retry::RetryOverrides, settings::ApplicationSettings,
    store::EndpointRecord,
};

/// Keys of an Endpoint body: what clients may send, plus what they may have read here.
const FIELDS: [&str; 7] = [
    "status",
    "type",
    "rtmpUrl",
    "endpointUrl",
    "endpointServiceId",
    "retry",
    "detail",
];

/// What a request says about one endpoint.
#[derive(Debug)]
struct Wish {
    url: Option<String>,
    service_id: Option<String>,
    retry: Option<RetryOverrides>,
    /// 0 is the source.
    resolution_height: u32,
}

impl Wish {
    fn read(
        query: &HashMap<String, String>,
        object: Option<Map<String, Value>>,
    ) -> Result<Self, BodyError> {
        let object = object.unwrap_or_default();
        let known = FIELDS.iter().map(|field| (*field).to_owned()).collect();
        body::only_known(&object, &known, "Endpoint")?;
        let given = |key: &str| -> Result<Option<String>, BodyError> {
            let text = body::text(&object, key)?.or_else(|| query.get(key).cloned());
            Ok(text
                .map(|text| text.trim().to_owned())
                .filter(|text| !text.is_empty()))
        };
        let url = match given("rtmpUrl")? {
            Some(url) => Some(url),
            None => given("endpointUrl")?,
        };
        let height = query
            .get("resolutionHeight")
            .map_or(Ok(0), |text| text.trim().parse());
        Ok(Self {
            url,
            service_id: given("endpointServiceId")?,
            retry: retry_of(&object)?,
            resolution_height: height.map_err(|_| {
                BodyError::Value("resolutionHeight must be a whole number".to_owned())
            })?,
        })
    }
}

/// The `retry` of an Endpoint body; `None` without one.
fn retry_of(object: &Map<String, Value>) -> Result<Option<RetryOverrides>, BodyError> {
    let Some(value) = object.get("retry") else {
        return Ok(None);
    };
    RetryOverrides::deserialize(value)
        .map(Some)
        .map_err(|error| BodyError::Value(format!("retry has a wrong value: {error}")))
}

/// What is stored of `retry`: nothing when it says nothing.
fn own(retry: Option<RetryOverrides>) -> Option<RetryOverrides> {
    retry.filter(|retry| *retry != RetryOverrides::default())
}

/// POST `/{id}/rtmp-endpoint` and `/{id}/endpoint`
pub(super) async fn add(
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
    let Some(url) = wish.url else {
        return Outcome::failed("missing url: rtmpUrl or endpointUrl").into_response();
    };
    if let Err(problem) = check_url(&url) {
        return Outcome::failed(problem).into_response();
    }
    let Some(id) = application.broadcast(&stream) else {
        return unknown().into_response();
    };
    if let Err(problem) = check_height(&control, &id, wish.resolution_height) {
        return Outcome::failed(problem).into_response();
    }
    let retry = wish.retry.unwrap_or_default();
    if let Err(problem) = retry.check(application.settings.retry_policy()) {
        return Outcome::failed(problem.to_string()).into_response();
    }
    let service_id = wish.service_id.unwrap_or_else(random_service_id);
    let endpoint = EndpointRecord {
        id: DestinationId(service_id.clone()),
        url,
        retry: own(Some(retry)),
        last: None,
    };
    let shown = redact::url(&endpoint.url);
    let most = application.settings.endpoints_max;
    let (inserted, durable) = control
        .catalog
        .change_now(|t| insert(t, &id, endpoint, most));
    if let Err(outcome) = inserted {
        return outcome.into_response();
    }
    tracing::info!(broadcast = %id, destination = service_id, url = shown, "added");
    control.want_again(&id);
    answer(durable, Outcome::added(service_id)).await
}

fn insert(
    t: &mut crate::store::Transaction<'_>,
    id: &BroadcastId,
    endpoint: EndpointRecord,
    most: usize,
) -> Result<(), Outcome> {
    let Some(record) = t.broadcast(id) else {
        return Err(unknown());
    };
    let mut record = record.as_ref().clone();
    let endpoints = record.endpoints.get_or_insert_default();
    if endpoints.iter().any(|known| known.url == endpoint.url) {
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
    endpoints.push(endpoint);
    t.put_broadcast(record);
    Ok(())
}

/// PUT `/{id}/endpoint/{endpointServiceId}`, which Ant Media Server does not have: changes how the
/// destination is tried again, without touching its connection.
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
    let retry = wish.retry.unwrap_or_default();
    if let Err(problem) = retry.check(application.settings.retry_policy()) {
        return Outcome::failed(problem.to_string()).into_response();
    }
    let Some(id) = application.broadcast(&stream) else {
        return unknown().into_response();
    };
    let (replaced, durable) = control
        .catalog
        .change_now(|t| replace(t, &id, &service_id, &wish));
    if let Err(outcome) = replaced {
        return outcome.into_response();
    }
    control.want_again(&id);
    answer(durable, Outcome::done()).await
}

fn replace(
    t: &mut crate::store::Transaction<'_>,
    id: &BroadcastId,
    service_id: &str,
    wish: &Wish,
) -> Result<(), Outcome> {
    let mut record = t.broadcast(id).ok_or_else(unknown)?.as_ref().clone();
    let mut endpoints = record.endpoints.iter_mut().flatten();
    let Some(endpoint) = endpoints.find(|endpoint| endpoint.id.0 == service_id) else {
        return Err(Outcome::failed("the broadcast has no such destination"));
    };
    if wish.url.as_ref().is_some_and(|url| *url != endpoint.url) {
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
    t.put_broadcast(record);
    Ok(())
}

/// DELETE of the same paths; by `endpointServiceId`, or by URL as the StreamLick guide does.
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
        None => wish.url.as_deref() == Some(endpoint.url.as_str()),
    };
    let (removed, durable) = control.catalog.change_now(|t| {
        let Some(record) = t.broadcast(&id) else {
            return Err(unknown());
        };
        let mut record = record.as_ref().clone();
        let before = record.endpoints().len();
        record
            .endpoints
            .iter_mut()
            .for_each(|list| list.retain(|e| !is_meant(e)));
        if record.endpoints().len() == before {
            return Err(Outcome::failed("the broadcast has no such destination"));
        }
        t.put_broadcast(record);
        Ok(())
    });
    if let Err(outcome) = removed {
        return outcome.into_response();
    }
    tracing::info!(broadcast = %id, "destination removed");
    control.want_again(&id);
    answer(durable, Outcome::done()).await
}

/// One entry of an `endPointList`.
#[derive(Debug)]
pub(super) struct Listed {
    url: String,
    /// As the client gave it.
    id: Option<DestinationId>,
    retry: Option<RetryOverrides>,
}

/// The `endPointList` of a Broadcast body, as `settings` allow it; `None` when it has none.
pub(super) fn list_of(
    object: &Map<String, Value>,
    settings: &ApplicationSettings,
) -> Result<Option<Vec<Listed>>, BodyError> {
    let most = settings.endpoints_max;
    let Some(list) = object.get("endPointList") else {
        return Ok(None);
    };
    let Some(list) = list.as_array() else {
        return Err(BodyError::Value("endPointList must be a list".to_owned()));
    };
    if list.len() > most {
        let problem = format!("endpoints_max allows {most} destinations");
        return Err(BodyError::Value(problem));
    }
    let (mut urls, mut ids) = (HashSet::new(), HashSet::new());
    let mut endpoints = Vec::with_capacity(list.len());
    for entry in list {
        let mut entry = entry.as_object().cloned().unwrap_or_default();
        entry.retain(|_, value| !value.is_null());
        let wish = Wish::read(&HashMap::new(), Some(entry))?;
        let url = wish
            .url
            .ok_or(BodyError::Value("an endpoint has no URL".to_owned()))?;
        check_url(&url).map_err(BodyError::Value)?;
        let retry = wish.retry.unwrap_or_default();
        let checked = retry.check(settings.retry_policy());
        checked.map_err(|problem| BodyError::Value(problem.to_string()))?;
        let id = wish.service_id.map(DestinationId);
        if !urls.insert(url.clone()) || id.clone().is_some_and(|id| !ids.insert(id)) {
            let problem = "endPointList has an endpoint twice".to_owned();
            return Err(BodyError::Value(problem));
        }
        let retry = wish.retry;
        endpoints.push(Listed { url, id, retry });
    }
    Ok(Some(endpoints))
}

/// The rows of `listed`. A URL that `known` has keeps its id, its retry policy and its last words
/// unless the client gave another id: its destination goes on as it is.
pub(super) fn rows(listed: Vec<Listed>, known: &[EndpointRecord]) -> Vec<EndpointRecord> {
    let known: HashMap<&str, &EndpointRecord> =
        known.iter().map(|row| (row.url.as_str(), row)).collect();
    let taken: HashSet<DestinationId> = listed.iter().filter_map(|one| one.id.clone()).collect();
    let row = |one: Listed| {
        let old = known.get(one.url.as_str()).copied();
        let kept = old
            .map(|old| old.id.clone())
            .filter(|id| !taken.contains(id));
        let id = one
            .id
            .or(kept)
            .unwrap_or_else(|| DestinationId(random_service_id()));
        let same = old.filter(|old| old.id == id);
        EndpointRecord {
            retry: own(one.retry.or(same.and_then(|old| old.retry))),
            last: same.and_then(|old| old.last.clone()),
            url: one.url,
            id,
        }
    };
    listed.into_iter().map(row).collect()
}

/// Whether a destination can be sent to, by the engine's own rules. Keys never appear in the words.
fn check_url(text: &str) -> Result<(), String> {
    match RtmpUrl::parse(text) {
        Ok(_) => Ok(()),
        Err(UrlError::Scheme) => Err(scheme_problem(text)),
        Err(error) => Err(error.to_string()),
    }
}

/// Why an address that is not RTMP is refused: other protocols of Ant Media Server by their name.
fn scheme_problem(text: &str) -> String {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    let scheme = scheme.unwrap_or_default().to_ascii_lowercase();
    match scheme.as_str() {
        "srt" | "rtsp" | "http" | "https" => {
            format!("{scheme} destinations are not supported; use rtmp or rtmps")
        }
        _ => UrlError::Scheme.to_string(),
    }
}

/// Only the source is sent; its own height is another name for it.
fn check_height(control: &Control, id: &BroadcastId, height: u32) -> Result<(), String> {
    let video = control
        .shards
        .broadcast(id)
        .and_then(|live| live.publisher?.video);
    if height == 0 || video.is_some_and(|video| video.height == height) {
        return Ok(());
    }
    Err(format!(
        "the height {height} is not available; leave resolutionHeight out for the source"
    ))
}

fn random_service_id() -> String {
    let random: String = rand::rng()
        .sample_iter(Alphanumeric)
        .take(6)
        .map(char::from)
        .collect();
    format!("custom{random}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_stays_keeps_its_id_unless_another_has_taken_it() {
        let listed = |url: &str, id: Option<&str>| Listed {
            url: url.to_owned(),
            id: id.map(|id| DestinationId(id.to_owned())),
            retry: None,
        };
        let old = rows(vec![listed("a", Some("1")), listed("b", Some("2"))], &[]);
        let new = vec![listed("a", None), listed("b", None), listed("c", Some("2"))];
        let new = rows(new, &old);
        let ids: Vec<&str> = new.iter().map(|row| row.id.0.as_str()).collect();
        assert_eq!((ids[0], ids[2]), ("1", "2"));
        assert!(ids[1].starts_with("custom"), "{ids:?}");
    }

    #[test]
    fn a_url_that_cannot_be_sent_to_is_refused_in_words_without_its_key() {
        let cases = [
            ("rtmp://h/app/key", None),
            ("rtmp://h:1936/a/b/key", None),
            ("rtmp://[::1]/app/key", None),
            ("srt://h:4200?streamid=secret", Some("not supported")),
            ("ftp://h/secret", Some("rtmps://")),
            ("secret", Some("rtmps://")),
            ("rtmps://h/app/key", None),
            ("rtmps://u:p@h:4443/app/_definst_/a/b?c=d/e", None),
            ("rtmp://my_host.example/app/key", None),
            ("rtmp://h:0/app/secret", Some("port")),
            ("rtmp://h:99999/app/secret", Some("port")),
            ("rtmp://[::zz]/app/secret", Some("IPv6")),
            ("rtmp://h/app/sec ret", Some("space")),
            ("rtmp:///app/secret", Some("host")),
            ("rtmp://h//key", None),
            ("rtmp://h/app?token=a/key", None),
            ("rtmp://h", Some("stream key")),
            ("rtmp://h/secret", Some("stream key")),
            ("rtmp://h/secret/", Some("stream key")),
            ("rtmp://h/secret?b=1", Some("stream key")),
        ];
        for (url, wanted) in cases {
            let problem = check_url(url).err();
            assert_eq!(problem.is_some(), wanted.is_some(), "{url}: {problem:?}");
            if let (Some(problem), Some(wanted)) = (problem, wanted) {
                assert!(
                    problem.contains(wanted) && !problem.contains("secret"),
                    "{problem}"
                );
            }
        }
    }
}
