//! Stream keys and tokens are secrets: what is shown of them.

use url::Url;

/// `rtmp://host/app/abcd-efgh-ijkl` becomes `rtmp://host/app/…kl`: scheme, host,
/// port and application stay, the key is cut to its last two characters, passwords and queries go.
pub(crate) fn url(text: &str) -> String {
    let Ok(url) = Url::parse(text) else {
        return "…".to_owned();
    };
    let host = url.host_str().unwrap_or_default();
    let port = url
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let mut path: Vec<&str> = url
        .path()
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    let key = path.pop().unwrap_or_default();
    let shown = if key.chars().count() > 8 {
        key.chars()
            .skip(key.chars().count() - 2)
            .collect::<String>()
    } else {
        String::new()
    };
    let folder = if path.is_empty() {
        String::new()
    } else {
        format!("{}/", path.join("/"))
    };
    format!("{}://{host}{port}/{folder}…{shown}", url.scheme())
}

/// A message in which something may be an RTMP URL with its key.
pub(crate) fn text(message: &str) -> String {
    let word = |word: &str| {
        if word.contains("://") {
            url(word)
        } else {
            word.to_owned()
        }
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
    }
}
