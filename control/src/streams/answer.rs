//! What answers have in common: versions that clients have already (RFC 9110, 13.1.2), and gzip.

use std::io::Write;

use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use siphasher::sip::SipHasher13;

use crate::hls::Page;

/// Whether the client has this version.
pub(super) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let given = headers.get(header::IF_NONE_MATCH);
    let given = given
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    given
        .split(',')
        .any(|it| it.trim().trim_start_matches("W/") == tag)
}

/// It has.
pub(super) fn not_modified(tag: String, caching: String) -> Response {
    let headers = [(header::ETAG, tag), (header::CACHE_CONTROL, caching)];
    (StatusCode::NOT_MODIFIED, headers).into_response()
}

/// Whether the client takes gzip.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let given = headers.get_all(header::ACCEPT_ENCODING).iter();
    let mut codings = given.flat_map(|value| value.to_str().unwrap_or_default().split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim().eq_ignore_ascii_case("gzip") && !matches!(weight.trim(), "q=0" | "q=0.0")
    })
}

/// A playlist as it is sent.
pub(super) fn page(text: &str) -> Page {
    let etag = format!("\"{:016x}\"", SipHasher13::new().hash(text.as_bytes()));
    let mut gzip = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::fast());
    // Writing to memory does not fail.
    let _ = gzip.write_all(text.as_bytes());
    Page {
        text: Bytes::copy_from_slice(text.as_bytes()),
        gzip: gzip.finish().unwrap_or_default().into(),
        etag,
    }
}
