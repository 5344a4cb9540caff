//! Why a server does not take, or no longer takes, a stream; in words and whether it can heal.

use std::fmt;

use super::secrets::Secrets;
use crate::ConnectionError;
use crate::limits::{SERVER_TEXT_CHARS_MAX, SERVER_TEXT_CHARS_SEARCHED};

/// How far a client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// C0 to S2 (RTMP specification 5.2).
    Handshake,
    /// The answer to `connect` (7.2.1.1).
    Connect,
    /// The answer to `createStream` (7.2.1.3).
    CreateStream,
    /// The answer to `publish` (7.2.2.6).
    Publish,
    /// The server had taken the stream.
    Live,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handshake => "during the handshake",
            Self::Connect => "on connect",
            Self::CreateStream => "on createStream",
            Self::Publish => "on publish",
            Self::Live => "while live",
        })
    }
}

/// Why publishing ended. The text of the server is shortened, and what is secret of the address is
/// blotted out should the server repeat it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Whoever added the destination has to correct the key.
    #[error("the server does not take this stream key (it said: {description}): check the key")]
    BadName {
        /// The server's words, shortened and without secrets.
        description: String,
    },
    /// Whoever added the destination has to correct the key or renew the permission.
    #[error("the server denies permission (it said: {description}): check the key and the account")]
    Unauthorised {
        /// The server's words, shortened and without secrets.
        description: String,
    },
    /// Whoever added the destination has to write user and password into the address.
    #[error(
        "the server wants a user and a password: write them into the address, before the host, as \
         in user:password@host"
    )]
    LoginWanted,
    /// Whoever added the destination has to correct the password.
    #[error("the server does not take the user and the password of the address: check both")]
    WrongPassword,
    /// Whoever added the destination has to correct the user.
    #[error("the server does not know the user of the address: check the name before the colon")]
    UnknownUser,
    /// Whoever added the destination has to correct the address.
    #[error("the server has no such application (it said: {description}): check the address")]
    NoApplication {
        /// The server's words, shortened and without secrets.
        description: String,
    },
    /// Another encoder, or our own last connection, still holds the key. Heals once it is gone.
    #[error("the server says that the stream key is in use (it said: {description})")]
    InUse {
        /// The server's words, shortened and without secrets.
        description: String,
    },
    /// The server's own trouble, or a reason it does not tell.
    #[error("the server refused {step} (it said: {description})")]
    Refused {
        /// How far the client had come.
        step: Step,
        /// The server's words, shortened and without secrets.
        description: String,
    },
    /// The server ended a running stream.
    #[error("the server ended the stream (it said: {description})")]
    Ended {
        /// The server's words, shortened and without secrets.
        description: String,
    },
    /// The server answered `createStream` without a usable number.
    #[error("the server gave no usable stream number")]
    BadStreamId,
    /// The server, or something between, does not speak RTMP.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The caller went on after an error.
    #[error("this attempt has already failed")]
    AlreadyFailed,
}

impl PublishError {
    /// Whether another attempt may succeed without anybody changing the destination.
    pub fn retryable(&self) -> bool {
        match self {
            Self::BadName { .. }
            | Self::Unauthorised { .. }
            | Self::LoginWanted
            | Self::WrongPassword
            | Self::UnknownUser
            | Self::NoApplication { .. }
            | Self::Connection(ConnectionError::Handshake(_) | ConnectionError::SpeaksTls) => false,
            Self::InUse { .. }
            | Self::Refused { .. }
            | Self::Ended { .. }
            | Self::BadStreamId
            | Self::Connection(_)
            | Self::AlreadyFailed => true,
        }
    }

    /// Sorts what a server said. Codes are few and used loosely: nginx-rtmp says
    /// `NetStream.Publish.BadName` for a key in use, others for an unknown one, and permission is
    /// only ever told in the description.
    pub(super) fn from_server(step: Step, code: &str, text: &str, secrets: &Secrets) -> Self {
        let description = words(code, text, secrets);
        let said = format!("{code} {text}").to_ascii_lowercase();
        let says = |parts: &[&str]| parts.iter().any(|part| said.contains(part));
        if says(&["already", "in use", "busy"]) {
            Self::InUse { description }
        } else if says(&[
            "unauthor",
            "authmod",
            "authfail",
            "denied",
            "forbidden",
            "not allowed",
            "invalid stream key",
            "invalid key",
            "code=403",
        ]) {
            Self::Unauthorised { description }
        } else if code == "NetStream.Publish.BadName" {
            Self::BadName { description }
        } else if code == "NetConnection.Connect.InvalidApp" {
            Self::NoApplication { description }
        } else if step == Step::Live {
            Self::Ended { description }
        } else {
            Self::Refused { step, description }
        }
    }
}

/// `code: text` in one line of bounded length without secrets.
fn words(code: &str, text: &str, secrets: &Secrets) -> String {
    let joined = match (code.is_empty(), text.is_empty()) {
        (true, true) => "nothing".to_owned(),
        (false, true) => code.to_owned(),
        (true, false) => text.to_owned(),
        (false, false) => format!("{code}: {text}"),
    };
    let searched: String = joined.chars().take(SERVER_TEXT_CHARS_SEARCHED).collect();
    secrets
        .blot(&searched)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(SERVER_TEXT_CHARS_MAX)
        .collect()
}
