//! Stream keys and tokens are secrets: what is shown of them.

use url::Url;

/// `rtmp://host/app/abcd-efgh-ijkl` becomes `rtmp://host/app/…kl`: scheme, host,
/// port and application stay, the key is cut to its last two characters, passwords and queries go.
/// Where the key begins is the engine's rule (`engine/core/src/rtmp/url.rs`).
pub(crate) fn url(text: &str) -> String {
    let Ok(url) = Url::parse(text) else {
        return "…".to_owned();
    };
    let host = url.host_str().unwrap_or_default();
    let port = url
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let path: Vec<&str> = url
        .path()
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    let (application, key) = path
        .split_at_checked(application_parts(&path))
        .unwrap_or_default();
    let key = key.concat();
    let length = key.chars().count();
    let shown: String = if length > 8 {
        key.chars().skip(length - 2).collect()
    } else {
        String::new()
    };
    let folder: String = application.iter().map(|part| format!("{part}/")).collect();
    format!("{}://{host}{port}/{folder}…{shown}", url.scheme())
}

/// How many parts of a path are the application, as the engine cuts it: the first, and the second
/// when a key follows it and it has no colon. A single part may be a key without an application.
fn application_parts(path: &[&str]) -> usize {
    match path {
        [] | [_] => 0,
        [_, instance, _, ..] if !instance.contains(':') => 2,
        _ => 1,
    }
}

/// A message in which something may be an RTMP URL with its key.
pub(crate) fn text(message: &str) -> String {
    let word = |word: &str| {
        // A scheme alone ("write rtmps://") is no address.
        let address = word
            .split_once("://")
            .is_some_and(|(_, rest)| rest.contains(char::is_alphanumeric));
        if address { url(word) } else { word.to_owned() }
    };
    message.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_key_is_never_shown_whole() {
        let cases = [
            (
                "rtmp://a.example/live/abcd-efgh-ijkl",
                "rtmp://a.example/live/…kl",
            ),
            (
                "rtmp://u:p@a.example:1936/live/x/key12",
                "rtmp://a.example:1936/live/x/…",
            ),
            (
                "rtmp://a.example/live/key-that-is-long?token=secret",
                "rtmp://a.example/live/…ng",
            ),
            (
                "rtmp://a.example/live/inst/secret-part/of-the-key",
                "rtmp://a.example/live/inst/…ey",
            ),
            (
                "rtmp://a.example/live/mp4:secret/key-of-it",
                "rtmp://a.example/live/…it",
            ),
            ("rtmp://a.example/only-a-key", "rtmp://a.example/…ey"),
            ("nonsense", "…"),
        ];
        for (whole, shown) in cases {
            assert_eq!(url(whole), shown);
        }
    }

    #[test]
    fn a_url_inside_a_message_is_cut_too() {
        let shown = text("cannot publish to rtmp://a.example/live/abcd-efgh-ijkl now");
        assert_eq!(shown, "cannot publish to rtmp://a.example/live/…kl now");
        let advice = "write rtmps:// in place of rtmp://, or (rtmp://)";
        assert_eq!(text(advice), advice);
    }
}
