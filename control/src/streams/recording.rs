//! Recordings, with ranges (RFC 9110, 14).
//!
//! One that is on the disk no more because it was uploaded is a redirect to where it is.
//!
//! As in Ant Media Server everybody may fetch them, or who has a token to play where `playTokenControlEnabled` is on.

use std::{
    collections::HashMap,
    io::SeekFrom,
    ops::Range,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use shardcast_link::BroadcastId;
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
};

use crate::{admission, limits, recordings, state::Control};

/// Answers a request for the recording at `path` below `streams`.
pub(super) async fn serve(
    control: &Control,
    application: &str,
    path: &str,
    parts: &Parts,
    parameters: &HashMap<String, String>,
) -> Response {
    let token = parameters.get("token").map_or("", String::as_str);
    match recording(control, application, path, token) {
        Ok(file) => match open(&file).await {
            Some(file) => send(file, &parts.method, &parts.headers).await,
            None => elsewhere(control, application, path, &parts.method),
        },
        Err(status) => status.into_response(),
    }
}

/// The way to a recording that is in a bucket alone.
fn elsewhere(control: &Control, application: &str, path: &str, method: &Method) -> Response {
    let path = format!("streams/{path}");
    let Some(link) = recordings::link(control, application, &path, *method == Method::HEAD) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    // Who has it may read the recording.
    let headers = [
        (header::LOCATION, link.to_string()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    (StatusCode::FOUND, headers).into_response()
}

/// The file of a recording, if this client may have it.
fn recording(
    control: &Control,
    application: &str,
    path: &str,
    token: &str,
) -> Result<PathBuf, StatusCode> {
    let settings = control.application(application);
    let settings = settings.ok_or(StatusCode::NOT_FOUND)?;
    let path = format!("streams/{path}");
    if settings.play_token_control_enabled {
        // Before anything is said of the file, so that nobody learns without a token what there is.
        let broadcast = broadcast_of(control, application, &path);
        let may = broadcast.is_some_and(|id| admission::may_watch(control, &id, token));
        if !may {
            return Err(StatusCode::FORBIDDEN);
        }
    }
    Ok(recordings::folder_of(&control.settings, application).join(path))
}

fn broadcast_of(control: &Control, application: &str, path: &str) -> Option<BroadcastId> {
    let mut vods = control
        .catalog
        .vods(|vod| vod.path == path && vod.broadcast.application() == application);
    vods.pop().map(|vod| vod.broadcast.clone())
}

/// A file that is sent.
struct Sent {
    file: File,
    bytes: u64,
    tag: String,
}

async fn open(path: &Path) -> Option<Sent> {
    let file = File::open(path).await.ok()?;
    let metadata = file.metadata().await.ok()?;
    let modified = metadata.modified().ok()?;
    let modified = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    let bytes = metadata.len();
    metadata.is_file().then(|| Sent {
        file,
        bytes,
        tag: format!("\"{bytes:x}-{:x}\"", modified.as_millis()),
    })
}

async fn send(sent: Sent, method: &Method, headers: &HeaderMap) -> Response {
    let Sent {
        mut file,
        bytes,
        tag,
    } = sent;
    let given = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let caching = [
        (header::ETAG, tag.clone()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
    ];
    if given(header::IF_NONE_MATCH) == Some(tag.as_str()) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    // A range of another version than the client has would not fit.
    let is_same = given(header::IF_RANGE).is_none_or(|known| known == tag);
    let asked = given(header::RANGE).filter(|_| is_same);
    let (status, range) = match asked.map_or(Asked::All, |text| asked_range(text, bytes)) {
        Asked::All => (StatusCode::OK, 0..bytes),
        Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Asked::Beyond => {
            let range = [(header::CONTENT_RANGE, format!("bytes */{bytes}"))];
            return (StatusCode::RANGE_NOT_SATISFIABLE, range).into_response();
        }
    };
    let body = if *method == Method::HEAD {
        Body::empty()
    } else if file.seek(SeekFrom::Start(range.start)).await.is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    } else {
        body(file, range.end - range.start)
    };
    let what = [
        (header::CONTENT_TYPE, "video/mp4".to_owned()),
        (
            header::CONTENT_LENGTH,
            (range.end - range.start).to_string(),
        ),
    ];
    let mut response = (status, caching, what, body).into_response();
    if status == StatusCode::PARTIAL_CONTENT {
        let (first, last) = (range.start, range.end.saturating_sub(1));
        if let Ok(value) = HeaderValue::from_str(&format!("bytes {first}-{last}/{bytes}")) {
            response.headers_mut().insert(header::CONTENT_RANGE, value);
        }
    }
    response
}

/// So many bytes of a file from where it stands, as fast as the client takes them.
fn body(file: File, bytes: u64) -> Body {
    Body::from_stream(stream::try_unfold(
        (file, bytes),
        |(mut file, left)| async move {
            let chunk = left.min(limits::FILE_CHUNK_BYTES as u64);
            if chunk == 0 {
                return Ok(None);
            }
            let mut buffer = BytesMut::with_capacity(limits::FILE_CHUNK_BYTES);
            let mut part = (&mut file).take(chunk);
            let read = part.read_buf(&mut buffer).await?;
            if read == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
            }
            let left = left.saturating_sub(read as u64);
            Ok::<_, std::io::Error>(Some((Bytes::from(buffer), (file, left))))
        },
    ))
}

/// What a `Range` asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// The whole file: there is none, it is not understood, or it has several parts (RFC 9110, 14.2).
    All,
    Part(Range<u64>),
    Beyond,
}

/// Reads a `Range` of a file of so many bytes.
fn asked_range(text: &str, bytes: u64) -> Asked {
    let Some((first, last)) = text
        .trim()
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
    else {
        return Asked::All;
    };
    let (first, last) = (first.trim(), last.trim());
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(bytes),
        (Ok(first), Err(_)) if last.is_empty() => first..bytes,
        (Err(_), Ok(count)) if first.is_empty() => bytes.saturating_sub(count)..bytes,
        _ => return Asked::All,
    };
    match range.is_empty() {
        true => Asked::Beyond,
        false => Asked::Part(range),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        for (text, asked) in [
            ("bytes=0-0", Asked::Part(0..1)),
            ("bytes=0-", Asked::Part(0..100)),
            ("bytes=10-19", Asked::Part(10..20)),
            ("bytes=90-1000", Asked::Part(90..100)),
            ("bytes=-10", Asked::Part(90..100)),
            ("bytes=-1000", Asked::Part(0..100)),
            ("bytes=100-", Asked::Beyond),
            ("bytes=-0", Asked::Beyond),
            ("bytes=18446744073709551615-", Asked::Beyond),
            ("bytes=0-18446744073709551615", Asked::Part(0..100)),
            ("bytes=20-10", Asked::All),
            ("bytes=0-1,5-6", Asked::All),
            ("bytes=-", Asked::All),
            ("lines=0-1", Asked::All),
            ("", Asked::All),
        ] {
            assert_eq!(asked_range(text, 100), asked, "{text}");
        }
    }
}
