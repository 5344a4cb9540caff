//! Manifests of shows keep the rules of ISO/IEC 23009-1 that live players lean on, which are read here from the text
//! alone and from one manifest to the next; and each address in them is a file that has what the manifest says.

use std::{collections::HashSet, sync::Arc, time::Instant};

use bytes::Bytes;
use shardcast_cmaf::{Sample, Track, TrackRun, fragment, init_segment, ticks};
use shardcast_link::{
    BroadcastId,
    fragment::{FragmentHead, RungName, SegmentHead},
};

use super::{
    Manifest, Presentation, init, media,
    names::{File, Name},
    xml::{Element, read},
};
use crate::hls::{Asked, Hls, Kind, Stream};

const RUNG: RungName = RungName {
    height: 180,
    kbps: 500,
};
/// Length of a picture, and how many are in a part of half a second.
const FRAME_US: i64 = 50_000;
const FRAMES: i64 = 10;
const SEGMENT_US: i64 = 2_000_000;
/// When the media clock was zero.
const CLOCK_MS: i64 = 1_795_976_430_000;

/// A broadcast whose segments are made here.
struct Show {
    hls: Hls,
    stream: Arc<Stream>,
    now: Instant,
    numbers: [u64; 2],
    /// Pictures are shown so much after their decoding.
    composition_us: i64,
    clock_ms: i64,
    has_video: bool,
}

impl Show {
    fn new() -> Self {
        let (hls, now) = (Hls::default(), Instant::now());
        let id = BroadcastId::new("app", "one").unwrap();
        let Asked::New(stream) = hls.ask(now, &id, 5) else {
            panic!("it is new");
        };
        hls.ask_ladder(now, &stream, &[RUNG]);
        Self {
            hls,
            stream,
            now,
            numbers: [40, 900],
            composition_us: 0,
            clock_ms: CLOCK_MS,
            has_video: true,
        }
    }

    /// A segment of four parts that begins at this time; `size` stands for the parameter sets.
    fn segment(&mut self, rung: Option<RungName>, at_us: i64, size: u8) {
        let number = &mut self.numbers[usize::from(rung.is_some())];
        let segment = *number;
        *number += 1;
        let record = Bytes::copy_from_slice(&[1, 66, 192, size]);
        let audio = Track::audio(2, Bytes::from_static(&[0x11, 0x90]), 48_000, 2);
        let video = Track::video(1, record, 640, 360);
        let tracks = if self.has_video {
            vec![video, audio]
        } else {
            vec![audio]
        };
        let init = init_segment(&tracks);
        for part in 0..4 {
            let begins = (part == 0).then(|| SegmentHead {
                at_unix_ms: (self.clock_ms + at_us / 1_000).cast_unsigned(),
                at_us,
                discontinuity: false,
                discontinuities: 0,
                init_bytes: init.len() as u32,
                codecs: if self.has_video {
                    "avc1.42c01f,mp4a.40.2".into()
                } else {
                    "mp4a.40.2".into()
                },
                width: 640,
                height: 360,
                wanted_ms: 2_000,
                frames_per_second: 20,
                rungs: None,
            });
            let mut body = begins.as_ref().map_or(Vec::new(), |_| init.to_vec());
            body.extend(self.part(at_us + i64::from(part) * 500_000));
            let head = FragmentHead {
                broadcast: BroadcastId::new("app", "one").unwrap(),
                rung,
                segment,
                part,
                duration_us: 500_000,
                independent: part == 0,
                last: part == 3,
                begins,
                ends: false,
            };
            self.hls.take(self.now, &head, body.into());
        }
    }

    fn part(&self, at_us: i64) -> Vec<u8> {
        let sample = |duration, composition_offset, key| Sample {
            duration,
            composition_offset,
            key,
            parameter_sets: None,
            payload: Bytes::from_static(b"payload"),
        };
        let composition = ticks(self.composition_us, 90_000) as i32;
        let pictures = (0..FRAMES).map(|n| sample(4_500, composition, n == 0));
        // Frames of 1,024 samples, counted from the beginning of time.
        let until = (at_us + FRAME_US * FRAMES) * 48 / 1_024_000;
        let first = at_us * 48 / 1_024_000;
        let runs = vec![
            TrackRun {
                track: 1,
                decoded_at: ticks(at_us, 90_000),
                samples: pictures.filter(|_| self.has_video).collect(),
            },
            TrackRun {
                track: 2,
                decoded_at: first.cast_unsigned() * 1_024,
                samples: (first..until).map(|_| sample(1_024, 0, true)).collect(),
            },
        ];
        fragment(1, runs).unwrap().concat()
    }

    fn manifest(&self) -> String {
        let rungs: Vec<Presentation> = self
            .stream
            .rungs()
            .iter()
            .map(|(rung, track)| track.read(|media| Presentation::of(Some(*rung), media)))
            .collect();
        let source = self.stream.source();
        let source = source.read(|media| Presentation::of(None, media));
        let manifest = Manifest {
            stream: "one",
            source: &source,
            rungs: &rungs,
            now_unix_ms: CLOCK_MS.cast_unsigned(),
            query: "",
        };
        manifest.text().unwrap()
    }

    /// The rules of one manifest.
    fn check(&self) -> Element {
        let text = self.manifest();
        let mpd = read(&text);
        check_head(&mpd, &text);
        let mut ids = HashSet::new();
        let mut before_s = 0.0;
        for period in mpd.all("Period") {
            assert!(ids.insert(period.get("id")), "{text}");
            let start_s = period.seconds("start");
            assert!(start_s > before_s, "{text}");
            before_s = start_s;
            let mut representations = HashSet::new();
            for set in period.all("AdaptationSet") {
                let kind = set.get("contentType");
                assert_eq!(set.get("mimeType"), format!("{kind}/mp4"), "{text}");
                for it in set.all("Representation") {
                    assert!(representations.insert(it.get("id")), "{text}");
                    assert!(it.number("bandwidth") > 0, "{text}");
                    self.check_segments(it.one("SegmentTemplate"), &kind, &text);
                }
            }
            assert!(!representations.is_empty(), "{text}");
        }
        mpd
    }

    fn check_segments(&self, template: &Element, kind: &str, text: &str) {
        let timescale = template.number("timescale");
        let (init_name, name) = (template.get("initialization"), template.get("media"));
        let kind_of = if kind == "video" {
            Kind::Video
        } else {
            Kind::Audio
        };
        let Some(File::Init {
            rung,
            kind: of,
            tag,
        }) = file(&init_name)
        else {
            panic!("{init_name}");
        };
        let track = self.stream.track(rung).unwrap();
        let made = track
            .read(|media| init(media.segment_of(tag)?, of))
            .unwrap();
        let [only] = &shardcast_cmaf::read_init_segment(&made)[..] else {
            panic!("one track is in it");
        };
        assert_eq!((of, only.is_video()), (kind_of, kind == "video"), "{text}");
        assert_eq!(u64::from(only.timescale), timescale, "{text}");
        let mut end = 0;
        for segment in template.one("SegmentTimeline").all("S") {
            let (begins, length) = (segment.number("t"), segment.number("d"));
            // 5.3.9.6: no segment overlaps the one before.
            assert!(begins >= end && length > 0, "{text}");
            end = begins + length;
            let address = name.replace("$Time$", &begins.to_string());
            let is_it = |it: &File| {
                *it == File::Segment {
                    rung,
                    kind: of,
                    begins_at: begins,
                }
            };
            assert!(file(&address).as_ref().is_some_and(is_it), "{address}");
            let file = track.read(|kept| {
                let mut all = kept.segments().iter();
                let it = all.find(|it| it.span(of).is_some_and(|it| it.begins_at == begins));
                media(it?, of)
            });
            let runs = shardcast_cmaf::read_fragment(&file.unwrap().concat().into()).unwrap();
            let [run] = &runs[..] else {
                panic!("one track is in it");
            };
            let first = i64::from(run.samples[0].composition_offset);
            assert_eq!(run.decoded_at.saturating_add_signed(first), begins);
            assert_eq!(run.ends_at() - run.decoded_at, length);
        }
        assert!(end > template.number("presentationTimeOffset"), "{text}");
    }
}

fn file(name: &str) -> Option<File> {
    let path = format!("one/{name}");
    Name::parse(&path).map(|name| name.file)
}

fn check_head(mpd: &Element, text: &str) {
    assert_eq!(mpd.name, "MPD");
    assert_eq!(mpd.get("type"), "dynamic");
    assert_eq!(mpd.get("availabilityStartTime"), "1970-01-01T00:00:00Z");
    // 5.3.1.2: updates are announced, or the end is known.
    let goes_on = mpd.has("minimumUpdatePeriod");
    assert!(goes_on != mpd.has("mediaPresentationDuration"), "{text}");
    assert!(mpd.has("publishTime") && mpd.has("profiles"), "{text}");
    assert!(mpd.seconds("timeShiftBufferDepth") > 0.0, "{text}");
    let longest_s = mpd.seconds("maxSegmentDuration");
    assert!(mpd.seconds("suggestedPresentationDelay") > longest_s);
    assert_eq!(mpd.one("UTCTiming").get("value"), "../time");
}

/// A manifest is the one before with what came since (5.4.1).
fn follows(mpd: &Element, before: &Element) {
    for old in before.all("Period") {
        let mut same = mpd.all("Period").filter(|it| it.get("id") == old.get("id"));
        let Some(new) = same.next() else {
            continue;
        };
        assert_eq!(new.get("start"), old.get("start"));
        let [old, new] = [old, new].map(|period| {
            let sets = period.all("AdaptationSet");
            let all = sets.flat_map(|it| it.all("Representation").collect::<Vec<_>>());
            let all = all.map(|it| (it.get("id"), it.one("SegmentTemplate").clone()));
            all.collect::<Vec<_>>()
        });
        for (id, old) in old {
            let Some((_, new)) = new.iter().find(|it| it.0 == id) else {
                continue;
            };
            let offset = |it: &Element| it.number("presentationTimeOffset");
            assert_eq!(offset(&old), offset(new));
            let segments = |it: &Element| -> Vec<(u64, u64)> {
                let all = it.one("SegmentTimeline").children.iter();
                all.map(|it| (it.number("t"), it.number("d"))).collect()
            };
            let (old, new) = (segments(&old), segments(new));
            let first = new[0];
            let kept: Vec<_> = old.into_iter().filter(|it| it.0 >= first.0).collect();
            assert!(new.starts_with(&kept), "{kept:?} {new:?}");
        }
    }
}

#[test]
fn each_manifest_of_a_show_keeps_the_rules_and_follows_from_the_one_before() {
    for composition_us in [0, 100_000] {
        let mut show = Show::new();
        show.composition_us = composition_us;
        let mut before: Option<Element> = None;
        for n in 0..30 {
            // The publisher's keyframes are 0.7 s behind those of the rung, and its size changes twice.
            let size = if n < 8 { 30 } else { 31 + (n / 20) as u8 };
            show.segment(None, n * SEGMENT_US + 700_000, size);
            show.segment(Some(RUNG), n * SEGMENT_US, 20);
            let mpd = show.check();
            if let Some(before) = &before {
                follows(&mpd, before);
            }
            let periods = mpd.all("Period").count();
            let changed = (8..12).contains(&n) || (20..24).contains(&n);
            assert_eq!(periods, 1 + usize::from(changed), "{n}");
            before = Some(mpd);
        }
    }
}

#[test]
fn a_period_begins_at_the_new_size_and_has_the_segment_of_the_rung_that_reaches_into_it() {
    let mut show = Show::new();
    for n in 0..4 {
        show.segment(None, n * SEGMENT_US + 700_000, if n < 2 { 30 } else { 31 });
        show.segment(Some(RUNG), n * SEGMENT_US, 20);
    }
    let mpd = show.check();
    let periods: Vec<&Element> = mpd.all("Period").collect();
    let starts = periods.iter().map(|it| it.get("start"));
    let starts: Vec<String> = starts.collect();
    assert_eq!(starts, ["PT1795976430.700S", "PT1795976434.700S"]);
    let begins = |period: &Element, id: &str| -> Vec<u64> {
        let sets: Vec<&Element> = period.all("AdaptationSet").collect();
        let mut all = sets.iter().flat_map(|set| set.all("Representation"));
        let it = all.find(|it| it.get("id") == id).unwrap();
        let template = it.one("SegmentTemplate");
        let segments = template.one("SegmentTimeline").children.iter();
        segments.map(|it| it.number("t") / 90).collect()
    };
    assert_eq!(begins(periods[0], "source"), [700, 2_700]);
    assert_eq!(begins(periods[0], "180p500kbps"), [0, 2_000, 4_000]);
    assert_eq!(begins(periods[1], "source"), [4_700, 6_700]);
    assert_eq!(begins(periods[1], "180p500kbps"), [4_000, 6_000]);
}

#[test]
fn another_engine_is_another_period_on_its_own_clock() {
    let mut show = Show::new();
    (0..3).for_each(|n| show.segment(None, n * SEGMENT_US + 50_000_000, 30));
    show.segment(Some(RUNG), 52_000_000, 20);
    // It is started anew: its clock begins at zero.
    show.numbers = [70, 70];
    show.clock_ms += 60_000;
    show.segment(None, 0, 30);
    let mpd = show.check();
    let periods: Vec<&Element> = mpd.all("Period").collect();
    assert_eq!(periods.len(), 2);
    assert_eq!(periods[1].get("start"), "PT1795976490.000S");
    // No rung is there on the new clock.
    let sets: Vec<&Element> = periods[1].all("AdaptationSet").collect();
    assert_eq!(sets[0].all("Representation").count(), 1);
}

#[test]
fn a_show_without_video_has_audio_alone_and_the_end_is_said() {
    let mut show = Show::new();
    show.has_video = false;
    (0..3).for_each(|n| show.segment(None, n * SEGMENT_US, 30));
    let mpd = show.check();
    let period = mpd.one("Period");
    assert_eq!(period.one("AdaptationSet").get("contentType"), "audio");
    assert_eq!(mpd.get("minimumUpdatePeriod"), "PT2S");
    let ends = FragmentHead {
        ends: true,
        ..crate::hls::part_head(0, 1, true)
    };
    show.hls.take(show.now, &ends, Bytes::new());
    let mpd = show.check();
    assert_eq!(mpd.get("mediaPresentationDuration"), "PT1795976436.000S");
}
