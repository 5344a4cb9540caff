//! `endPointList` of a Broadcast body: all destinations at once.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};
use shardcast_link::{DestinationId, RtmpUrl};

use super::endpoint_body::{EndpointRequest, check_service_id, check_url, own, random_service_id};
use crate::{
    body::BodyError, retry::RetryOverrides, settings::ApplicationSettings, store::EndpointRecord,
    video_settings::VideoChange,
};

/// One entry of an `endPointList`.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    url: String,
    /// As the client gave it.
    id: Option<DestinationId>,
    retry: Option<RetryOverrides>,
    video: VideoChange,
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
        let request = EndpointRequest::read(&HashMap::new(), Some(entry))?;
        let url = request
            .url
            .ok_or(BodyError::Value("an endpoint has no URL".to_owned()))?;
        check_url(&url).map_err(BodyError::Value)?;
        let retry = request.retry.unwrap_or_default();
        let checked = retry.check(settings.retry_policy());
        checked.map_err(|problem| BodyError::Value(problem.to_string()))?;
        let checked = request.video.check();
        checked.map_err(|problem| BodyError::Value(problem.to_string()))?;
        request
            .service_id
            .as_deref()
            .map_or(Ok(()), check_service_id)?;
        let id = request.service_id.map(DestinationId);
        if !urls.insert(one_way(&url)) || id.clone().is_some_and(|id| !ids.insert(id)) {
            let problem = "endPointList has an endpoint twice".to_owned();
            return Err(BodyError::Value(problem));
        }
        endpoints.push(Listed {
            url,
            id,
            retry: request.retry,
            video: request.video,
        });
    }
    Ok(Some(endpoints))
}

/// The rows of `listed`. A URL that `known` has, however it is written, keeps its id, its retry policy, its video
/// settings and its last report unless the client gave another id: its destination goes on as it is.
pub(super) fn rows(
    listed: Vec<Listed>,
    known: &[EndpointRecord],
) -> Result<Vec<EndpointRecord>, BodyError> {
    let known: HashMap<Destination, &EndpointRecord> =
        known.iter().map(|row| (one_way(&row.url), row)).collect();
    let taken: HashSet<DestinationId> = listed.iter().filter_map(|one| one.id.clone()).collect();
    let row = |one: Listed| {
        let old = known.get(&one_way(&one.url)).copied();
        let kept = old
            .map(|old| old.id.clone())
            .filter(|id| !taken.contains(id));
        let id = one
            .id
            .or(kept)
            .unwrap_or_else(|| DestinationId(random_service_id()));
        let same = old.filter(|old| old.id == id);
        let video = same.map(|old| old.video).unwrap_or_default();
        let changed = video.changed(&one.video);
        Ok(EndpointRecord {
            retry: own(one.retry.or(same.and_then(|old| old.retry))),
            video: changed.map_err(|problem| BodyError::Value(problem.to_string()))?,
            last: same.and_then(|old| old.last.clone()),
            url: one.url,
            id,
        })
    };
    listed.into_iter().map(row).collect()
}

/// An address as it is compared: as text where it is none.
type Destination = Result<RtmpUrl, String>;

fn one_way(url: &str) -> Destination {
    match RtmpUrl::parse(url) {
        Ok(url) => Ok(url.normalized()),
        Err(_) => Err(url.to_owned()),
    }
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
            video: VideoChange::default(),
        };
        let old = rows(vec![listed("a", Some("1")), listed("b", Some("2"))], &[]).unwrap();
        let new = vec![listed("a", None), listed("b", None), listed("c", Some("2"))];
        let new = rows(new, &old).unwrap();
        let ids: Vec<&str> = new.iter().map(|row| row.id.0.as_str()).collect();
        assert_eq!((ids[0], ids[2]), ("1", "2"));
        assert!(ids[1].starts_with("custom"), "{ids:?}");
    }
}
