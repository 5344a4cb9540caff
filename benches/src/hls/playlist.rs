//! What a player that knows parts reads of a playlist (RFC 8216bis).

use std::time::Duration;

/// A part of a segment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Part<'a> {
    /// Media sequence number of its segment, and its own number in it.
    pub(super) place: (u64, u32),
    pub(super) duration: Duration,
    /// It begins with a keyframe.
    pub(super) independent: bool,
    pub(super) uri: &'a str,
}

/// A media playlist, or where there is one.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Playlist<'a> {
    pub(super) parts: Vec<Part<'a>>,
    /// The newest init segment.
    pub(super) init: Option<&'a str>,
    /// Place of the part behind the last.
    pub(super) next: (u64, u32),
    /// Distance of a player from the end (4.4.3.8, `PART-HOLD-BACK`).
    pub(super) hold_back: Duration,
    pub(super) is_ended: bool,
    /// Of a multivariant playlist, its first media playlist.
    pub(super) variant: Option<&'a str>,
}

impl<'a> Playlist<'a> {
    /// Reads it; `None` when it is none.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        let mut lines = text.lines();
        lines.next().filter(|line| *line == "#EXTM3U")?;
        let mut playlist = Self::default();
        let (mut segment, mut part, mut is_multivariant) = (0_u64, 0, false);
        for line in lines.filter(|line| !line.is_empty()) {
            let Some(tag) = line.strip_prefix("#EXT-X-") else {
                if !line.starts_with('#') {
                    playlist.variant = playlist.variant.or(is_multivariant.then_some(line));
                    (segment, part) = (segment.saturating_add(1), 0);
                }
                continue;
            };
            let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
            match name {
                "STREAM-INF" => is_multivariant = true,
                "MEDIA-SEQUENCE" => segment = value.parse().ok()?,
                "SKIP" => {
                    let skipped: u64 = attribute(value, "SKIPPED-SEGMENTS")?.parse().ok()?;
                    segment = segment.checked_add(skipped)?;
                }
                "SERVER-CONTROL" => {
                    playlist.hold_back = attribute(value, "PART-HOLD-BACK")
                        .and_then(seconds)
                        .unwrap_or_default();
                }
                "MAP" => playlist.init = attribute(value, "URI"),
                "PART" => {
                    playlist.parts.push(Part {
                        place: (segment, part),
                        duration: attribute(value, "DURATION").and_then(seconds)?,
                        independent: attribute(value, "INDEPENDENT") == Some("YES"),
                        uri: attribute(value, "URI")?,
                    });
                    part += 1;
                }
                "ENDLIST" => playlist.is_ended = true,
                _ => {}
            }
        }
        playlist.next = (segment, part);
        Some(playlist)
    }

    /// The parts with which a player begins: from the last keyframe on that leaves it its distance from the end.
    pub(super) fn first_parts(&self) -> &[Part<'a>] {
        let mut left = Duration::ZERO;
        let begins = self.parts.iter().rposition(|part| {
            left += part.duration;
            part.independent && left >= self.hold_back
        });
        self.parts.get(begins.unwrap_or(0)..).unwrap_or_default()
    }
}

fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

/// A value of an attribute list (4.2), without its quotes.
fn attribute<'a>(mut list: &'a str, name: &str) -> Option<&'a str> {
    loop {
        let (key, rest) = list.split_once('=')?;
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_at(rest.find(',').unwrap_or(rest.len())),
        };
        if key == name {
            return Some(value);
        }
        list = rest.strip_prefix(',')?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n\
        #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,HOLD-BACK=6.0,PART-HOLD-BACK=0.75\n\
        #EXT-X-PART-INF:PART-TARGET=0.300000\n#EXT-X-MEDIA-SEQUENCE:7\n\
        #EXT-X-MAP:URI=\"s.1.init.m4s\"\n#EXT-X-PROGRAM-DATE-TIME:2026-11-29T20:00:00.999Z\n\
        #EXT-X-PART:DURATION=0.300000,URI=\"s7.0.m4s?a=1,b=2\",INDEPENDENT=YES\n\
        #EXT-X-PART:DURATION=0.300000,URI=\"s7.1.m4s\"\n#EXTINF:0.600000,\ns7.m4s\n\
        #EXT-X-PART:DURATION=0.300000,URI=\"s8.0.m4s\",INDEPENDENT=YES\n\
        #EXT-X-PART:DURATION=0.200000,URI=\"s8.1.m4s\"\n\
        #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"s8.2.m4s\"\n";

    #[test]
    fn parts_are_read_with_their_places_and_a_player_begins_at_its_distance_from_the_end() {
        let read = Playlist::read(WHOLE).unwrap();
        let places: Vec<_> = read.parts.iter().map(|part| part.place).collect();
        assert_eq!(places, [(7, 0), (7, 1), (8, 0), (8, 1)]);
        assert_eq!((read.next, read.init), ((8, 2), Some("s.1.init.m4s")));
        assert_eq!(read.parts[0].uri, "s7.0.m4s?a=1,b=2");
        assert_eq!(read.hold_back, Duration::from_millis(750));
        // The keyframe of segment 8 is half a second from the end.
        assert_eq!(read.first_parts()[0].place, (7, 0));
        let nearer = WHOLE.replace("BACK=0.75", "BACK=0.5");
        let read = Playlist::read(&nearer).unwrap();
        assert_eq!(read.first_parts()[0].place, (8, 0));
        assert!(!read.is_ended && read.variant.is_none());
    }

    #[test]
    fn what_a_delta_update_leaves_out_is_counted_and_a_whole_segment_is_followed_by_the_next() {
        let text = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:40\n#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n\
            #EXT-X-PART:DURATION=1.5,URI=\"x\"\n#EXTINF:1.5,\ny\n#EXT-X-ENDLIST\n";
        let read = Playlist::read(text).unwrap();
        assert_eq!(read.parts[0].place, (43, 0));
        assert_eq!((read.next, read.is_ended), ((44, 0), true));
    }

    #[test]
    fn a_multivariant_playlist_names_others_and_what_is_no_playlist_is_none() {
        let text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"a,b\"\n../s.m3u8\nt.m3u8\n";
        assert_eq!(Playlist::read(text).unwrap().variant, Some("../s.m3u8"));
        for text in [
            "",
            "no_stream_exist",
            "#EXTM3U\n#EXT-X-PART:URI=\"x\"\n",
            "#EXTM3U\n#EXT-X-PART:DURATION=-1,URI=\"x\"\n",
            "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:1e3\n",
            "#EXTM3U\n#EXT-X-SKIP:SKIPPED-SEGMENTS=\"\n",
        ] {
            assert_eq!(Playlist::read(text), None, "{text}");
        }
    }
}
