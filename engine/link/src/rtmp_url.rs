//! The address of a destination: `rtmp://host[:port]/application/key`.
//!
//! RTMP wants the address in three parts (where to connect, the application, the stream key) but
//! people paste one line. Where it is cut follows FFmpeg, because that is what Ant Media Server
//! hands its endpoints to, and addresses that work there have to work here:
//!
//! | segments before `?` | application | key |
//! |---|---|---|
//! | `/live2/KEY` | `live2` | `KEY` |
//! | `/app/_definst_/KEY` (Wowza, Azure) | `app/_definst_` | `KEY` |
//! | `/app/inst/a/b` | `app/inst` | `a/b` |
//! | `/app/mp4:a/b` (a colon: no instance) | `app` | `mp4:a/b` |
//! | `//KEY` | (empty) | `KEY` |
//!
//! Slashes in a query never cut, save where the query stands in the application
//! (`/app?token=a/KEY`). The key holds its query.
//!
//! Control refuses by it what the engine could not use.

use std::fmt;

/// Longest address, in bytes: what browsers and proxies take as the longest sane one.
pub const URL_BYTES_MAX: usize = 2_048;

/// A destination's address. Holds a secret: `Debug` and [`RtmpUrl::redacted`] never show the key,
/// the password or the values of a query.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RtmpUrl {
    tls: bool,
    host: String,
    port: u16,
    credentials: Option<Credentials>,
    application: String,
    stream_key: String,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Credentials {
    user: String,
}

/// The address cannot be used; whoever added the destination is at fault. Messages never repeat
/// the address, since it holds the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    #[error("the address must begin with rtmp:// or rtmps://")]
    Scheme,
    #[error("the address has no host: write rtmp://host/application/key")]
    NoHost,
    #[error("the host of the address is not a name, an IPv4 address or an [IPv6] address")]
    BadHost,
    #[error("the port of the address is not a number from 1 to 65535")]
    BadPort,
    #[error("the address has no stream key: write rtmp://host/application/key")]
    NoKey,
    #[error("the address holds a space or a control character: copy it again")]
    BadCharacter,
    #[error("the address is longer than {URL_BYTES_MAX} bytes")]
    TooLong,
}

impl RtmpUrl {
    /// Reads an address. White space around it is ignored, since addresses are pasted.
    ///
    /// # Errors
    /// Says which part is wrong.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        if text.len() > URL_BYTES_MAX {
            return Err(UrlError::TooLong);
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(UrlError::BadCharacter);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "rtmp" => false,
            "rtmps" => true,
            _ => return Err(UrlError::Scheme),
        };
        let authority_len = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(authority_len);
        let (user_info, host_and_port) = match authority.rsplit_once('@') {
            Some((user_info, rest)) => (Some(user_info), rest),
            None => (None, authority),
        };
        let (host, port) = split_port(host_and_port)?;
        let (application, stream_key) =
            split_path(path.strip_prefix('/').ok_or(UrlError::NoKey)?).ok_or(UrlError::NoKey)?;
        Ok(Self {
            tls,
            host,
            port: port.unwrap_or(default_port(tls)),
            credentials: user_info.map(|info| Credentials {
                user: info.split(':').next().unwrap_or_default().to_owned(),
            }),
            application: application.to_owned(),
            stream_key: stream_key.to_owned(),
        })
    }

    /// Whether the scheme is `rtmps`.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Name, IPv4 or IPv6 address; the last without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// 1935 for rtmp and 443 for rtmps unless the address says otherwise.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `app` of the connect command; may be empty.
    pub fn application(&self) -> &str {
        &self.application
    }

    /// What is published: the stream key with its query. Secret.
    pub fn stream_key(&self) -> &str {
        &self.stream_key
    }

    /// Whether the address names a user. Adobe's RTMP authentication is not spoken: user and
    /// password are not sent, and a server that insists on them refuses in its own words.
    pub fn has_credentials(&self) -> bool {
        self.credentials.is_some()
    }

    /// `tcUrl` of the connect command: the address without key and credentials, and with the port
    /// only where it is not the scheme's own.
    pub fn tc_url(&self) -> String {
        format!("{}/{}", self.origin(), self.application)
    }

    /// The address for people and logs, without anything secret.
    pub fn redacted(&self) -> Redacted<'_> {
        Redacted(self)
    }

    fn origin(&self) -> String {
        let scheme = if self.tls { "rtmps" } else { "rtmp" };
        let (open, close) = if self.host.contains(':') {
            ("[", "]")
        } else {
            ("", "")
        };
        let host = &self.host;
        if self.port == default_port(self.tls) {
            format!("{scheme}://{open}{host}{close}")
        } else {
            format!("{scheme}://{open}{host}{close}:{}", self.port)
        }
    }
}

/// Shows an address without its secrets; made by [`RtmpUrl::redacted`].
#[derive(Clone, Copy)]
pub struct Redacted<'a>(&'a RtmpUrl);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = self.0.origin();
        match (&self.0.credentials, origin.split_once("://")) {
            (Some(credentials), Some((scheme, host))) => {
                write!(f, "{scheme}://{}:***@{host}", credentials.user)?;
            }
            _ => f.write_str(&origin)?,
        }
        // Only the first segment: who pastes a key with slashes has part of it taken for an instance.
        let shown = self
            .0
            .application
            .split(['/', '?'])
            .next()
            .unwrap_or_default();
        write!(f, "/{shown}/***")
    }
}

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for RtmpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RtmpUrl({})", self.redacted())
    }
}

fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 1935 }
}

fn split_port(text: &str) -> Result<(String, Option<u16>), UrlError> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(UrlError::BadHost)?;
        host.parse::<std::net::Ipv6Addr>()
            .map_err(|_| UrlError::BadHost)?;
        match port.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if port.is_empty() => (host, None),
            None => return Err(UrlError::BadHost),
        }
    } else {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        if host.is_empty() {
            return Err(UrlError::NoHost);
        }
        if !is_host(host) {
            return Err(UrlError::BadHost);
        }
        (host, port)
    };
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            let port = digits.parse::<u16>().map_err(|_| UrlError::BadPort)?;
            Some(port)
                .filter(|port| *port != 0)
                .ok_or(UrlError::BadPort)
                .map(Some)?
        }
        Some(_) => return Err(UrlError::BadPort),
    };
    Ok((host.to_owned(), port))
}

/// Letters, digits, `-`, `.` and `_` (which names in the field hold although host names may not),
/// or letters beyond ASCII, which the resolver judges.
fn is_host(host: &str) -> bool {
    host.chars()
        .all(|c| c.is_alphanumeric() || matches!(c, '-' | '.' | '_'))
}

/// Cuts the path behind the first slash into application and key; see the table above.
fn split_path(path: &str) -> Option<(&str, &str)> {
    let before_query = path.find('?').unwrap_or(path.len());
    let first = match path.find('/') {
        Some(slash) if slash < before_query => slash,
        // No slash before the query: the query belongs to the application, if a key follows.
        Some(slash) => return cut(path, slash),
        None => return None,
    };
    let second = path
        .get(first + 1..before_query)
        .and_then(|rest| rest.find('/').map(|slash| (rest, slash)))
        .filter(|(rest, slash)| first > 0 && !rest.get(..*slash).is_none_or(|s| s.contains(':')))
        .map(|(_, slash)| first + 1 + slash);
    // "/app/key/" is an application and a key that ends in a slash, not an empty key.
    match second.and_then(|slash| cut(path, slash)) {
        Some(parts) => Some(parts),
        None => cut(path, first),
    }
}

fn cut(path: &str, slash: usize) -> Option<(&str, &str)> {
    let key = path.get(slash + 1..)?;
    (!key.is_empty() && !key.starts_with('?')).then_some((path.get(..slash)?, key))
}
