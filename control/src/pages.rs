//! The pages for people, embedded by the build script, and the browser SDK they use.

use axum::{
    extract::Request,
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use siphasher::sip::SipHasher13;

/// `(path, content)`, sorted within each folder.
static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// Serves `/`, the files of `control/web/public` and, below `/sdk`, the modules of the SDK.
pub(crate) fn serve(request: &Request) -> Response {
    let found = find(request.uri().path());
    if found.is_some() && !matches!(*request.method(), Method::GET | Method::HEAD) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let Some((path, content)) = found else {
        return (StatusCode::NOT_FOUND, "there is nothing here\n").into_response();
    };
    let tag = tag(content);
    let sent = request
        .headers()
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    let caching = [
        (header::ETAG, tag.clone()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
    ];
    if sent == Some(tag.as_str()) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    let kind = [
        (header::CONTENT_TYPE, content_type(path)),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (caching, kind, content).into_response()
}

fn find(path: &str) -> Option<(&'static str, &'static [u8])> {
    let exact = |wanted: &str| FILES.iter().find(|(path, _)| *path == wanted).copied();
    if path == "/" {
        return exact("/index.html");
    }
    // Browsers ask for it wherever no page names an icon, as beside an answer of REST.
    if path == "/favicon.ico" {
        return exact("/icon.svg");
    }
    // Each application has the page; it reads from its address which one it is of.
    if matches!(
        path.trim_start_matches('/').split_once('/'),
        Some((_, "play.html"))
    ) {
        return exact("/play.html");
    }
    // The SDK's package has its modules in `es`; both spellings are served.
    if let Some(module) = path.strip_prefix("/sdk/es/") {
        return exact(&format!("/sdk/{module}"));
    }
    exact(path).or_else(|| exact(&format!("{path}.html")))
}

/// Pages change with the binary only.
fn tag(content: &[u8]) -> String {
    format!("\"{:016x}\"", SipHasher13::new().hash(content))
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "txt" => "text/plain; charset=utf-8",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_is_served_under_both_of_its_paths() {
        let (_, short) = find("/sdk/index.js").unwrap();
        let (_, long) = find("/sdk/es/index.js").unwrap();
        assert_eq!(short, long);
        assert!(String::from_utf8_lossy(short).contains("WebRTCAdaptor"));
    }

    #[test]
    fn the_script_that_the_sdk_looks_for_is_served_with_its_licence() {
        let (_, script) = find("/sdk/adapter.js").unwrap();
        assert!(String::from_utf8_lossy(script).contains("browserDetails"));
        let (_, licence) = find("/sdk/adapter.license.txt").unwrap();
        assert!(String::from_utf8_lossy(licence).contains("Redistribution"));
    }

    #[test]
    fn the_player_of_hls_is_served_as_a_module_with_its_licence() {
        let (path, module) = find("/hls/hls.mjs").unwrap();
        assert_eq!(content_type(path), "text/javascript; charset=utf-8");
        assert!(String::from_utf8_lossy(module).contains("lowLatencyMode"));
        let (_, licence) = find("/hls/hls.license.txt").unwrap();
        assert!(String::from_utf8_lossy(licence).contains("Apache License"));
    }

    #[test]
    fn an_icon_is_found_where_browsers_look_for_it_unasked() {
        let (path, _) = find("/favicon.ico").unwrap();
        assert_eq!(content_type(path), "image/svg+xml");
    }

    #[test]
    fn every_application_has_the_page_that_plays() {
        for path in ["/StreamLick/play.html", "/other/play.html", "/play.html"] {
            assert_eq!(find(path).unwrap().0, "/play.html");
        }
        assert!(find("/one/two/play.html").is_none());
    }

    #[test]
    fn only_what_is_embedded_can_be_asked_for() {
        assert!(find("/../Cargo.toml").is_none());
        assert!(find("/sdk/").is_none());
    }
}
