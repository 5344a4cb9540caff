//! Playlists (RFC 8216bis), as functions of what is kept.

use std::fmt::Write as _;

use shardcast_link::fragment::PART_MS_MAX;

use super::{
    media::{Media, Segment},
    names,
};

/// Parts are listed in this many target durations from the live edge (6.2.2 asks for no more).
const PARTS_TARGETS: u64 = 3;
/// A delta update leaves out what is older than so many target durations (4.4.3.8: at least six).
const SKIP_TARGETS: u64 = 6;
/// Distance of players that know nothing of parts, in target durations (4.4.3.8: at least three).
const HOLD_BACK_TARGETS: u64 = 3;
/// The same of others, in thousandths of a part's target (4.4.3.8: at least two, better three).
const PART_HOLD_BACK_MILLI: u64 = 3_500;

/// What a player asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish<'a> {
    /// A delta update.
    pub(crate) skip: bool,
    /// Goes behind each address, from the question mark on.
    pub(crate) query: &'a str,
    /// The other playlists that the player may change to.
    pub(crate) others: &'a [Report],
}

/// How far another playlist is (RFC 8216bis, 4.4.5.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// Address of the playlist, as this one leads to it.
    name: String,
    /// Numbers of its last segment, and of its last part.
    segment: u64,
    part: usize,
}

impl Report {
    /// Of the playlist `name`; `None` while nobody can play it.
    pub(crate) fn of(name: String, media: &Media) -> Option<Self> {
        let (segment, part) = media.last_part().filter(|_| !media.is_ended())?;
        let report = Self {
            name,
            segment,
            part,
        };
        media.has_segment().then_some(report)
    }
}

/// The media playlist of `stream`.
pub(crate) fn media_playlist(stream: &str, media: &Media, wish: Wish<'_>) -> String {
    let listed: Vec<&Segment> = media.listed().collect();
    let target_s = media.target_s().max(1);
    let skipped = if wish.skip && !media.is_ended() {
        skipped(&listed, SKIP_TARGETS * target_s * 1_000_000)
    } else {
        0
    };
    let mut out = head(media, &listed, target_s);
    if skipped > 0 {
        let _ = writeln!(out, "#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}");
    }
    let mut init = skipped
        .checked_sub(1)
        .and_then(|last| listed.get(last))
        .map(|it| it.init.tag);
    let mut left_us: u64 = listed.iter().skip(skipped).map(|it| it.duration_us()).sum();
    for segment in listed.iter().skip(skipped) {
        put_breaks(&mut out, segment);
        if init != Some(segment.init.tag) {
            init = Some(segment.init.tag);
            let name = names::init(stream, segment.init.tag);
            let _ = writeln!(out, "#EXT-X-MAP:URI=\"{name}{}\"", wish.query);
        }
        let _ = writeln!(
            out,
            "#EXT-X-PROGRAM-DATE-TIME:{}",
            date_time(segment.at.unix_ms)
        );
        let has_parts = left_us <= PARTS_TARGETS * target_s * 1_000_000 && !media.is_ended();
        if has_parts || !segment.is_complete {
            put_parts(&mut out, stream, segment, wish.query);
        }
        left_us -= segment.duration_us();
        if segment.is_complete {
            let name = names::segment(stream, segment.number);
            let _ = writeln!(
                out,
                "#EXTINF:{},\n{name}{}",
                seconds(segment.duration_us()),
                wish.query
            );
        }
    }
    if media.is_ended() {
        out.push_str("#EXT-X-ENDLIST\n");
    } else if let Some((number, part)) = media.next_part() {
        let name = names::part(stream, number, part);
        let _ = writeln!(
            out,
            "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{name}{}\"",
            wish.query
        );
        put_reports(&mut out, wish);
    }
    out
}

/// The media playlist of `stream` with segments of MPEG-TS, and without what old players do not know (RFC 8216, version 3).
pub(crate) fn transport_playlist(stream: &str, media: &Media, query: &str) -> String {
    let listed: Vec<&Segment> = media.listed().filter(|it| it.is_complete).collect();
    let target_s = media.target_s().max(1);
    let mut out = format!("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:{target_s}\n");
    put_sequences(&mut out, &listed);
    for segment in listed {
        put_breaks(&mut out, segment);
        let date_time = date_time(segment.at.unix_ms);
        let duration = seconds(segment.duration_us());
        let name = names::transport(stream, segment.number);
        let _ = writeln!(
            out,
            "#EXT-X-PROGRAM-DATE-TIME:{date_time}\n#EXTINF:{duration},\n{name}{query}"
        );
    }
    if media.is_ended() {
        out.push_str("#EXT-X-ENDLIST\n");
    }
    out
}

fn put_breaks(out: &mut String, segment: &Segment) {
    for _ in 0..segment.breaks {
        out.push_str("#EXT-X-DISCONTINUITY\n");
    }
}

/// The numbers that the first segment has.
fn put_sequences(out: &mut String, listed: &[&Segment]) {
    if let Some(first) = listed.first() {
        let before = first.discontinuities - first.breaks;
        let _ = writeln!(out, "#EXT-X-MEDIA-SEQUENCE:{}", first.number);
        let _ = writeln!(out, "#EXT-X-DISCONTINUITY-SEQUENCE:{before}");
    }
}

fn put_reports(out: &mut String, wish: Wish<'_>) {
    for Report {
        name,
        segment,
        part,
    } in wish.others
    {
        let _ = writeln!(
            out,
            "#EXT-X-RENDITION-REPORT:URI=\"{name}{}\",LAST-MSN={segment},LAST-PART={part}",
            wish.query
        );
    }
}

fn head(media: &Media, listed: &[&Segment], target_s: u64) -> String {
    let mut out = String::with_capacity(256 + listed.len() * 512);
    out.push_str("#EXTM3U\n#EXT-X-VERSION:9\n");
    let _ = writeln!(out, "#EXT-X-TARGETDURATION:{target_s}");
    if !media.is_ended() {
        let part_ms = u64::from(PART_MS_MAX);
        let _ = writeln!(
            out,
            "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL={}.0,HOLD-BACK={}.0,PART-HOLD-BACK={}",
            SKIP_TARGETS * target_s,
            HOLD_BACK_TARGETS * target_s,
            seconds(part_ms * PART_HOLD_BACK_MILLI),
        );
        let _ = writeln!(
            out,
            "#EXT-X-PART-INF:PART-TARGET={}",
            seconds(part_ms * 1_000)
        );
    }
    put_sequences(&mut out, listed);
    let begins = |segment: &&Segment| segment.parts.first().is_none_or(|part| part.independent);
    if listed.iter().all(begins) {
        out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    out
}

/// How many segments are older than `until_us` from the end.
fn skipped(listed: &[&Segment], until_us: u64) -> usize {
    let mut behind_us: u64 = listed.iter().map(|it| it.duration_us()).sum();
    let old = listed.iter().take_while(|segment| {
        let is_old = segment.is_complete && behind_us > until_us;
        behind_us -= segment.duration_us();
        // What begins at the bound or behind it stays.
        is_old && behind_us >= until_us
    });
    old.count()
}

fn put_parts(out: &mut String, stream: &str, segment: &Segment, query: &str) {
    for (number, part) in segment.parts.iter().enumerate() {
        let name = names::part(stream, segment.number, number);
        let duration = seconds(part.duration_us);
        let independent = if part.independent {
            ",INDEPENDENT=YES"
        } else {
            ""
        };
        let _ = writeln!(
            out,
            "#EXT-X-PART:DURATION={duration},URI=\"{name}{query}\"{independent}"
        );
    }
}

/// What a variant is said to be at least.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Least {
    /// Bits a second.
    pub(crate) bps: u64,
    pub(crate) frames_per_second: u32,
}

/// One variant of a multivariant playlist, its media playlist at `address`; `None` before there is a whole segment.
pub(crate) fn variant(media: &Media, least: Least, address: &str) -> Option<String> {
    let complete = || media.segments().iter().filter(|it| it.is_complete);
    let bps = |segment: &Segment| {
        let duration_us = segment.duration_us().max(1);
        segment.bytes() as u64 * 8_000_000 / duration_us
    };
    let peak_bps = complete().map(bps).max()?.max(least.bps);
    let bytes: u64 = complete().map(|it| it.bytes() as u64).sum();
    let duration_us: u64 = complete().map(Segment::duration_us).sum();
    let mean_bps = bytes * 8_000_000 / duration_us.max(1);
    let init = &complete().next_back()?.init;
    let mut out = String::from("#EXT-X-STREAM-INF:");
    let _ = write!(out, "BANDWIDTH={peak_bps},AVERAGE-BANDWIDTH={mean_bps}");
    let _ = write!(out, ",CODECS=\"{}\"", init.codecs);
    if init.size.0 > 0 {
        let (width, height) = init.size;
        let _ = write!(out, ",RESOLUTION={width}x{height}");
        let frames_per_second = media.frames_per_second().max(least.frames_per_second);
        if frames_per_second > 0 {
            let _ = write!(out, ",FRAME-RATE={frames_per_second}.000");
        }
    }
    let _ = writeln!(out, "\n{address}");
    Some(out)
}

/// The multivariant playlist of `variants`, in this version; `None` where there is none. A player begins with the first.
pub(crate) fn multivariant_playlist(version: u32, variants: &[String]) -> Option<String> {
    let head = format!("#EXTM3U\n#EXT-X-VERSION:{version}\n");
    (!variants.is_empty()).then(|| head + &variants.concat())
}

/// A decimal number of seconds.
fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

/// ISO 8601, with milliseconds, in UTC.
pub(crate) fn date_time(unix_ms: u64) -> String {
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    let (year, month, day) = civil(days);
    let (s, ms) = (ms / 1_000, ms % 1_000);
    let (hour, minute, s) = (s / 3_600, s / 60 % 60, s % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{s:02}.{ms:03}Z")
}

/// Year, month and day in the Gregorian calendar, so many days after 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    // Counted in eras of 400 years from a 1 March, so that leap days come last.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_utc_to_the_millisecond() {
        for (unix_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_826_154_007, "2000-02-29T12:09:14.007Z"),
            (1_795_982_400_999, "2026-11-29T20:00:00.999Z"),
        ] {
            assert_eq!(date_time(unix_ms), text);
        }
        assert_eq!(seconds(2_033_333), "2.033333");
    }
}
