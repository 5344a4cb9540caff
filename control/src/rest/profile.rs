//! The fields of a Broadcast body, laid over what is stored.

use std::fmt::Display;

use serde_json::{Map, Value, json};

use crate::body::{self, BodyError};
use crate::{ladder::Ladder, limits, settings, store::Profile, views::BROADCAST_FIELDS};

/// Lays the fields of `object` over `profile`. Fields that clients cannot set are accepted and
/// ignored, because clients send back what they have read.
pub(super) fn overlay(
    profile: &Profile,
    object: &Map<String, Value>,
) -> Result<Profile, BodyError> {
    body::only_known(object, &BROADCAST_FIELDS, "Broadcast")?;
    let stored = serde_json::to_value(profile).unwrap_or_default();
    let Value::Object(mut merged) = stored else {
        return Ok(profile.clone());
    };
    for (key, value) in object {
        if value
            .as_str()
            .is_some_and(|text| text.len() > limits::TEXT_BYTES_MAX)
        {
            return Err(BodyError::Value(format!("{key} is too long")));
        }
        if merged.contains_key(key) {
            merged.insert(key.clone(), value.clone());
        }
    }
    if merged.get("mainTrackStreamId").and_then(Value::as_str) == Some("") {
        merged.insert("mainTrackStreamId".to_owned(), Value::Null);
    }
    // Nulls are "not given", so -1 is the way back, as for other fields of a Broadcast.
    if merged.get("holdMs").and_then(Value::as_i64) == Some(-1) {
        merged.insert("holdMs".to_owned(), Value::Null);
    }
    // What a client sends back as it has read it may be from a version that did not look at it.
    let stored = profile.encoder_settings_list.as_deref();
    if let Some(list) = object.get("encoderSettingsList")
        && list.as_array().map(Vec::as_slice) != stored
    {
        merged.insert("encoderSettingsList".to_owned(), ladder(list)?);
    }
    serde_json::from_value(Value::Object(merged)).map_err(|error| {
        BodyError::Value(format!("a field of Broadcast has a wrong value: {error}"))
    })
}

/// The ladder `list`, with what clients may leave out.
fn ladder(list: &Value) -> Result<Value, BodyError> {
    let wrong = |problem: &dyn Display| BodyError::Value(format!("encoderSettingsList: {problem}"));
    let Some(list) = list.as_array() else {
        return Err(wrong(&"it must be a list"));
    };
    let ladder = Ladder::of_values(list).map_err(|error| wrong(&error))?;
    Ok(json!(ladder))
}

/// Why it is refused: as Ant Media Server does, for what is only here, or because one of its
/// webhooks could never be delivered. That is asked only of an address that the body `object` has:
/// one that an older version stored does not stand in the way of other changes.
pub(super) fn problem(profile: &Profile, object: &Map<String, Value>) -> Option<String> {
    if profile
        .sub_folder
        .as_deref()
        .is_some_and(|folder| folder.contains(".."))
    {
        return Some("subFolder must not contain '..'".to_owned());
    }
    let url = profile.stream_url.as_deref().unwrap_or_default();
    let hook = profile.listener_hook_url.as_deref().unwrap_or_default();
    if object.contains_key("listenerHookURL")
        && let Some(problem) = settings::url_problem(hook)
    {
        return Some(format!("listenerHookURL {problem}"));
    }
    let pulls = matches!(profile.kind.as_str(), "ipCamera" | "streamSource");
    let given = object.contains_key("streamUrl") && !url.is_empty();
    if (pulls || given) && !is_source(url) {
        let schemes = SOURCE_SCHEMES.join(", ");
        return Some(format!("streamUrl is not a URL of a source: {schemes}"));
    }
    if profile
        .hold_ms
        .is_some_and(|hold_ms| hold_ms > limits::HOLD_MS_MAX)
    {
        let problem = "holdMs must be from 0 to 86400000, a day; -1 is the application's hold_ms";
        return Some(problem.to_owned());
    }
    None
}

/// What Ant Media Server pulls streams by.
const SOURCE_SCHEMES: [&str; 8] = [
    "http", "https", "rtmp", "rtmps", "rtsp", "rtsps", "srt", "udp",
];

fn is_source(url: &str) -> bool {
    url::Url::parse(url).is_ok_and(|url| url.has_host() && SOURCE_SCHEMES.contains(&url.scheme()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ladder_that_is_stored_may_be_sent_back_as_it_is() {
        let old = Profile {
            encoder_settings_list: Some(vec![json!({"height": 7})]),
            ..Profile::default()
        };
        let sent = |list: Value| {
            let object = json!({"name": "new", "encoderSettingsList": list});
            overlay(&old, object.as_object().unwrap())
        };
        let kept = sent(json!([{"height": 7}])).unwrap();
        assert_eq!(kept.name.as_deref(), Some("new"));
        assert_eq!(kept.encoder_settings_list, old.encoder_settings_list);
        assert!(sent(json!([{"height": 8}])).is_err());
    }
}
