//! A request about one destination: an Endpoint body, or the same in the query.

use std::collections::HashMap;

use rand::{Rng, distr::Alphanumeric};
use serde::Deserialize;
use serde_json::{Map, Value};
use shardcast_link::{RtmpUrl, UrlError};

use crate::body::{self, BodyError};
use crate::{limits, retry::RetryOverrides, video_settings::VideoChange};

/// Keys of an Endpoint body: what clients may send, plus what they may have read here.
const FIELDS: [&str; 10] = [
    "status",
    "type",
    "rtmpUrl",
    "endpointUrl",
    "endpointServiceId",
    "retry",
    "reencode",
    "rendition",
    "contract",
    "detail",
];

/// A request about one destination.
#[derive(Debug)]
pub(super) struct EndpointRequest {
    pub(super) url: Option<String>,
    pub(super) service_id: Option<String>,
    pub(super) retry: Option<RetryOverrides>,
    pub(super) video: VideoChange,
    /// 0 is the source.
    pub(super) resolution_height: u32,
}

impl EndpointRequest {
    pub(super) fn read(
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
            video: VideoChange::read(&object).map_err(BodyError::Value)?,
            resolution_height: height.map_err(|_| {
                BodyError::Value("resolutionHeight must be a whole number".to_owned())
            })?,
        })
    }
}

/// Whether a client may give a destination this `endpointServiceId`. It stands in every report of
/// the destination, in paths and in logs. Earlier versions took any text: those that are stored go
/// on, and can be removed.
pub(super) fn check_service_id(text: &str) -> Result<(), BodyError> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if text.len() <= limits::SERVICE_ID_CHARS_MAX && text.bytes().all(is_plain) {
        return Ok(());
    }
    Err(BodyError::Value(format!(
        "endpointServiceId must be at most {} characters of A-Z, a-z, 0-9, '.', '_' and '-'",
        limits::SERVICE_ID_CHARS_MAX
    )))
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

/// What is stored of `retry`: nothing when it sets nothing.
pub(super) fn own(retry: Option<RetryOverrides>) -> Option<RetryOverrides> {
    retry.filter(|retry| *retry != RetryOverrides::default())
}

/// An `endpointServiceId` for a destination that was given none.
pub(super) fn random_service_id() -> String {
    let random: String = rand::rng()
        .sample_iter(Alphanumeric)
        .take(6)
        .map(char::from)
        .collect();
    format!("custom{random}")
}

/// Whether a destination can be sent to, by the engine's own rules. Errors never hold the key.
pub(super) fn check_url(text: &str) -> Result<(), String> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
            ("rtmp://h/", Some("stream key")),
            ("rtmp://u:secret@h/", Some("stream key")),
            ("rtmp://h/key", None),
            ("rtmp://h/key/", None),
            ("rtmp://h/stream?user=u&pass=p", None),
            ("rtmp://h/live-bvc/?streamname=s&key=k", None),
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
