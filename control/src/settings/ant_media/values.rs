//! Values as they are written in Ant Media Server's files.

use serde::Deserialize;
use toml::Value;

use crate::limits;

/// A value of the enum `T`, whatever its case.
pub(super) fn word<'de, T: Deserialize<'de>>(value: &Value) -> Option<T> {
    let word = value.as_str()?.trim().to_ascii_lowercase();
    T::deserialize(Value::String(word)).ok()
}

pub(super) fn frame_rate(value: &Value) -> Option<u32> {
    parse(value).filter(|rate| limits::RENDITION_FRAMES_PER_SECOND.contains(rate))
}

/// Properties files hold texts; TOML may hold numbers and booleans.
pub(super) fn parse<T: std::str::FromStr>(value: &Value) -> Option<T> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        other => other.to_string().parse().ok(),
    }
}

/// The texts that Spring, which reads those files, takes for a boolean.
pub(super) fn boolean(value: &Value) -> Option<bool> {
    let word: String = parse(value)?;
    match word.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" => Some(true),
        "false" | "off" | "no" | "0" => Some(false),
        _ => None,
    }
}
