//! Names of files of DASH below `/{app}/streams/`; that of the manifest is Ant Media Server's.
//!
//! ```text
//!  {id}/{id}.mpd                                   manifest
//!  {id}/{id}.{video|audio}.{time}.m4s              segment, by when it begins, in ticks
//!  {id}/{id}.{video|audio}.{tag, 16 digits}.init.m4s   init segment
//! ```
//!
//! Those of a rung begin with `{id}_{height}p{kbit/s}kbps` instead.

use shardcast_link::fragment::RungName;

use crate::hls::{Kind, names};

const TAG_DIGITS: usize = 16;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name<'a> {
    pub(crate) stream: &'a str,
    pub(crate) file: File,
}

/// The same, within its broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum File {
    Manifest,
    Segment {
        rung: Option<RungName>,
        kind: Kind,
        /// When its first sample is presented, in ticks.
        begins_at: u64,
    },
    Init {
        rung: Option<RungName>,
        kind: Kind,
        tag: u64,
    },
}

impl<'a> Name<'a> {
    /// Reads the path below `/{app}/streams/`; `None` for what is not of DASH.
    pub(crate) fn parse(path: &'a str) -> Option<Self> {
        let (stream, name) = path.split_once('/')?;
        if name.strip_suffix(".mpd") == Some(stream) {
            let file = File::Manifest;
            return Some(Self { stream, file });
        }
        let name = name.strip_suffix(".m4s")?;
        let (name, is_init) = match name.strip_suffix(".init") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let (name, number) = name.rsplit_once('.')?;
        let (stem, kind) = name.rsplit_once('.')?;
        let kind = match kind {
            "video" => Kind::Video,
            "audio" => Kind::Audio,
            _ => return None,
        };
        let rung = match names::rung_of(stem) {
            _ if stem == stream => None,
            Some((of, rung)) if of == stream => Some(rung),
            _ => return None,
        };
        let file = if is_init {
            let is_tag =
                number.len() == TAG_DIGITS && number.bytes().all(|byte| byte.is_ascii_hexdigit());
            let tag = u64::from_str_radix(number, 16).ok().filter(|_| is_tag)?;
            File::Init { rung, kind, tag }
        } else {
            let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
            let begins_at = number.parse().ok().filter(|_| is_number)?;
            File::Segment {
                rung,
                kind,
                begins_at,
            }
        };
        Some(Self { stream, file })
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Video => "video",
        Kind::Audio => "audio",
    }
}

/// Of segments, as a template (ISO/IEC 23009-1, 5.3.9.4.4).
pub(super) fn segments(stem: &str, kind: Kind) -> String {
    format!("{stem}.{}.$Time$.m4s", word(kind))
}

pub(super) fn init(stem: &str, kind: Kind, tag: u64) -> String {
    format!("{stem}.{}.{tag:016x}.init.m4s", word(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_is_known_by_its_name_whatever_the_stream_is_called() {
        let rung = RungName {
            height: 480,
            kbps: 1_500,
        };
        for stream in ["one", "a.b", "x.video.7", "a_480p1500kbps", "7", "x.mpd"] {
            let of = |file| Some(Name { stream, file });
            let path = format!("{stream}/{stream}.mpd");
            assert_eq!(Name::parse(&path), of(File::Manifest));
            for (rung, kind) in [(None, Kind::Audio), (Some(rung), Kind::Video)] {
                let stem = names::stem(stream, rung);
                let template = segments(&stem, kind);
                let path = format!("{stream}/{}", template.replace("$Time$", "90001"));
                let begins_at = 90_001;
                assert_eq!(
                    Name::parse(&path),
                    of(File::Segment {
                        rung,
                        kind,
                        begins_at
                    })
                );
                let path = format!("{stream}/{}", init(&stem, kind, 0xAB));
                let tag = 0xAB;
                assert_eq!(Name::parse(&path), of(File::Init { rung, kind, tag }));
            }
        }
    }

    #[test]
    fn what_is_no_file_of_dash_is_none() {
        for path in [
            "one.mpd",
            "one/two.mpd",
            "one/one.video.m4s",
            "one/one.text.7.m4s",
            "one/two.video.7.m4s",
            "one/one_480p.video.7.m4s",
            "one/one.video.+7.m4s",
            "one/one.video..m4s",
            "one/one.video.7.init.m4s",
            "one/two/one.video.7.m4s",
            "/.mpd/",
        ] {
            assert_eq!(Name::parse(path), None, "{path}");
        }
    }
}
