//! Proves: addresses as people paste them are cut into host, application and key as FFmpeg cuts
//! them, wrong ones are refused in words, and nothing shown holds a secret.

use proptest::prelude::*;
use shardcast_core::rtmp::{RtmpUrl, UrlError};

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
        "rtmp://a.rtmp.youtube.com/live2",
        "rtmp://a.rtmp.youtube.com/live2/***",
    ),
    // Facebook: the key is mostly query, with the port written out
    (
        "rtmps://live-api-s.facebook.com:443/rtmp/FB-1-0-Ab?s_bl=1&s_ps=1&a=Abx/y",
        "live-api-s.facebook.com",
        443,
        "rtmp",
        "FB-1-0-Ab?s_bl=1&s_ps=1&a=Abx/y",
        "rtmps://live-api-s.facebook.com/rtmp",
        "rtmps://live-api-s.facebook.com/rtmp/***",
    ),
    // Twitch
    (
        "rtmp://live.twitch.tv/app/live_12_xyz?bandwidthtest=true",
        "live.twitch.tv",
        1935,
        "app",
        "live_12_xyz?bandwidthtest=true",
        "rtmp://live.twitch.tv/app",
        "rtmp://live.twitch.tv/app/***",
    ),
    // Kick
    (
        "rtmps://fa7.global-contribute.live-video.net/app/sk_us-west-2_x",
        "fa7.global-contribute.live-video.net",
        443,
        "app",
        "sk_us-west-2_x",
        "rtmps://fa7.global-contribute.live-video.net/app",
        "rtmps://fa7.global-contribute.live-video.net/app/***",
    ),
    // nginx-rtmp, with a port and with white space from pasting
    (
        " rtmp://h/app/key\n",
        "h",
        1935,
        "app",
        "key",
        "rtmp://h/app",
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
        "rtmp://h/app/_definst_",
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
        "rtmp://h/app/inst",
        "rtmp://h/app/***",
    ),
    (
        "rtmp://h/app/mp4:a/b",
        "h",
        1935,
        "app",
        "mp4:a/b",
        "rtmp://h/app",
        "rtmp://h/app/***",
    ),
    // A query in the application
    (
        "rtmp://h/app?token=a/key",
        "h",
        1935,
        "app?token=a",
        "key",
        "rtmp://h/app?token=a",
        "rtmp://h/app/***",
    ),
    // No application
    (
        "rtmp://h//key",
        "h",
        1935,
        "",
        "key",
        "rtmp://h/",
        "rtmp://h//***",
    ),
    // A key that ends in a slash
    (
        "rtmp://h/app/key/",
        "h",
        1935,
        "app",
        "key/",
        "rtmp://h/app",
        "rtmp://h/app/***",
    ),
    // IPv6
    (
        "rtmp://[2001:db8::1]/app/key",
        "2001:db8::1",
        1935,
        "app",
        "key",
        "rtmp://[2001:db8::1]/app",
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
        ("rtmp://h", UrlError::NoKey),
        ("rtmp://h/", UrlError::NoKey),
        ("rtmp://h/app", UrlError::NoKey),
        ("rtmp://h/app/", UrlError::NoKey),
        ("rtmp://h/app/?x=1", UrlError::NoKey),
        ("rtmp://h/app?x=1", UrlError::NoKey),
        ("rtmp://h?/app/key", UrlError::NoKey),
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
    let words = RtmpUrl::parse("rtmp://h/app").unwrap_err().to_string();
    assert_eq!(
        words,
        "the address has no stream key: write rtmp://host/application/key"
    );
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(rtmps?://)?[a-z@:/?#\\[\\]0-9 é.]{0,40}") {
        let _ = RtmpUrl::parse(&text);
    }

    #[test]
    fn no_secret_is_ever_shown(key in "[A-Z]{8}", password in "[G-Z]{8}", value in "[A-Z]{8}") {
        let text = format!("rtmp://me:{password}@host/app?t={value}/{key}?a={value}");
        let url = RtmpUrl::parse(&text).unwrap();
        prop_assert_eq!(url.stream_key(), format!("{key}?a={value}"));
        let shown = format!("{url:?} {}", url.redacted());
        for secret in [&key, &password, &value] {
            prop_assert!(!shown.contains(secret.as_str()), "{shown}");
        }
    }
}
