//! User and password, where a server asks for them on connect.
//!
//! ```text
//!  connect app                         ◄ _error "[ code=403 need auth; authmod=adobe ]"
//!  connect app?authmod=adobe&user=u    ◄ _error "?reason=needauth&user=u&salt=…&challenge=…&opaque=…"
//!  connect app?authmod=adobe&user=u&challenge=…&response=…&opaque=…
//! ```
//!
//! Each step is a connection of its own, since servers close after `_error`. There is no
//! specification: `adobe` (Wowza, Akamai) and `llnw` (Limelight, a digest as in RFC 2617) are spoken as
//! FFmpeg and librtmp speak them.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use md5::{Digest, Md5};

use super::PublishError;
use crate::{limits::LOGIN_TEXT_BYTES_MAX, url::RtmpUrl};

/// The ways to log in that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Adobe,
    Llnw,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Adobe => "adobe",
            Self::Llnw => "llnw",
        }
    }

    /// The way that a refusal names.
    fn of(description: &str) -> Option<Self> {
        [Self::Adobe, Self::Llnw]
            .into_iter()
            .find(|mode| description.contains(&format!("authmod={}", mode.name())))
    }
}

/// What has been said so far of user and password, over the connections of one attempt.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    step: Step,
    /// Appended to application and `tcUrl`.
    parameters: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Nothing,
    /// The user's name.
    Name,
    /// The answer to the server's challenge.
    Answer,
}

/// What a server wants to know on the next connection; see [`Login::answer`].
#[derive(Clone, PartialEq, Eq)]
pub struct Challenge {
    mode: Mode,
    /// `None` where it wants the user's name.
    fields: Option<Fields>,
}

/// What stands behind `?reason=needauth`.
#[derive(Clone, Default, PartialEq, Eq)]
struct Fields {
    salt: String,
    challenge: Option<String>,
    opaque: Option<String>,
    nonce: String,
}

impl Login {
    /// What is appended to application and `tcUrl`.
    pub(super) fn parameters(&self) -> &str {
        &self.parameters
    }

    /// Reads why `connect` was refused; `None` where it is not about a way to log in that is spoken.
    pub(super) fn read(
        &self,
        url: &RtmpUrl,
        description: &str,
    ) -> Option<Result<Challenge, PublishError>> {
        let mode = Mode::of(description)?;
        if url.credentials().is_none() {
            return Some(Err(PublishError::LoginWanted));
        }
        let says = |reason| description.contains(reason);
        if says("?reason=nosuchuser") {
            return Some(Err(PublishError::UnknownUser));
        }
        if says("?reason=authfailed") || self.step == Step::Answer {
            return Some(Err(PublishError::WrongPassword));
        }
        if description.len() > LOGIN_TEXT_BYTES_MAX {
            return None;
        }
        if let Some((_, query)) = description.split_once("?reason=needauth") {
            let fields = Some(Fields::read(query));
            return Some(Ok(Challenge { mode, fields }));
        }
        let wants_name = says("code=403 need auth") && self.step == Step::Nothing;
        wants_name.then_some(Ok(Challenge { mode, fields: None }))
    }

    /// What the next connection says. `nonce` is the client's own part of the answer, another one
    /// each time.
    #[must_use]
    pub fn answer(url: &RtmpUrl, challenge: &Challenge, nonce: u32) -> Self {
        let (user, password) = url.credentials().unwrap_or_default();
        let name = challenge.mode.name();
        let nonce = format!("{nonce:08x}");
        let (step, parameters) = match (&challenge.fields, challenge.mode) {
            (None, _) => (Step::Name, format!("?authmod={name}&user={user}")),
            (Some(fields), Mode::Adobe) => (Step::Answer, fields.adobe(user, password, &nonce)),
            (Some(fields), Mode::Llnw) => {
                let application = url.application().split('?').next().unwrap_or_default();
                let parameters = fields.llnw(user, password, application, &nonce);
                (Step::Answer, parameters)
            }
        };
        Self { step, parameters }
    }
}

impl Fields {
    fn read(query: &str) -> Self {
        let mut fields = Self::default();
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = value.trim_end().to_owned();
            match key {
                "salt" => fields.salt = value,
                "challenge" => fields.challenge = Some(value),
                "opaque" => fields.opaque = Some(value),
                "nonce" => fields.nonce = value,
                _ => {}
            }
        }
        fields
    }

    fn adobe(&self, user: &str, password: &str, nonce: &str) -> String {
        let base64 = |parts: &[&str]| STANDARD.encode(md5(parts));
        let secret = base64(&[user, &self.salt, password]);
        let server = self.opaque.as_ref().or(self.challenge.as_ref());
        let response = base64(&[&secret, server.map_or("", String::as_str), nonce]);
        let mut parameters =
            format!("?authmod=adobe&user={user}&challenge={nonce}&response={response}");
        if let Some(opaque) = &self.opaque {
            parameters.push_str("&opaque=");
            parameters.push_str(opaque);
        }
        parameters
    }

    fn llnw(&self, user: &str, password: &str, application: &str, nonce: &str) -> String {
        const COUNT: &str = "00000001";
        let server = &self.nonce;
        let instance = if application.contains('/') {
            ""
        } else {
            "/_definst_"
        };
        let who = hex(&[user, ":live:", password]);
        let what = hex(&["publish:/", application, instance]);
        let response = hex(&[&who, ":", server, ":", COUNT, ":", nonce, ":auth:", &what]);
        format!(
            "?authmod=llnw&user={user}&nonce={server}&cnonce={nonce}&nc={COUNT}&response={response}"
        )
    }
}

fn md5(parts: &[&str]) -> [u8; 16] {
    let mut digest = Md5::new();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize().into()
}

fn hex(parts: &[&str]) -> String {
    md5(parts)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({:?})", self.step)
    }
}

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Challenge({:?})", self.mode)
    }
}
