//! The manifest of a live show (ISO/IEC 23009-1, 5.3), as a function of what is kept.
//!
//! Its time is Unix time: it is said to have begun in 1970, and each period says where in that it begins and which media
//! time that is. So nothing has to be remembered when a period leaves the manifest, or control is started anew.

use std::{fmt::Write as _, sync::Arc};

use shardcast_cmaf::{Codec, Track, ticks};
use shardcast_link::fragment::RungName;

use super::names;
use crate::hls::{Init, Kind, Media, Period, Segment, Span, names::stem, playlist::date_time};

/// Players stay behind live by so many segments: one that is being made, one on its way, one in hand.
const DELAY_SEGMENTS: u64 = 3;
/// Media clocks that differ by less are one: times of segments are rounded to milliseconds.
const SAME_CLOCK_MS: u64 = 20;
/// Where clients read what time it is, from a manifest on.
const TIME: &str = "../time";

/// What is in the manifest of one ring: the publisher's video, or a rung.
#[derive(Debug)]
pub(crate) struct Presentation {
    rung: Option<RungName>,
    rows: Vec<Row>,
    frames_per_second: u32,
    target_s: u64,
    is_ended: bool,
}

/// A segment.
#[derive(Debug)]
struct Row {
    at_unix_ms: u64,
    at_us: i64,
    ends_unix_ms: u64,
    period: Period,
    init: Arc<Init>,
    video: Option<Span>,
    audio: Option<Span>,
}

impl Row {
    fn new(segment: &Segment) -> Self {
        let (at, length_ms) = (segment.at, segment.duration_us() / 1_000);
        Self {
            at_unix_ms: at.unix_ms,
            at_us: at.media_us,
            ends_unix_ms: at.unix_ms + length_ms,
            period: segment.period,
            init: Arc::clone(&segment.init),
            video: segment.span(Kind::Video),
            audio: segment.span(Kind::Audio),
        }
    }

    fn span(&self, kind: Kind) -> Option<Span> {
        match kind {
            Kind::Video => self.video,
            Kind::Audio => self.audio,
        }
    }

    /// When the media clock was zero, in Unix milliseconds.
    fn clock_ms(&self) -> i64 {
        self.at_unix_ms.cast_signed() - self.at_us / 1_000
    }
}

impl Presentation {
    /// Of what a playlist lists.
    pub(crate) fn of(rung: Option<RungName>, media: &Media) -> Self {
        let complete = media.listed().filter(|segment| segment.is_complete);
        Self {
            rung,
            rows: complete.map(Row::new).collect(),
            frames_per_second: media.frames_per_second(),
            target_s: media.target_s().max(2),
            is_ended: media.is_ended(),
        }
    }
}

/// What a manifest is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manifest<'a> {
    /// The broadcast's.
    pub(crate) stream: &'a str,
    pub(crate) source: &'a Presentation,
    /// The largest first.
    pub(crate) rungs: &'a [Presentation],
    pub(crate) now_unix_ms: u64,
    /// Goes behind each address, from the question mark on.
    pub(crate) query: &'a str,
}

/// The time in which something is shown.
#[derive(Clone, Copy, Debug)]
struct Shown {
    period: Period,
    /// None while it goes on.
    ends_unix_ms: Option<u64>,
}

impl Manifest<'_> {
    /// Its text; `None` while there is no segment.
    pub(crate) fn text(&self) -> Option<String> {
        let rows = &self.source.rows;
        let (first, last) = (rows.first()?, rows.last()?);
        let mut out = String::with_capacity(4_096);
        out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        self.put_head(&mut out, first.at_unix_ms, last.ends_unix_ms);
        for (rows, shown) in periods(rows) {
            let begins = shown.period.begins.unix_ms;
            let number = shown.period.number;
            let start = seconds(begins);
            let _ = writeln!(out, " <Period id=\"{number}\" start=\"{start}\">");
            self.put_video(&mut out, &rows, shown);
            self.put_audio(&mut out, &rows, shown.period);
            out.push_str(" </Period>\n");
        }
        let _ = writeln!(
            out,
            " <UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-iso:2014\" value=\"{TIME}\"/>\n</MPD>"
        );
        Some(out)
    }

    fn put_head(&self, out: &mut String, first_unix_ms: u64, end_unix_ms: u64) {
        let target_s = self.source.target_s;
        // The target duration is a second longer.
        let segment_s = target_s - 1;
        let depth = seconds(end_unix_ms.saturating_sub(first_unix_ms));
        let updates = if self.source.is_ended {
            let whole = seconds(end_unix_ms);
            format!("mediaPresentationDuration=\"{whole}\"")
        } else {
            format!("minimumUpdatePeriod=\"PT{segment_s}S\"")
        };
        let published = date_time(self.now_unix_ms);
        let delay_s = segment_s * DELAY_SEGMENTS;
        let _ = writeln!(
            out,
            "<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" profiles=\"urn:mpeg:dash:profile:isoff-live:2011\" \
             type=\"dynamic\" availabilityStartTime=\"1970-01-01T00:00:00Z\" publishTime=\"{published}\" {updates} \
             timeShiftBufferDepth=\"{depth}\" maxSegmentDuration=\"PT{target_s}S\" minBufferTime=\"PT{segment_s}S\" \
             suggestedPresentationDelay=\"PT{delay_s}S\">"
        );
    }

    fn put_video(&self, out: &mut String, rows: &[&Row], shown: Shown) {
        let mut representations = String::new();
        self.put_representation(&mut representations, self.source, rows, shown.period);
        for rung in self.rungs {
            let rows = beside(&rung.rows, shown);
            self.put_representation(&mut representations, rung, &rows, shown.period);
        }
        if !representations.is_empty() {
            let _ = writeln!(
                out,
                "  <AdaptationSet id=\"0\" contentType=\"video\" mimeType=\"video/mp4\" startWithSAP=\"1\">\n\
                 {representations}  </AdaptationSet>"
            );
        }
    }

    /// The video of a ring, if there is some.
    fn put_representation(
        &self,
        out: &mut String,
        of: &Presentation,
        rows: &[&Row],
        period: Period,
    ) {
        let Some(last) = rows.last() else {
            return;
        };
        let spans = spans(rows, Kind::Video);
        let (Some(track), Some(codec)) =
            (last.init.track(Kind::Video), last.init.codec(Kind::Video))
        else {
            return;
        };
        if spans.is_empty() {
            return;
        }
        let id = of.rung.map_or("source".to_owned(), |rung| rung.to_string());
        let bps = bandwidth(&spans, track.timescale);
        let (width, height) = last.init.size;
        let _ = write!(
            out,
            "   <Representation id=\"{id}\" codecs=\"{codec}\" bandwidth=\"{bps}\" width=\"{width}\" height=\"{height}\""
        );
        if of.frames_per_second > 0 {
            let _ = write!(out, " frameRate=\"{}\"", of.frames_per_second);
        }
        out.push_str(">\n");
        let name = stem(self.stream, of.rung);
        let init = names::init(&name, Kind::Video, last.init.tag);
        let media = names::segments(&name, Kind::Video);
        self.put_segments(out, track, [&init, &media], period, &spans);
        out.push_str("   </Representation>\n");
    }

    fn put_audio(&self, out: &mut String, rows: &[&Row], period: Period) {
        let spans = spans(rows, Kind::Audio);
        let Some(init) = rows.last().map(|last| &last.init) else {
            return;
        };
        let (Some(track), Some(codec)) = (init.track(Kind::Audio), init.codec(Kind::Audio)) else {
            return;
        };
        let Codec::Aac {
            sample_rate,
            channels,
            ..
        } = &track.codec
        else {
            return;
        };
        if spans.is_empty() {
            return;
        }
        let bps = bandwidth(&spans, track.timescale);
        let _ = writeln!(
            out,
            "  <AdaptationSet id=\"1\" contentType=\"audio\" mimeType=\"audio/mp4\" startWithSAP=\"1\">\n   \
             <Representation id=\"audio\" codecs=\"{codec}\" bandwidth=\"{bps}\" audioSamplingRate=\"{sample_rate}\">\n    \
             <AudioChannelConfiguration schemeIdUri=\"urn:mpeg:dash:23003:3:audio_channel_configuration:2011\" \
             value=\"{channels}\"/>"
        );
        let init = names::init(self.stream, Kind::Audio, init.tag);
        let media = names::segments(self.stream, Kind::Audio);
        self.put_segments(out, track, [&init, &media], period, &spans);
        out.push_str("   </Representation>\n  </AdaptationSet>\n");
    }

    fn put_segments(
        &self,
        out: &mut String,
        track: &Track,
        [init, media]: [&str; 2],
        period: Period,
        spans: &[Span],
    ) {
        let (query, timescale) = (self.query, track.timescale);
        let offset = ticks(period.begins.media_us, timescale);
        let _ = writeln!(
            out,
            "    <SegmentTemplate timescale=\"{timescale}\" presentationTimeOffset=\"{offset}\" \
             initialization=\"{init}{query}\" media=\"{media}{query}\">\n     <SegmentTimeline>"
        );
        for Span {
            begins_at, ticks, ..
        } in spans
        {
            let _ = writeln!(out, "      <S t=\"{begins_at}\" d=\"{ticks}\"/>");
        }
        out.push_str("     </SegmentTimeline>\n    </SegmentTemplate>\n");
    }
}

/// What the publisher's segments are in, by period.
fn periods(rows: &[Row]) -> Vec<(Vec<&Row>, Shown)> {
    let mut periods: Vec<(Vec<&Row>, Shown)> = Vec::new();
    for row in rows {
        match periods.last_mut() {
            Some((rows, shown)) if shown.period == row.period => rows.push(row),
            last => {
                if let Some((_, before)) = last {
                    before.ends_unix_ms = Some(row.period.begins.unix_ms);
                }
                let shown = Shown {
                    period: row.period,
                    ends_unix_ms: None,
                };
                periods.push((vec![row], shown));
            }
        }
    }
    periods
}

/// The segments of a rung that are shown in a period of the publisher's: those that reach into it, under the init
/// segment of the last one, on the same media clock.
fn beside(rows: &[Row], shown: Shown) -> Vec<&Row> {
    let begins = shown.period.begins;
    let clock_ms = begins.unix_ms.cast_signed() - begins.media_us / 1_000;
    let mut within: Vec<&Row> = rows
        .iter()
        .filter(|row| {
            row.ends_unix_ms > begins.unix_ms
                && shown.ends_unix_ms.is_none_or(|ends| row.at_unix_ms < ends)
                && row.clock_ms().abs_diff(clock_ms) <= SAME_CLOCK_MS
        })
        .collect();
    let tag = within.last().map(|last| last.init.tag);
    within.retain(|row| Some(row.init.tag) == tag);
    within
}

fn spans(rows: &[&Row], kind: Kind) -> Vec<Span> {
    rows.iter().filter_map(|row| row.span(kind)).collect()
}

/// Bits a second of the largest.
fn bandwidth(spans: &[Span], timescale: u32) -> u64 {
    let bps = |span: &Span| span.bytes * 8 * u64::from(timescale) / span.ticks.max(1);
    spans.iter().map(bps).max().unwrap_or(0)
}

/// A duration (ISO 8601).
fn seconds(ms: u64) -> String {
    format!("PT{}.{:03}S", ms / 1_000, ms % 1_000)
}
