//! Where an address is cut into application and stream name, to the byte as FFmpeg does
//! (`rtmp_open` in libavformat/rtmpproto.c). The rules are odd in places; an address that works
//! there has to be published under the same names here.

/// What stands behind host and port, with its first character (`/`, `?` or `#`), as the
/// application of `connect` and the stream name of `publish`. Either may be empty.
pub(super) fn cut(path: &str) -> (&str, String) {
    let (application, name) = parts(path);
    (application, published(name))
}

fn parts(path: &str) -> (&str, &str) {
    let behind = skip(path, 1);
    // A redirected Akamai address: the stream name stands in the query, and all is application.
    if let Some((_, query)) = path.split_once('?')
        && query.contains("slist=")
        && let Some((_, name)) = path.split_once("slist=")
    {
        return (behind, name.split('&').next().unwrap_or_default());
    }
    if let Some(name) = path.strip_prefix("/ondemand/") {
        return ("ondemand", name);
    }
    let Some((application, rest)) = behind.split_once('/') else {
        return (behind, "");
    };
    match (rest.find('/'), rest.find(':')) {
        // The second segment is an instance of the application, as Wowza has them, unless a colon
        // before its end makes it the prefix of a stream name (`mp4:a/b`).
        (Some(slash), colon) if colon.is_none_or(|colon| colon > slash) => {
            let end = application.len() + 1 + slash;
            (behind.get(..end).unwrap_or_default(), skip(rest, slash + 1))
        }
        _ => (application, rest),
    }
}

/// Flash Media Server wants `mp4:` before the names of such files and no `.flv` behind others.
fn published(name: &str) -> String {
    let ends = |end| name.ends_with(end);
    if !name.contains(':') && (ends(".mp4") || ends(".f4v")) {
        return format!("mp4:{name}");
    }
    name.strip_suffix(".flv").unwrap_or(name).to_owned()
}

/// All but the first `bytes`.
fn skip(text: &str, bytes: usize) -> &str {
    text.get(bytes..).unwrap_or_default()
}
