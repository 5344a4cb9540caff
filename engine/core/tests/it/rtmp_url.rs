//! Proves: addresses as people paste them are cut into host, application and key as FFmpeg cuts
//! them, wrong ones are refused in words, and nothing shown holds a secret.

use proptest::prelude::*;
use shardcast_core::rtmp::{RtmpUrl, UrlError, url::is_same_destination};

/// Address, host, port, application, key, tcUrl, redacted.
type Row = (
    &'static str,
    &'static str,
    u16,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

const TABLE: &[Row] = &[
    // YouTube
    (
        "rtmp://a.rtmp.youtube.com/live2/abcd-efgh",
        "a.rtmp.youtube.com",
        1935,
        "live2",
        "abcd-efgh",
        "rtmp://a.rtmp.youtube.com:1935/live2",
        "rtmp://a.rtmp.youtube.com/live2/***",
    ),
    // Facebook: the key is mostly query, with the port written out
    (
        "rtmps://live-api-s.facebook.com:443/rtmp/FB-1-0-Ab?s_bl=1&s_ps=1&a=Abx_y",
        "live-api-s.facebook.com",
        443,
        "rtmp",
        "FB-1-0-Ab?s_bl=1&s_ps=1&a=Abx_y",
        "rtmps://live-api-s.facebook.com:443/rtmp",
        "rtmps://live-api-s.facebook.com/rtmp/***",
    ),
    // Twitch
    (
        "rtmp://live.twitch.tv/app/live_12_xyz?bandwidthtest=true",
        "live.twitch.tv",
        1935,
        "app",
        "live_12_xyz?bandwidthtest=true",
        "rtmp://live.twitch.tv:1935/app",
        "rtmp://live.twitch.tv/app/***",
    ),
    // Kick
    (
        "rtmps://fa7.global-contribute.live-video.net/app/sk_us-west-2_x",
        "fa7.global-contribute.live-video.net",
        443,
        "app",
        "sk_us-west-2_x",
        "rtmps://fa7.global-contribute.live-video.net:443/app",
        "rtmps://fa7.global-contribute.live-video.net/app/***",
    ),
    // nginx-rtmp, with a port and with white space from pasting
    (
        " rtmp://h/app/key\n",
        "h",
        1935,
        "app",
        "key",
        "rtmp://h:1935/app",
        "rtmp://h/app/***",
    ),
    (
        "RTMP://10.0.0.1:19350/live/k",
        "10.0.0.1",
        19_350,
        "live",
        "k",
        "rtmp://10.0.0.1:19350/live",
        "rtmp://10.0.0.1:19350/live/***",
    ),
    // Wowza and Azure: an instance belongs to the application
    (
        "rtmp://h/app/_definst_/key?u=1",
        "h",
        1935,
        "app/_definst_",
        "key?u=1",
        "rtmp://h:1935/app/_definst_",
        "rtmp://h/app/***",
    ),
    (
        "rtmps://x.azure.net:2935/live/0a1b/mystream",
        "x.azure.net",
        2_935,
        "live/0a1b",
        "mystream",
        "rtmps://x.azure.net:2935/live/0a1b",
        "rtmps://x.azure.net:2935/live/***",
    ),
    (
        "rtmp://h/app/inst/a/b",
        "h",
        1935,
        "app/inst",
        "a/b",
        "rtmp://h:1935/app/inst",
        "rtmp://h/app/***",
    ),
    (
        "rtmp://h/app/mp4:a/b",
        "h",
        1935,
        "app",
        "mp4:a/b",
        "rtmp://h:1935/app",
        "rtmp://h/app/***",
    ),
    // A query in the application
    (
        "rtmp://h/app?token=a/key",
        "h",
        1935,
        "app?token=a",
        "key",
        "rtmp://h:1935/app?token=a",
        "rtmp://h/***",
    ),
    // No application
    (
        "rtmp://h//key",
        "h",
        1935,
        "",
        "key",
        "rtmp://h:1935/",
        "rtmp://h//***",
    ),
    // Bilibili: the stream name is a query alone
    (
        "rtmp://live-push.bilivideo.com/live-bvc/?streamname=live_1&key=abc&pflag=1",
        "live-push.bilivideo.com",
        1935,
        "live-bvc",
        "?streamname=live_1&key=abc&pflag=1",
        "rtmp://live-push.bilivideo.com:1935/live-bvc",
        "rtmp://live-push.bilivideo.com/live-bvc/***",
    ),
    // MediaMTX: the path is the application, and there is no key
    (
        "rtmp://h/mystream?user=alice&pass=secret",
        "h",
        1935,
        "mystream?user=alice&pass=secret",
        "",
        "rtmp://h:1935/mystream?user=alice&pass=secret",
        "rtmp://h/***",
    ),
    // Ant Media Server's own restream test, and a key alone
    (
        "rtmp://example.com/abcdef",
        "example.com",
        1935,
        "abcdef",
        "",
        "rtmp://example.com:1935/abcdef",
        "rtmp://example.com/***",
    ),
    (
        "rtmps://h/KEY/",
        "h",
        443,
        "KEY",
        "",
        "rtmps://h:443/KEY",
        "rtmps://h/***",
    ),
    (
        "rtmp://h/?KEY",
        "h",
        1935,
        "?KEY",
        "",
        "rtmp://h:1935/?KEY",
        "rtmp://h/***",
    ),
    (
        "rtmp://h?KEY",
        "h",
        1935,
        "KEY",
        "",
        "rtmp://h:1935/KEY",
        "rtmp://h/***",
    ),
    // A key that ends in a slash is cut into an instance
    (
        "rtmp://h/app/key/",
        "h",
        1935,
        "app/key",
        "",
        "rtmp://h:1935/app/key",
        "rtmp://h/app/***",
    ),
    (
        "rtmp://h/app//key",
        "h",
        1935,
        "app/",
        "key",
        "rtmp://h:1935/app/",
        "rtmp://h/app/***",
    ),
    (
        "rtmp://h//a/b",
        "h",
        1935,
        "/a",
        "b",
        "rtmp://h:1935//a",
        "rtmp://h//***",
    ),
    // Slashes and colons in a query count as in a path
    (
        "rtmp://h/app/key?sig=a/b",
        "h",
        1935,
        "app/key?sig=a",
        "b",
        "rtmp://h:1935/app/key?sig=a",
        "rtmp://h/app/***",
    ),
    (
        "rtmp://h/app/inst?t=1:2/key",
        "h",
        1935,
        "app",
        "inst?t=1:2/key",
        "rtmp://h:1935/app",
        "rtmp://h/app/***",
    ),
    // What Flash Media Server wants of files
    (
        "rtmp://h/app/key.flv",
        "h",
        1935,
        "app",
        "key",
        "rtmp://h:1935/app",
        "rtmp://h/app/***",
    ),
    (
        "rtmp://h/app/key.mp4",
        "h",
        1935,
        "app",
        "mp4:key.mp4",
        "rtmp://h:1935/app",
        "rtmp://h/app/***",
    ),
    // Akamai
    (
        "rtmp://h/ondemand/a/b",
        "h",
        1935,
        "ondemand",
        "a/b",
        "rtmp://h:1935/ondemand",
        "rtmp://h/ondemand/***",
    ),
    (
        "rtmp://h/app/x?slist=a/b&c=d",
        "h",
        1935,
        "app/x?slist=a/b&c=d",
        "a/b",
        "rtmp://h:1935/app/x?slist=a/b&c=d",
        "rtmp://h/app/***",
    ),
    // IPv6
    (
        "rtmp://[2001:db8::1]/app/key",
        "2001:db8::1",
        1935,
        "app",
        "key",
        "rtmp://[2001:db8::1]:1935/app",
        "rtmp://[2001:db8::1]/app/***",
    ),
    (
        "rtmp://[::1]:1936/app/key",
        "::1",
        1936,
        "app",
        "key",
        "rtmp://[::1]:1936/app",
        "rtmp://[::1]:1936/app/***",
    ),
    // Credentials, with an @ in the password
    (
        "rtmp://user:p@ss@h:1936/app/key",
        "h",
        1936,
        "app",
        "key",
        "rtmp://h:1936/app",
        "rtmp://user:***@h:1936/app/***",
    ),
];

#[test]
fn addresses_are_cut_as_ffmpeg_cuts_them() {
    for (text, host, port, application, key, tc_url, redacted) in TABLE {
        let url = RtmpUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((url.host(), url.port()), (*host, *port), "{text}");
        assert_eq!(
            (url.application(), url.stream_key()),
            (*application, *key),
            "{text}"
        );
        assert_eq!(url.tc_url(), *tc_url, "{text}");
        assert_eq!(url.redacted().to_string(), *redacted, "{text}");
        assert_eq!(
            url.is_tls(),
            text.trim().to_lowercase().starts_with("rtmps:"),
            "{text}"
        );
        assert_eq!(format!("{url:?}"), format!("RtmpUrl({redacted})"), "{text}");
    }
}

#[test]
fn wrong_addresses_are_refused_in_words() {
    for (text, error) in [
        ("", UrlError::Scheme),
        ("http://h/app/key", UrlError::Scheme),
        ("rtmp:/h/app/key", UrlError::Scheme),
        ("rtmp:///app/key", UrlError::NoHost),
        ("rtmp://:1935/app/key", UrlError::NoHost),
        ("rtmp://user@/app/key", UrlError::NoHost),
        ("rtmp://h", UrlError::NoPath),
        ("rtmp://h/", UrlError::NoPath),
        ("rtmp://user:pass@h:1936/", UrlError::NoPath),
        ("rtmp://h:0/app/key", UrlError::BadPort),
        ("rtmp://h:65536/app/key", UrlError::BadPort),
        ("rtmp://h:/app/key", UrlError::BadPort),
        ("rtmp://h:19x/app/key", UrlError::BadPort),
        ("rtmp://h:+1/app/key", UrlError::BadPort),
        ("rtmp://::1/app/key", UrlError::NoHost),
        ("rtmp://[::1/app/key", UrlError::BadHost),
        ("rtmp://[::1]1935/app/key", UrlError::BadHost),
        ("rtmp://[localhost]/app/key", UrlError::BadHost),
        ("rtmp://ho%20st/app/key", UrlError::BadHost),
        ("rtmp://h/app/k ey", UrlError::BadCharacter),
        ("rtmp://h/app/k\0ey", UrlError::BadCharacter),
        (
            &format!("rtmp://h/app/{}", "k".repeat(2_048)),
            UrlError::TooLong,
        ),
    ] {
        assert_eq!(RtmpUrl::parse(text), Err(error.clone()), "{text}");
        assert!(!error.to_string().is_empty());
    }
    let words = RtmpUrl::parse("rtmp://h/").unwrap_err().to_string();
    assert_eq!(
        words,
        "the address has neither application nor stream key: write rtmp://host/application/key"
    );
}

#[test]
fn one_destination_written_in_two_ways_is_one() {
    for (one, other, same) in [
        ("rtmp://h/app/key", " RTMP://H:1935/app/key ", true),
        ("rtmps://h/app/key", "rtmps://h.:443/app/key", true),
        ("rtmp://[::1]/KEY", "rtmp://[0:0:0::1]:1935/KEY", true),
        (
            "rtmp://ÉCLAIR.example/app/k",
            "rtmp://éclair.example/app/k",
            true,
        ),
        ("rtmp://u:p@h/app/key", "rtmp://u:p@H/app/key", true),
        ("rtmp://h/app/key", "rtmp://h/app/KEY", false),
        ("rtmp://h/app/key", "rtmp://h/App/key", false),
        ("rtmp://h/app/key?a=b", "rtmp://h/app/key?a=B", false),
        ("rtmp://h/app/key", "rtmps://h/app/key", false),
        ("rtmp://h:443/app/key", "rtmps://h:443/app/key", false),
        ("rtmps://h/app/key", "rtmps://h:1935/app/key", false),
        ("rtmp://u:p@h/app/key", "rtmp://u:P@h/app/key", false),
        ("rtmp://h/app/inst/key", "rtmp://h/app/instkey", false),
        ("nonsense", "nonsense", true),
        ("nonsense", "Nonsense", false),
    ] {
        assert_eq!(is_same_destination(one, other), same, "{one} {other}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(rtmps?://)?[a-z@:/?#\\[\\]0-9 é.]{0,40}") {
        let _ = RtmpUrl::parse(&text);
    }

    #[test]
    fn no_secret_is_ever_shown(
        key in "[A-Z]{8}",
        password in "[G-Z]{8}",
        value in "[A-Z]{8}",
        shape in prop::sample::select(SHAPES),
    ) {
        let path = shape.replace("KEY", &key).replace("VALUE", &value);
        let text = format!("rtmp://me:{password}@host{path}");
        let url = RtmpUrl::parse(&text).unwrap();
        let shown = format!("{url:?} {}", url.redacted());
        for secret in [&key, &password, &value] {
            prop_assert!(!shown.contains(secret.as_str()), "{shown}");
        }
    }
}

/// Where keys and values of queries stand in addresses.
const SHAPES: &[&str] = &[
    "/app?t=VALUE/KEY?a=VALUE",
    "/app/KEY?a=VALUE",
    "/app/?a=VALUE&key=KEY",
    "/app/inst-VALUE/KEY",
    "/KEY",
    "/KEY/",
    "/KEY?a=VALUE",
    "/KEY?a=VALUE/VALUE",
    "/?KEY",
    "?a=KEY",
    "//KEY",
    "//VALUE/KEY",
    "/x?slist=KEY&a=VALUE",
    "/ondemand/KEY",
];

/// A redirect may name the stream behind the application, alone, or not at all; what is shown of
/// it never holds the key.
#[test]
fn a_redirect_gives_the_application_and_shows_no_key_wherever_that_stands() {
    let url = RtmpUrl::parse("rtmp://h/app/KEY").unwrap();
    for (redirect, application, shown) in [
        ("rtmp://h2/live", "live", "rtmp://h2"),
        ("rtmp://h2/live/KEY", "live", "rtmp://h2"),
        ("rtmp://h2/live/inst/KEY", "live/inst", "rtmp://h2"),
        ("rtmp://h2/KEY", "", "rtmp://h2"),
        ("rtmp://h2//KEY", "", "rtmp://h2"),
        ("rtmps://h2:444/KEY", "", "rtmps://h2:444"),
        ("rtmp://user:KEY@[::1]/KEY/app", "KEY/app", "rtmp://[::1]"),
        ("rtmp://h2/otherKEY", "otherKEY", "rtmp://h2"),
        ("rtmp://h2", "", "rtmp://h2"),
        ("rtmp://h2:1935/?key=KEY", "?key=KEY", "rtmp://h2"),
    ] {
        let next = url.redirected(redirect).unwrap();
        assert_eq!(next.application(), application, "{redirect}");
        assert_eq!(next.stream_key(), "KEY", "{redirect}");
        assert_eq!(next.server_address(), shown, "{redirect}");
    }
}
