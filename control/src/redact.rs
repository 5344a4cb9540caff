//! Stream keys and tokens are secrets: what is shown of them.

use shardcast_link::RtmpUrl;
use url::Url;

/// `rtmp://host/app/abcd-efgh-ijkl` becomes `rtmp://host/app/…kl`: scheme, host, port and the public
/// part of the application stay, the rest is cut to the last two characters of the stream name,
/// passwords and queries go. Where the secret begins is the engine's rule
/// (`engine/link/src/rtmp_url.rs`). Of what is no RTMP address only scheme, host and port are shown.
pub(crate) fn url(text: &str) -> String {
    let Ok(url) = Url::parse(text.trim()) else {
        return "…".to_owned();
    };
    let host = url.host_str().unwrap_or_default();
    let port = url
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let server = format!("{}://{host}{port}", url.scheme());
    let Ok(address) = RtmpUrl::parse(text) else {
        return format!("{server}/…");
    };
    let folder = address
        .public_application()
        .map(|application| format!("{application}/"))
        .unwrap_or_default();
    format!("{server}/{folder}…{}", key_end(&address))
}

/// The last two characters of a key that is long enough to stay a secret without them. An address
/// without a stream name has its key in the application.
fn key_end(address: &RtmpUrl) -> String {
    let whole = match address.stream_key() {
        "" => address.application(),
        key => key,
    };
    let key = whole.split('?').next().unwrap_or_default();
    let length = key.chars().count();
    if length > 8 {
        key.chars().skip(length - 2).collect()
    } else {
        String::new()
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
                "rtmp://a.example:1936/live/…",
            ),
            (
                "rtmp://a.example/live/key-that-is-long?token=secret",
                "rtmp://a.example/live/…ng",
            ),
            (
                "rtmp://a.example/live/inst/secret-part/of-the-key",
                "rtmp://a.example/live/…ey",
            ),
            (
                "rtmp://a.example/live/mp4:secret/key-of-it",
                "rtmp://a.example/live/…it",
            ),
            ("rtmp://a.example/only-a-key", "rtmp://a.example/…ey"),
            ("rtmp://h/ondemand/SECRET/x", "rtmp://h/ondemand/…"),
            ("rtmp://h/app/SECRET-KEY/tail", "rtmp://h/app/…"),
            ("rtmp://h/stream-name?user=u&pass=secret", "rtmp://h/…me"),
            ("rtmp://h:0/live/abcd-efgh-ijkl", "rtmp://h:0/…"),
            ("https://h/folder/abcd-efgh-ijkl", "https://h/…"),
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
