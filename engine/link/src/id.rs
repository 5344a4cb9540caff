//! Names of broadcasts, sessions and destinations.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest stream id and application name, in bytes. Ant Media Server sets no limit; 255 is what
/// a file name holds, and recordings are named after streams.
pub const NAME_BYTES_MAX: usize = 255;

/// `application/stream`, unique in the whole installation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BroadcastId(String);

/// The text is not `application/stream` made of letters, digits, `-`, `_` and `.`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a broadcast id: application/stream of letters, digits, '-', '_' and '.'")]
pub struct InvalidBroadcastId(String);

impl BroadcastId {
    /// Joins an application's name and a stream id.
    ///
    /// # Errors
    /// When one of them is empty, too long, or holds another character than letters, digits,
    /// `-`, `_`, `.` (the rule of Ant Media Server for stream ids).
    pub fn new(application: &str, stream: &str) -> Result<Self, InvalidBroadcastId> {
        if is_name(application) && is_name(stream) {
            Ok(Self(format!("{application}/{stream}")))
        } else {
            Err(InvalidBroadcastId(shorten(&format!(
                "{application}/{stream}"
            ))))
        }
    }

    /// The application's name.
    pub fn application(&self) -> &str {
        self.0
            .split_once('/')
            .map_or("", |(application, _)| application)
    }

    /// The stream id inside its application.
    pub fn stream(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, stream)| stream)
    }

    /// `application/stream`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BroadcastId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for BroadcastId {
    type Error = InvalidBroadcastId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.split_once('/') {
            Some((application, stream)) => Self::new(application, stream),
            None => Err(InvalidBroadcastId(shorten(&text))),
        }
    }
}

impl From<BroadcastId> for String {
    fn from(id: BroadcastId) -> Self {
        id.0
    }
}

/// Whether `text` can name a stream or an application.
pub fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= NAME_BYTES_MAX
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && !text.bytes().all(|b| b == b'.')
}

fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

/// One attempt of a client to publish; chosen by control, never used twice.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub String);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A destination inside its broadcast (`endpointServiceId` in the REST API).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DestinationId(pub String);

impl fmt::Display for DestinationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broadcast_id_keeps_its_two_parts() {
        let id = BroadcastId::new("StreamLick", "a.b-c_1").unwrap();
        assert_eq!((id.application(), id.stream()), ("StreamLick", "a.b-c_1"));
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<BroadcastId>(&json).unwrap(), id);
    }

    #[test]
    fn names_that_could_leave_a_directory_are_refused() {
        for stream in ["", "..", ".", "a/b", "a b", "ä", "a\0", &"x".repeat(256)] {
            assert!(
                BroadcastId::new("app", stream).is_err(),
                "{stream:?} was accepted"
            );
        }
        assert!(serde_json::from_str::<BroadcastId>("\"app\"").is_err());
        assert!(serde_json::from_str::<BroadcastId>("\"a/b/c\"").is_err());
    }
}
