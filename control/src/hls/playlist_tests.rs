//! Playlists of many shows keep the rules of RFC 8216bis, which are read here from the text of the playlist alone,
//! and from one playlist to the next.

use std::{collections::HashSet, ops::Range};

use bytes::Bytes;
use shardcast_link::{
    BroadcastId,
    fragment::{FragmentHead, SegmentHead},
};

use super::{
    breaks::Breaks,
    media::Media,
    playlist::{
        Least, Report, Wish, media_playlist, multivariant_playlist, transport_playlist, variant,
    },
};

/// What a shard says of a part of 0.3 s.
pub(crate) fn head(segment: u64, part: u32, last: bool) -> FragmentHead {
    let begins = (part == 0).then(|| SegmentHead {
        at_unix_ms: 1_795_976_430_000 + segment * 900,
        at_us: 5_000_000 + segment as i64 * 900_000,
        discontinuity: false,
        discontinuities: 0,
        init_bytes: 4,
        codecs: "avc1.42c01f,mp4a.40.2".into(),
        width: 1_280,
        height: 720,
        wanted_ms: 2_000,
        frames_per_second: 0,
        rungs: None,
    });
    FragmentHead {
        broadcast: BroadcastId::new("app", "one").unwrap(),
        rung: None,
        segment,
        part,
        duration_us: 300_000,
        independent: part == 0,
        last,
        begins,
        ends: false,
    }
}

/// Media that a shard hands over.
pub(super) struct Show {
    pub(super) media: Media,
    breaks: Breaks,
}

impl Show {
    pub(super) fn new(list_size: usize) -> Self {
        Self {
            media: Media::new(list_size),
            breaks: Breaks::default(),
        }
    }

    pub(super) fn part(&mut self, segment: u64, part: u32, last: bool) {
        self.head(&head(segment, part, last), b"init");
    }

    fn head(&mut self, head: &FragmentHead, init: &[u8]) {
        let body = match head.begins {
            Some(_) => [init, b"media"].concat(),
            None => b"media".to_vec(),
        };
        self.media.take(head, Bytes::from(body), &mut self.breaks);
    }

    /// Segments of three parts.
    pub(super) fn segments(&mut self, numbers: Range<u64>) {
        for number in numbers {
            (0..3).for_each(|part| self.part(number, part, part == 2));
        }
    }

    pub(super) fn end(&mut self) {
        let head = FragmentHead {
            ends: true,
            ..head(0, 1, true)
        };
        self.media.take(&head, Bytes::new(), &mut self.breaks);
    }

    fn playlist(&self) -> String {
        self.playlist_beside(&[])
    }

    fn playlist_beside(&self, others: &[Report]) -> String {
        let wish = Wish {
            others,
            ..Wish::default()
        };
        let text = media_playlist("one", &self.media, wish);
        Rules::read(&text).check(&text);
        read_by_m3u8_rs(&text, &self.media);
        text
    }
}

/// Another's reader finds the same in a playlist.
fn read_by_m3u8_rs(text: &str, media: &Media) {
    let read = m3u8_rs::parse_media_playlist_res(text.as_bytes()).unwrap();
    let listed: Vec<_> = media.listed().filter(|it| it.is_complete).collect();
    assert_eq!(read.segments.len(), listed.len(), "{text}");
    assert_eq!(read.end_list, media.is_ended());
    assert_eq!(read.target_duration, media.target_s().max(1));
    for (n, (read, segment)) in read.segments.iter().zip(listed).enumerate() {
        let length_s = segment.duration_us() as f32 / 1_000_000.0;
        assert!((read.duration - length_s).abs() < 0.001, "{text}");
        assert_eq!(read.discontinuity, segment.breaks > 0, "{text}");
        assert!(read.program_date_time.is_some() && (n > 0 || read.map.is_some()));
    }
}

/// What a player reads in a playlist.
#[derive(Default)]
struct Rules {
    target_s: f64,
    part_target_s: f64,
    hold_back_s: f64,
    part_hold_back_s: f64,
    skip_until_s: f64,
    number: u64,
    discontinuities: u64,
    skipped: usize,
    /// Each whole segment: its address, its length and that of its parts, and its discontinuity number.
    segments: Vec<(String, f64, Vec<f64>, u64)>,
    /// Parts of the one that is not whole yet.
    open: Vec<f64>,
    hint: Option<String>,
    /// Of other playlists: address, segment and part.
    reports: Vec<(String, u64, u64)>,
    is_ended: bool,
    has_map: bool,
}

impl Rules {
    fn read(text: &str) -> Self {
        let mut rules = Self::default();
        let (mut parts, mut length, mut count) = (Vec::new(), None, 0);
        assert_eq!(text.lines().next(), Some("#EXTM3U"));
        for line in text.lines().skip(1) {
            let (tag, value) = line.split_once(':').unwrap_or((line, ""));
            let attribute = |name: &str| {
                let mut all = value.split(',').filter_map(|it| it.split_once('='));
                let (_, value) = all.find(|(key, _)| *key == name).unwrap();
                value.trim_matches('"').to_owned()
            };
            let seconds = |name: &str| attribute(name).parse::<f64>().unwrap();
            match tag {
                "#EXT-X-TARGETDURATION" => rules.target_s = value.parse().unwrap(),
                "#EXT-X-PART-INF" => rules.part_target_s = seconds("PART-TARGET"),
                "#EXT-X-SERVER-CONTROL" => {
                    assert_eq!(attribute("CAN-BLOCK-RELOAD"), "YES");
                    rules.hold_back_s = seconds("HOLD-BACK");
                    rules.part_hold_back_s = seconds("PART-HOLD-BACK");
                    rules.skip_until_s = seconds("CAN-SKIP-UNTIL");
                }
                "#EXT-X-MEDIA-SEQUENCE" => rules.number = value.parse().unwrap(),
                "#EXT-X-DISCONTINUITY-SEQUENCE" => rules.discontinuities = value.parse().unwrap(),
                "#EXT-X-SKIP" => rules.skipped = attribute("SKIPPED-SEGMENTS").parse().unwrap(),
                "#EXT-X-DISCONTINUITY" => count += 1,
                "#EXT-X-PART" => parts.push(seconds("DURATION")),
                "#EXTINF" => length = Some(value.trim_end_matches(',').parse::<f64>().unwrap()),
                "#EXT-X-PRELOAD-HINT" => rules.hint = Some(attribute("URI")),
                "#EXT-X-RENDITION-REPORT" => {
                    let number = |name: &str| attribute(name).parse::<u64>().unwrap();
                    let last = (number("LAST-MSN"), number("LAST-PART"));
                    rules.reports.push((attribute("URI"), last.0, last.1));
                }
                "#EXT-X-ENDLIST" => rules.is_ended = true,
                "#EXT-X-MAP" => rules.has_map = true,
                "#EXT-X-VERSION" => assert!(value.parse::<u32>().unwrap() >= 9),
                "#EXT-X-INDEPENDENT-SEGMENTS" | "#EXT-X-PROGRAM-DATE-TIME" => {}
                _ if line.starts_with('#') => panic!("a tag that no rule is known for: {line}"),
                address => {
                    let length = length.take().expect("a length before each address");
                    let number = rules.discontinuities + count;
                    let parts = std::mem::take(&mut parts);
                    rules
                        .segments
                        .push((address.to_owned(), length, parts, number));
                }
            }
        }
        rules.open = parts;
        rules
    }

    fn check(&self, text: &str) {
        let last = self.segments.len().saturating_sub(1);
        for (n, (address, length, parts, _)) in self.segments.iter().enumerate() {
            // 4.4.3.1: rounded to the nearest second.
            assert!(length.round() <= self.target_s, "{length} s in\n{text}");
            // Numbers are those of the names.
            let number = self.number + (self.skipped + n) as u64;
            assert_eq!(*address, format!("one{number:09}.m4s"), "{text}");
            if !parts.is_empty() {
                let sum: f64 = parts.iter().sum();
                assert!((sum - length).abs() < 0.001, "{sum} of {length}:\n{text}");
                self.check_parts(&parts[..parts.len() - 1], text);
            }
            // 4.4.4.9: parts are listed near the live edge.
            if n == last && !self.is_ended {
                assert!(!parts.is_empty(), "{text}");
            }
        }
        self.check_parts(&self.open, text);
        if self.is_ended {
            assert!(self.hint.is_none() && self.open.is_empty(), "{text}");
            assert!(self.reports.is_empty(), "{text}");
            return;
        }
        // 4.4.3.8.
        assert!(self.hold_back_s >= 3.0 * self.target_s, "{text}");
        assert!(self.part_hold_back_s >= 3.0 * self.part_target_s, "{text}");
        assert!(self.skip_until_s >= 6.0 * self.target_s, "{text}");
        assert!(self.has_map || self.skipped > 0, "{text}");
        // 4.4.5.3: what comes next.
        let number = self.number + (self.skipped + self.segments.len()) as u64;
        let hint = format!("one{number:09}.{}.m4s", self.open.len());
        assert_eq!(self.hint, Some(hint), "{text}");
    }

    /// 4.4.4.9: no part is longer than the target, and but for the last of a segment each has 85 % of it.
    fn check_parts(&self, parts: &[f64], text: &str) {
        for part in parts {
            assert!(*part <= self.part_target_s, "{part} s in\n{text}");
            assert!(*part >= 0.85 * self.part_target_s, "{part} s in\n{text}");
        }
    }

    /// A playlist is the one before with what came since (6.2.1).
    fn follows(&self, before: &Self, text: &str) {
        assert!(self.number >= before.number, "{text}");
        let gone = usize::try_from(self.number - before.number).unwrap();
        for ((address, length, _, discontinuity), after) in
            before.segments.iter().skip(gone).zip(&self.segments)
        {
            let same = (address, length, discontinuity) == (&after.0, &after.1, &after.3);
            assert!(same, "{address} has changed:\n{text}");
        }
    }
}

#[test]
fn each_playlist_of_a_show_keeps_the_rules_and_follows_from_the_one_before() {
    for list_size in [5, 15, 40] {
        for parts in [1, 3, 7] {
            for init_changes_each in [u64::MAX, 7, 1] {
                let mut show = Show::new(list_size);
                let mut before: Option<Rules> = None;
                for n in 0..60_u64 {
                    let number = 100 + n;
                    for part in 0..parts {
                        let mut head = head(number, part, part + 1 == parts);
                        let changes = n > 0 && n.is_multiple_of(init_changes_each);
                        if let Some(begins) = &mut head.begins {
                            begins.discontinuity = changes;
                        }
                        if head.last {
                            head.duration_us = 170_000;
                        }
                        let init = (n / init_changes_each).to_string();
                        show.head(&head, format!("{init:4}").as_bytes());
                        let text = show.playlist();
                        let rules = Rules::read(&text);
                        if let Some(before) = &before {
                            rules.follows(before, &text);
                        }
                        before = Some(rules);
                    }
                }
                let listed = before.unwrap().segments.len();
                assert_eq!(listed, list_size);
            }
        }
    }
}

#[test]
fn losses_and_restarts_keep_the_rules_too() {
    for lost in 1..40_u64 {
        let mut show = Show::new(8);
        let mut before: Option<Rules> = None;
        for n in 0..60_u64 {
            // Some parts are lost, and in the middle the engine is another.
            if n % lost != 3 {
                let number = if n < 30 { n / 3 } else { 5_000 + n / 3 };
                show.part(number, (n % 3) as u32, n % 3 == 2);
            }
            if !show.media.has_segment() {
                continue;
            }
            let text = media_playlist("one", &show.media, Wish::default());
            let rules = Rules::read(&text);
            if let Some(before) = &before {
                rules.follows(before, &text);
            }
            before = Some(rules);
        }
    }
}

#[test]
fn a_delta_update_leaves_out_what_is_old_and_says_how_much() {
    let skip = Wish {
        skip: true,
        ..Wish::default()
    };
    let mut show = Show::new(40);
    show.segments(0..20);
    // 0.9 s each: all are within six target durations.
    let whole = show.playlist();
    assert_eq!(media_playlist("one", &show.media, skip), whole);
    show.segments(20..40);
    let (whole, delta) = (show.playlist(), media_playlist("one", &show.media, skip));
    assert!(delta.len() < whole.len());
    let (whole, update) = (Rules::read(&whole), Rules::read(&delta));
    update.check(&delta);
    assert!(update.skipped > 0);
    assert_eq!(update.skipped + update.segments.len(), whole.segments.len());
    let left: f64 = update.segments.iter().map(|it| it.1).sum();
    assert!((18.0..18.0 + 0.9).contains(&left), "{left}");
}

#[test]
fn keyframes_that_are_far_apart_make_the_target_grow_and_no_segment_is_over_it() {
    let mut show = Show::new(5);
    show.segments(0..3);
    assert!(show.playlist().contains("#EXT-X-TARGETDURATION:3\n"));
    (0..30).for_each(|part| show.part(3, part, part == 29));
    assert!(show.playlist().contains("#EXT-X-TARGETDURATION:9\n"));
}

#[test]
fn the_end_is_said_and_addresses_carry_the_query() {
    let mut show = Show::new(5);
    show.segments(0..3);
    let query = Wish {
        query: "?token=a%26b",
        ..Wish::default()
    };
    let text = media_playlist("one", &show.media, query);
    for address in [
        "\none000000001.m4s?token=a%26b\n",
        "URI=\"one000000001.2.m4s?token=a%26b\"",
        "URI=\"one000000003.0.m4s?token=a%26b\"",
        ".init.m4s?token=a%26b\"",
    ] {
        assert!(text.contains(address), "{address}:\n{text}");
    }
    show.end();
    let text = show.playlist();
    assert!(text.ends_with("#EXT-X-ENDLIST\n") && !text.contains("EXT-X-PART"));
}

#[test]
fn the_multivariant_playlist_says_what_each_variant_needs() {
    let mut show = Show::new(5);
    let least = |bps, frames_per_second| Least {
        bps,
        frames_per_second,
    };
    assert_eq!(variant(&show.media, least(0, 0), "one.m3u8"), None);
    assert_eq!(multivariant_playlist(6, &[]), None);
    show.segments(0..3);
    let mut rung = Show::new(5);
    let mut head = head(0, 0, true);
    if let Some(begins) = &mut head.begins {
        (begins.width, begins.height, begins.frames_per_second) = (320, 180, 30);
    }
    rung.head(&head, b"init");
    let source = variant(&show.media, least(0, 25), "one.m3u8").unwrap();
    let rung = variant(
        &rung.media,
        least(500_000, 0),
        "one_180p500kbps.m3u8?token=t",
    )
    .unwrap();
    let text = multivariant_playlist(6, &[source, rung]).unwrap();
    // Three parts of five bytes in 0.9 s; and what a rung is said to take, if it takes less.
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        [
            "#EXTM3U",
            "#EXT-X-VERSION:6",
            "#EXT-X-STREAM-INF:BANDWIDTH=133,AVERAGE-BANDWIDTH=133,\
             CODECS=\"avc1.42c01f,mp4a.40.2\",RESOLUTION=1280x720,FRAME-RATE=25.000",
            "one.m3u8",
            "#EXT-X-STREAM-INF:BANDWIDTH=500000,AVERAGE-BANDWIDTH=133,\
             CODECS=\"avc1.42c01f,mp4a.40.2\",RESOLUTION=320x180,FRAME-RATE=30.000",
            "one_180p500kbps.m3u8?token=t",
        ]
    );
    let read = m3u8_rs::parse_master_playlist_res(text.as_bytes()).unwrap();
    let variants = read
        .variants
        .iter()
        .map(|it| (it.bandwidth, it.uri.as_str()));
    let expected = [(133, "one.m3u8"), (500_000, "one_180p500kbps.m3u8?token=t")];
    assert!(variants.eq(expected), "{text}");
    assert_eq!(read.variants[1].frame_rate, Some(30.0));
}

#[test]
fn a_playlist_of_mpeg_ts_has_whole_segments_alone_and_no_tag_that_version_3_lacks() {
    let mut show = Show::new(5);
    show.segments(0..7);
    show.part(9, 0, false);
    let text = transport_playlist("one", &show.media, "?token=t");
    let read = m3u8_rs::parse_media_playlist_res(text.as_bytes()).unwrap();
    let addresses: Vec<&str> = read.segments.iter().map(|it| it.uri.as_str()).collect();
    let expected: Vec<String> = (2..7).map(|n| format!("one{n:09}.ts?token=t")).collect();
    assert_eq!(addresses, expected);
    assert_eq!((read.version, read.media_sequence), (Some(3), 2));
    show.segments(20..21);
    let text = transport_playlist("one", &show.media, "");
    let tags: HashSet<&str> = text
        .lines()
        .filter_map(|it| it.strip_prefix("#EXT")?.split(':').next())
        .collect();
    let known = [
        "M3U",
        "-X-VERSION",
        "-X-TARGETDURATION",
        "-X-MEDIA-SEQUENCE",
        "-X-DISCONTINUITY-SEQUENCE",
        "-X-DISCONTINUITY",
        "-X-PROGRAM-DATE-TIME",
        "INF",
    ];
    assert_eq!(tags, HashSet::from(known), "{text}");
}

#[test]
fn a_playlist_says_how_far_those_are_that_a_player_may_change_to() {
    let (mut show, mut rung) = (Show::new(5), Show::new(5));
    show.segments(0..3);
    let report = |rung: &Show| Report::of("one_180p500kbps.m3u8".into(), &rung.media);
    rung.part(7, 0, false);
    assert_eq!(report(&rung), None, "nobody can play it");
    rung.part(7, 1, true);
    let reported = |rung: &Show| {
        let others: Vec<Report> = report(rung).into_iter().collect();
        Rules::read(&show.playlist_beside(&others)).reports
    };
    let at = |segment: u64, part: u64| [("one_180p500kbps.m3u8".to_owned(), segment, part)];
    assert_eq!(reported(&rung), at(7, 1));
    rung.part(8, 0, false);
    assert_eq!(reported(&rung), at(8, 0));
    rung.end();
    assert!(reported(&rung).is_empty());
    let others: Vec<Report> = Report::of("one.m3u8".into(), &show.media)
        .into_iter()
        .collect();
    show.end();
    show.playlist_beside(&others);
}
