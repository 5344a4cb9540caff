//! The address of a destination: `rtmp://[user:password@]host[:port][/application][/key]`.
//!
//! RTMP wants the address in three parts (where to connect, the application, the stream name) but
//! people paste one line. Where it is cut follows FFmpeg, because that is what Ant Media Server
//! hands its endpoints to, and addresses that work there have to work here:
//!
//! | behind the host | application | stream name |
//! |---|---|---|
//! | `/live2/KEY?a=1` | `live2` | `KEY?a=1` |
//! | `/app/_definst_/KEY` (Wowza, Azure) | `app/_definst_` | `KEY` |
//! | `/app/inst/a/b` | `app/inst` | `a/b` |
//! | `/app/mp4:a/b` (a colon: no instance) | `app` | `mp4:a/b` |
//! | `/live-bvc/?streamname=…` (Bilibili) | `live-bvc` | `?streamname=…` |
//! | `/KEY`, `/stream?user=…&pass=…` (MediaMTX) | all of it | (empty) |
//! | `//KEY` | (empty) | `KEY` |
//!
//! A slash in a query cuts like any other; write `%2F` for one that is meant.
//!
//! Control refuses with it what the engine could not use.

mod cut;

use std::{borrow::Cow, fmt};

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
    password: String,
}

/// The address cannot be used. The fault of the client that added the destination. Messages never repeat
/// the address, since it holds the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Neither `rtmp` nor `rtmps`.
    #[error("the address must begin with rtmp:// or rtmps://")]
    Scheme,
    /// No host.
    #[error("the address has no host: write rtmp://host/application/key")]
    NoHost,
    /// A host that is none (RFC 3986 §3.2.2).
    #[error("the host of the address is not a name, an IPv4 address or an [IPv6] address")]
    BadHost,
    /// A port that is none.
    #[error("the port of the address is not a number from 1 to 65535")]
    BadPort,
    /// Neither application nor stream key.
    #[error(
        "the address has neither application nor stream key: write rtmp://host/application/key"
    )]
    NoPath,
    /// Copied with more or less than the address.
    #[error("the address holds a space or a control character: copy it again")]
    BadCharacter,
    /// Longer than [`URL_BYTES_MAX`].
    #[error("the address is longer than {URL_BYTES_MAX} bytes")]
    TooLong,
}

impl RtmpUrl {
    /// Reads an address. White space around it is ignored, since addresses are pasted.
    ///
    /// # Errors
    /// Says which part is wrong.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (url, path) = Self::server(text)?;
        let (application, stream_key) = cut::cut(path);
        if application.is_empty() && stream_key.is_empty() {
            return Err(UrlError::NoPath);
        }
        Ok(Self {
            application: application.to_owned(),
            stream_key,
            ..url
        })
    }

    /// Where a server sends the client on to: `redirect` is the `tcUrl` of another server, so its
    /// path is the application, and the stream name stays. Some write that behind it.
    ///
    /// # Errors
    /// Says which part of `redirect` is wrong.
    pub fn redirected(&self, redirect: &str) -> Result<Self, UrlError> {
        let (url, path) = Self::server(redirect)?;
        let path = path.strip_prefix('/').unwrap_or(path);
        let application = path
            .strip_suffix(self.stream_key.as_str())
            .filter(|_| !self.stream_key.is_empty())
            .and_then(|before| match before {
                // All of the path is the stream name.
                "" => Some(""),
                _ => before.strip_suffix('/'),
            })
            .unwrap_or(path);
        Ok(Self {
            application: application.trim_end_matches('/').to_owned(),
            stream_key: self.stream_key.clone(),
            credentials: url.credentials.or_else(|| self.credentials.clone()),
            ..url
        })
    }

    /// Reads all but the path, which is given back.
    fn server(text: &str) -> Result<(Self, &str), UrlError> {
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
        let url = Self {
            tls,
            host,
            port: port.unwrap_or(default_port(tls)),
            credentials: user_info.map(Credentials::new),
            application: String::new(),
            stream_key: String::new(),
        };
        Ok((url, path))
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

    /// What is published: the stream key with its query. Secret. Empty where all of the path is
    /// the application.
    pub fn stream_key(&self) -> &str {
        &self.stream_key
    }

    /// The part of the application that is no secret: its first segment, where something follows
    /// it. What stands alone (`/KEY`) or has a query (`/stream?user=…`) may be the key.
    pub fn public_application(&self) -> Option<&str> {
        let end = self.application.find(['/', '?']);
        let first = self
            .application
            .get(..end.unwrap_or(self.application.len()))?;
        let followed = match end {
            Some(end) => self.application.get(end..)?.starts_with('/'),
            None => !self.stream_key.is_empty(),
        };
        followed.then_some(first)
    }

    /// User and password, where the address has both. As they are written there: neither FFmpeg
    /// nor librtmp decodes `%40`.
    pub fn credentials(&self) -> Option<(&str, &str)> {
        let Credentials { user, password } = self.credentials.as_ref()?;
        (!user.is_empty() && !password.is_empty()).then_some((user, password))
    }

    /// The same destination written the one way: two addresses lead to the same place under the
    /// same name exactly when these are equal. Hosts know no capitals, paths and queries do.
    #[must_use]
    pub fn normalized(&self) -> Self {
        let host = match self.host.parse::<std::net::Ipv6Addr>() {
            Ok(ip) => ip.to_string(),
            Err(_) => self.host.trim_end_matches('.').to_lowercase(),
        };
        Self {
            host,
            ..self.clone()
        }
    }

    /// `tcUrl` of the connect command: the address without stream name and credentials, with the
    /// port, as FFmpeg writes it.
    pub fn tc_url(&self) -> String {
        let scheme = scheme(self.tls);
        format!(
            "{scheme}://{}:{}/{}",
            self.bracketed_host(),
            self.port,
            self.application
        )
    }

    /// The address for people and logs, without anything secret.
    pub fn redacted(&self) -> Redacted<'_> {
        Redacted(self)
    }

    /// Scheme, host and port alone. What another server wrote may hold the stream key anywhere in
    /// its path.
    pub fn server_address(&self) -> String {
        let address = format!("{}://{}", scheme(self.tls), self.bracketed_host());
        if self.port == default_port(self.tls) {
            address
        } else {
            format!("{address}:{}", self.port)
        }
    }

    fn bracketed_host(&self) -> Cow<'_, str> {
        if self.host.contains(':') {
            Cow::Owned(format!("[{}]", self.host))
        } else {
            Cow::Borrowed(&self.host)
        }
    }
}

impl Credentials {
    fn new(user_info: &str) -> Self {
        let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
        Self {
            user: user.to_owned(),
            password: password.to_owned(),
        }
    }
}

/// Whether two addresses as people wrote them are one destination. What is no address is compared
/// as text.
pub fn is_same_destination(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    match (RtmpUrl::parse(one), RtmpUrl::parse(other)) {
        (Ok(one), Ok(other)) => one.normalized() == other.normalized(),
        _ => false,
    }
}

/// Shows an address without its secrets; made by [`RtmpUrl::redacted`].
#[derive(Clone, Copy)]
pub struct Redacted<'a>(&'a RtmpUrl);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.0;
        write!(f, "{}://", scheme(url.tls))?;
        match &url.credentials {
            None => {}
            // Alone it may be a token.
            Some(credentials) if credentials.password.is_empty() => f.write_str("***@")?,
            Some(credentials) => write!(f, "{}:***@", credentials.user)?,
        }
        f.write_str(&url.bracketed_host())?;
        if url.port != default_port(url.tls) {
            write!(f, ":{}", url.port)?;
        }
        match url.public_application() {
            Some(application) => write!(f, "/{application}/***"),
            None => f.write_str("/***"),
        }
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

fn scheme(tls: bool) -> &'static str {
    if tls { "rtmps" } else { "rtmp" }
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
