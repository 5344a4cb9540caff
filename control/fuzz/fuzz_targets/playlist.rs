//! Any address below `/{app}/streams/`, with any query, asked of any show: names and delivery directives are read
//! without a panic, what is waited for stays there once it has come, and the playlist that answers names files that
//! can be asked for.
//!
//! ```text
//!   segments listed │ parts of each segment │ what is left out │ path?query
//! ```
#![no_main]

use std::collections::HashMap;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use shardcast_link::fragment::FragmentHead;

use self::hls::{
    breaks::Breaks,
    media::Media,
    names::Name,
    playlist::{Wish, media_playlist},
    reload::Reload,
};

#[allow(dead_code, reason = "the rest of control needs the rest")]
mod hls;
#[allow(dead_code, reason = "as above")]
#[path = "../../src/limits.rs"]
mod limits;
#[allow(dead_code, reason = "as above")]
#[path = "../../src/mpegts/mod.rs"]
mod mpegts;

const SEGMENTS: u64 = 12;
const FIRST: u64 = 60_000_000;

/// A part of `segment`, 0.3 s long, as a shard hands it over.
fn part(segment: u64, part: u32, last: bool, discontinuity: bool) -> (FragmentHead, Bytes) {
    let begins = (part == 0).then(|| {
        json!({
            "at_unix_ms": 1_800_000_000_000_u64 + segment,
            "discontinuity": discontinuity,
            "discontinuities": u64::from(discontinuity),
            "init_bytes": 4,
            "codecs": "avc1.42c01f,mp4a.40.2",
            "width": 1_280,
            "height": 720,
            "wanted_ms": 2_000,
        })
    });
    let body = if begins.is_some() {
        "initmedia"
    } else {
        "media"
    };
    let head = json!({
        "broadcast": "live/one",
        "segment": segment,
        "part": part,
        "duration_us": 300_000,
        "independent": part == 0,
        "last": last,
        "begins": begins,
    });
    (
        serde_json::from_value(head).unwrap(),
        Bytes::from_static(body.as_bytes()),
    )
}

/// Names of all files in a playlist, without their queries.
fn files<'a>(playlist: &'a str, query: &str) -> Vec<&'a str> {
    let lines = playlist
        .lines()
        .filter_map(|line| match line.strip_prefix('#') {
            None => Some(line),
            Some(tag) => tag.split_once("URI=\"")?.1.split_once('"').map(|it| it.0),
        });
    let without_query = |file: &'a str| file.strip_suffix(query).expect("a file without the query");
    lines.map(without_query).collect()
}

fn check(media: &Media, asked: Reload, query: &str) {
    let wish = |skip| Wish {
        skip,
        query,
        ..Wish::default()
    };
    let whole = media_playlist("one", media, wish(false));
    let playlist = media_playlist("one", media, wish(asked.skip));
    assert!(playlist.starts_with("#EXTM3U\n"));
    for file in files(&playlist, query) {
        let name = Name::parse(file).expect("a name of HLS");
        assert_eq!(name.stream(), "one");
        match name {
            Name::Segment { number, .. } => assert!(media.segment(number).is_some()),
            Name::Init { tag, .. } => assert!(media.init(tag).is_some()),
            _ => {}
        }
    }
    // What a delta update leaves out is what it says.
    let segments = |text: &str| text.matches("#EXTINF:").count();
    let skipped = playlist
        .split_once("SKIPPED-SEGMENTS=")
        .map_or(0, |(_, rest)| {
            rest.lines().next().unwrap().parse::<usize>().unwrap()
        });
    assert_eq!(segments(&playlist) + skipped, segments(&whole));
}

fuzz_target!(|data: &[u8]| {
    let Some((&[listed, parts, left_out], address)) = data.split_first_chunk::<3>() else {
        return;
    };
    let address = String::from_utf8_lossy(address);
    let (path, query) = address.split_once('?').unwrap_or((&*address, ""));
    if let Some(name) = Name::parse(path) {
        assert_eq!(Name::parse(&hls::written(name)), Some(name), "{path}");
    }
    let mut parameters: HashMap<String, String> = url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let token = parameters.remove("token").unwrap_or_default();
    let Ok(asked) = Reload::read(&parameters) else {
        return;
    };
    let query = match token.is_empty() {
        true => String::new(),
        false => {
            let mut query = url::form_urlencoded::Serializer::for_suffix("?".to_owned(), 1);
            query.append_pair("token", &token).finish()
        }
    };

    let mut media = Media::new(usize::from(listed % 8) + 1);
    let mut breaks = Breaks::default();
    let mut has_come = false;
    let parts = u32::from(parts % 5) + 1;
    for n in 0..SEGMENTS {
        for p in 0..parts {
            // A part that control has not read in time.
            if (n * u64::from(parts) + u64::from(p)) % 29 == u64::from(left_out) {
                continue;
            }
            let (head, body) = part(FIRST + n, p, p + 1 == parts, n == u64::from(left_out >> 4));
            media.take(&head, body, &mut breaks);
            let number = asked
                .number
                .map(|number| if number < 64 { FIRST + number } else { number });
            let has = number.is_some_and(|number| media.has(number, asked.part));
            assert!(has || !has_come, "what has come is gone");
            has_come = has;
        }
    }
    check(&media, asked, &query);
    let (head, _) = part(0, 1, true, false);
    let ends = FragmentHead { ends: true, ..head };
    media.take(&ends, Bytes::new(), &mut breaks);
    assert!(media.is_ended() && media.has(asked.number.unwrap_or(0), asked.part));
    check(&media, asked, &query);
});
