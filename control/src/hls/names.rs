//! Names of files below `/{app}/streams/`, those of Ant Media Server where it has one.
//!
//! ```text
//!  {id}.m3u8                            media playlist
//!  {id}_{height}p{kbit/s}kbps.m3u8      media playlist of a rung; names of its segments begin so too
//!  {id}_adaptive.m3u8                   multivariant playlist
//!  ll-hls/{id}/{id}__master.m3u8        the same
//!  {id}{number, 9 digits}.m4s          segment
//!  {id}{number, 9 digits}.{part}.m4s   part of it
//!  {id}.{tag, 16 digits}.init.m4s      init segment
//!  {id}{number, 9 digits}.ts           segment as MPEG-TS
//! ```

use shardcast_link::fragment::RungName;

/// Digits of a segment's number; larger numbers have more.
const NUMBER_DIGITS: usize = 9;
/// A part's number has fewer digits than a segment's, so that neither is taken for the other.
const PART_DIGITS_MAX: usize = 3;
const TAG_DIGITS: usize = 16;

/// What a file is, with the stream's id, or that and the rung ([`rung_of`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name<'a> {
    Media {
        stream: &'a str,
    },
    /// The media playlist is `up` folders above this one.
    Multivariant {
        stream: &'a str,
        up: &'static str,
    },
    Segment {
        stream: &'a str,
        number: u64,
    },
    Part {
        stream: &'a str,
        number: u64,
        part: usize,
    },
    /// A segment as MPEG-TS.
    Transport {
        stream: &'a str,
        number: u64,
    },
    Init {
        stream: &'a str,
        tag: u64,
    },
}

impl<'a> Name<'a> {
    /// Reads the path below `/{app}/streams/`; `None` for what is not of HLS.
    pub(crate) fn parse(path: &'a str) -> Option<Self> {
        if let Some(path) = path.strip_prefix("ll-hls/") {
            let (folder, file) = path.split_once('/')?;
            let stream = file.strip_suffix("__master.m3u8")?;
            let up = "../../";
            return (folder == stream).then_some(Self::Multivariant { stream, up });
        }
        if path.contains('/') {
            return None;
        }
        if let Some(stem) = path.strip_suffix(".m3u8") {
            return Some(match stem.strip_suffix("_adaptive") {
                Some(stream) => Self::Multivariant { stream, up: "" },
                None => Self::Media { stream: stem },
            });
        }
        if let Some(stem) = path.strip_suffix(".init.m4s") {
            let (stream, tag) = stem.rsplit_once('.')?;
            let is_tag =
                tag.len() == TAG_DIGITS && tag.bytes().all(|byte| byte.is_ascii_hexdigit());
            let tag = u64::from_str_radix(tag, 16).ok().filter(|_| is_tag)?;
            return Some(Self::Init { stream, tag });
        }
        if let Some(stem) = path.strip_suffix(".ts") {
            let (stream, number) = numbered(stem)?;
            return Some(Self::Transport { stream, number });
        }
        let stem = path.strip_suffix(".m4s")?;
        match stem.rsplit_once('.') {
            Some((segment, part)) if part.len() <= PART_DIGITS_MAX => {
                let part = digits(part)?.parse().ok()?;
                let (stream, number) = numbered(segment)?;
                Some(Self::Part {
                    stream,
                    number,
                    part,
                })
            }
            _ => {
                let (stream, number) = numbered(stem)?;
                Some(Self::Segment { stream, number })
            }
        }
    }

    /// The stream's id, or that and the rung.
    pub(crate) fn stream(&self) -> &'a str {
        match self {
            Self::Media { stream }
            | Self::Multivariant { stream, .. }
            | Self::Segment { stream, .. }
            | Self::Part { stream, .. }
            | Self::Transport { stream, .. }
            | Self::Init { stream, .. } => stream,
        }
    }
}

/// A stem and the number at its end.
fn numbered(stem: &str) -> Option<(&str, u64)> {
    let (stream, number) = stem.split_at_checked(stem.len().checked_sub(NUMBER_DIGITS)?)?;
    let number = digits(number)?.parse().ok()?;
    (!stream.is_empty()).then_some((stream, number))
}

fn digits(text: &str) -> Option<&str> {
    let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then_some(text)
}

/// The stream's id and the rung that a name begins with; `None` where there is no rung.
pub(crate) fn rung_of(stem: &str) -> Option<(&str, RungName)> {
    let (stream, rung) = stem.rsplit_once('_')?;
    let (height, kbps) = rung.strip_suffix("kbps")?.split_once('p')?;
    let name = RungName {
        height: digits(height)?.parse().ok()?,
        kbps: digits(kbps)?.parse().ok()?,
    };
    // Each has one name: numbers without zeros in front.
    (!stream.is_empty() && name.to_string() == rung).then_some((stream, name))
}

/// What names of the files of a rung begin with; without one, the stream's id.
pub(crate) fn stem(stream: &str, rung: Option<RungName>) -> String {
    match rung {
        None => stream.to_owned(),
        Some(rung) => format!("{stream}_{rung}"),
    }
}

pub(crate) fn media(stream: &str) -> String {
    format!("{stream}.m3u8")
}

pub(super) fn segment(stream: &str, number: u64) -> String {
    format!("{stream}{number:09}.m4s")
}

pub(super) fn transport(stream: &str, number: u64) -> String {
    format!("{stream}{number:09}.ts")
}

pub(super) fn part(stream: &str, number: u64, part: usize) -> String {
    format!("{stream}{number:09}.{part}.m4s")
}

pub(super) fn init(stream: &str, tag: u64) -> String {
    format!("{stream}.{tag:016x}.init.m4s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_is_known_by_its_name_whatever_the_stream_is_called() {
        for stream in [
            "one",
            "a.b",
            "x000000001",
            "x.3",
            "x.",
            "1",
            "y_adaptive.z",
            "é",
        ] {
            let name = media(stream);
            assert_eq!(Name::parse(&name), Some(Name::Media { stream }));
            let name = segment(stream, 61_000_123);
            let number = 61_000_123;
            assert_eq!(Name::parse(&name), Some(Name::Segment { stream, number }));
            let name = transport(stream, number);
            assert_eq!(Name::parse(&name), Some(Name::Transport { stream, number }));
            let (name, part) = (part(stream, number, 12), 12);
            assert_eq!(
                Name::parse(&name),
                Some(Name::Part {
                    stream,
                    number,
                    part
                })
            );
            let name = init(stream, 7);
            assert_eq!(Name::parse(&name), Some(Name::Init { stream, tag: 7 }));
            let name = format!("{stream}_adaptive.m3u8");
            let up = "";
            assert_eq!(Name::parse(&name), Some(Name::Multivariant { stream, up }));
            let name = format!("ll-hls/{stream}/{stream}__master.m3u8");
            let up = "../../";
            assert_eq!(Name::parse(&name), Some(Name::Multivariant { stream, up }));
        }
    }

    #[test]
    fn a_rung_is_known_by_its_name_whatever_the_stream_is_called() {
        let (height, kbps) = (480, 1_500);
        let rung = RungName { height, kbps };
        assert_eq!(
            media(&stem("one", Some(rung))),
            "one_480p1500kbps.m3u8",
            "as in Ant Media Server"
        );
        for stream in ["one", "a_b", "a_480p1500kbps", "_", "é"] {
            assert_eq!(rung_of(&stem(stream, Some(rung))), Some((stream, rung)));
            assert_eq!(stem(stream, None), stream);
        }
        for stem in [
            "one",
            "one_480p",
            "one_480p1500",
            "one_0480p1500kbps",
            "one_+480p1500kbps",
            "one_480p99999999999kbps",
            "_480p1500kbps",
            "480p1500kbps",
            "one_p1500kbps",
        ] {
            assert_eq!(rung_of(stem), None, "{stem}");
        }
    }

    #[test]
    fn what_is_no_file_of_hls_is_none() {
        for path in [
            "",
            ".m4s",
            "one.mp4",
            "one.m4s",
            "000000001.m4s",
            "one12345678.m4s",
            "one000000001.x.m4s",
            "one00000000é.m4s",
            "one.xyz.init.m4s",
            "one.+000000000000007.init.m4s",
            "a/b.m3u8",
            "ll-hls/one/two__master.m3u8",
            "ll-hls/one",
            "one00000001.ts",
            "000000001.ts",
            "one000000001.+1.m4s",
        ] {
            assert_eq!(Name::parse(path), None, "{path}");
        }
    }
}
