//! The webhooks of an application.

use std::{fmt, str::FromStr};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::limits;

/// Webhooks of one application, under the names of Ant Media Server.
#[derive(Clone, Serialize)]
pub struct WebhookSettings {
    /// The receiver for streams without a `listenerHookURL` of their own; empty: there is none. New
    /// broadcasts take it over.
    #[serde(rename = "listenerHookURL")]
    pub url: String,
    /// The backend that is asked before a client may publish; empty: none is asked.
    #[serde(rename = "webhookAuthenticateURL")]
    pub authenticate_url: String,
    /// The receiver of the messages that clients send over data channels; empty: there is none.
    #[serde(rename = "dataChannelWebHookURL")]
    pub data_url: String,
    /// Attempts after the first. Ant Media Server has 0: what happens while a backend restarts is
    /// lost there. Ten of them, with pauses that double, outlast five minutes.
    #[serde(rename = "webhookRetryCount")]
    pub retry_count: u32,
    /// Pause before the second attempt; it doubles from attempt to attempt, up to a minute.
    /// Milliseconds.
    #[serde(rename = "webhookRetryDelay")]
    pub retry_delay_ms: u64,
    /// How calls are written.
    #[serde(rename = "webhookContentType")]
    pub content_type: WebhookContentType,
    /// How often `liveStreamStatus` is sent for each live stream, in milliseconds; `None`: never.
    #[serde(
        rename = "webhookStreamStatusUpdatePeriodMs",
        skip_serializing_if = "Option::is_none"
    )]
    pub status_period_ms: Option<u64>,
    /// Key of the signatures; empty leaves calls unsigned.
    #[serde(rename = "webhook_secret")]
    pub secret: String,
}

impl Default for WebhookSettings {
    fn default() -> Self {
        Self {
            url: String::new(),
            authenticate_url: String::new(),
            data_url: String::new(),
            retry_count: 10,
            retry_delay_ms: 1_000,
            content_type: WebhookContentType::Json,
            status_period_ms: None,
            secret: String::new(),
        }
    }
}

/// Without the secret, and without what may be one in the address.
impl fmt::Debug for WebhookSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookSettings")
            .field("has_url", &!self.url.is_empty())
            .field("asks_before", &!self.authenticate_url.is_empty())
            .field("takes_data", &!self.data_url.is_empty())
            .field("retry_count", &self.retry_count)
            .field("retry_delay_ms", &self.retry_delay_ms)
            .field("content_type", &self.content_type)
            .field("status_period_ms", &self.status_period_ms)
            .field("is_signed", &!self.secret.is_empty())
            .finish_non_exhaustive()
    }
}

/// How a call is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
pub enum WebhookContentType {
    /// One JSON object.
    #[value(name = "application/json")]
    #[serde(rename = "application/json")]
    Json,
    /// As HTML forms are sent.
    #[value(name = "application/x-www-form-urlencoded")]
    #[serde(rename = "application/x-www-form-urlencoded")]
    Form,
}

impl WebhookContentType {
    /// The header's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Form => "application/x-www-form-urlencoded",
        }
    }
}

impl FromStr for WebhookContentType {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Json, Self::Form]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(())
    }
}

/// What is wrong with `text` as the address of a webhook, to be read behind the name of its setting.
/// Empty is no webhook.
pub(crate) fn url_problem(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return None;
    }
    if text.len() > limits::HOOK_URL_BYTES_MAX {
        return Some("is too long");
    }
    match Url::parse(text) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            Some("holds a name or password; calls are signed with webhook_secret")
        }
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => None,
        _ => Some("must be an http:// or https:// URL"),
    }
}

/// `url` without what may be secret in it: path and query. Still an address, so that a file with it
/// can be read.
pub(super) fn masked(url: &str) -> String {
    match Url::parse(url) {
        Ok(url) if url.path() != "/" || url.query().is_some() => {
            format!("{}/***", url.origin().ascii_serialization())
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_an_http_address_without_a_password() {
        for good in ["", "http://h/", "https://h.example:8443/hooks?token=t"] {
            assert_eq!(url_problem(good), None, "{good}");
        }
        for bad in ["h/hooks", "rtmp://h/a", "https://u:p@h/", "http://"] {
            assert!(url_problem(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn printed_settings_have_the_host_of_a_webhook_alone() {
        let shown = masked("https://h.example:8443/hush?token=hush");
        assert_eq!(shown, "https://h.example:8443/***");
        assert_eq!(url_problem(&shown), None);
        assert_eq!(
            (masked(""), masked("http://h/")),
            (String::new(), "http://h/".into())
        );
    }

    #[test]
    fn neither_the_secret_nor_the_address_is_in_a_debug_text() {
        let settings = WebhookSettings {
            url: "https://h/?token=hush".into(),
            authenticate_url: "https://h/hush".into(),
            data_url: "https://h/hush".into(),
            secret: "hush".into(),
            ..WebhookSettings::default()
        };
        assert!(!format!("{settings:?}").contains("hush"));
    }
}
