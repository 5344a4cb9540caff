//! What the broadcasts of a load are: all alike, or a mix of kinds from a file.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};
use shardcast_link::{RenditionSpec, VideoCodec};

use crate::BenchError;
use crate::publisher::Pace;
use crate::test_clip::{AudioChannels, TestClipFormat};

/// One kind of broadcast.
#[derive(Clone, Debug, Serialize)]
pub struct ShowKind {
    /// Destinations that take the video as it is.
    pub destinations: u32,
    /// Renditions, one destination for each.
    pub renditions: Vec<RenditionSpec>,
    /// Video and audio of the publisher.
    #[serde(skip)]
    pub format: TestClipFormat,
    /// The publisher sends audio.
    pub audio: bool,
    /// Spacing of the publisher's frames.
    #[serde(skip)]
    pub pace: Pace,
}

impl ShowKind {
    /// Broadcasts with audio, to so many destinations.
    pub fn new(destinations: u32, format: TestClipFormat) -> Self {
        Self {
            destinations,
            renditions: Vec::new(),
            format,
            audio: true,
            pace: Pace::Constant,
        }
    }

    /// The kind in words.
    pub fn text(&self) -> String {
        let format = &self.format;
        let heights = self
            .renditions
            .iter()
            .map(|spec| format!("{}p", spec.height));
        let heights: Vec<String> = heights.collect();
        let renditions = match heights.len() {
            0 => String::new(),
            _ => format!(", renditions {}", heights.join(" ")),
        };
        format!(
            "{} {}x{} at {} frames a second and {} kbit/s, {} to {} destination{}{renditions}",
            format.codec.name(),
            format.width,
            format.height,
            format.fps,
            format.video_kbps,
            match (self.audio, format.channels) {
                (false, _) => "no audio",
                (true, AudioChannels::Mono) => "mono",
                (true, AudioChannels::Stereo) => "stereo",
            },
            self.destinations,
            if self.destinations == 1 { "" } else { "s" }
        )
    }
}

/// Kinds of broadcasts, and how often each of them comes.
#[derive(Clone, Debug, Serialize)]
pub struct Mix {
    shows: Vec<(u32, ShowKind)>,
}

impl Mix {
    /// Broadcasts of one kind.
    pub fn of(kind: ShowKind) -> Self {
        Self {
            shows: vec![(1, kind)],
        }
    }

    /// Broadcasts of several kinds in turn.
    pub fn equally(kinds: impl IntoIterator<Item = ShowKind>) -> Self {
        Self {
            shows: kinds.into_iter().map(|kind| (1, kind)).collect(),
        }
    }

    /// Reads a TOML file with one `[[show]]` for each kind:
    ///
    /// ```toml
    /// [[show]]
    /// share = 8                       # of the sum of all shares; 1 without it
    /// destinations = 1
    ///
    /// [[show]]
    /// share = 2
    /// destinations = 3
    /// renditions = ["720p", "360p:700"]  # height, and kbit/s
    /// size = "1920x1080"
    /// fps = 30
    /// bitrate_kbps = 4500
    /// audio_kbps = 96
    /// stereo = true
    /// codec = "h264"
    /// ```
    ///
    /// # Errors
    /// When the file cannot be read, or says something else.
    pub fn read(path: &Path, default: &ShowKind) -> Result<Self, BenchError> {
        let text = fs::read_to_string(path).map_err(|error| BenchError::File {
            path: path.to_owned(),
            error,
        })?;
        Self::parse(&text, default)
            .map_err(|reason| BenchError::Argument(format!("{}: {reason}", path.display())))
    }

    fn parse(text: &str, default: &ShowKind) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut shows = Vec::new();
        for show in file.show {
            if show.share > 0 {
                shows.push((show.share, show.kind(default)?));
            }
        }
        if shows.is_empty() {
            return Err("it has no [[show]] with a share".to_owned());
        }
        Ok(Self { shows })
    }

    /// The kinds of the first, second and each further broadcast, without end. Any number of them has
    /// the shares as exactly as whole broadcasts can, and a larger number only adds to a smaller one.
    pub fn kinds(&self) -> impl Iterator<Item = &ShowKind> {
        let total: i64 = self.shows.iter().map(|(share, _)| i64::from(*share)).sum();
        let mut due = vec![0_i64; self.shows.len()];
        std::iter::from_fn(move || {
            for (due, (share, _)) in due.iter_mut().zip(&self.shows) {
                *due += i64::from(*share);
            }
            // Of several that are due, the first.
            let (next, _) = due.iter().enumerate().rev().max_by_key(|(_, due)| **due)?;
            *due.get_mut(next)? -= total;
            self.shows.get(next).map(|(_, kind)| kind)
        })
    }

    /// Most destinations that one broadcast has.
    pub fn destinations_max(&self) -> u32 {
        let all = self.shows.iter().map(|(_, kind)| kind.destinations);
        all.max().unwrap_or(0)
    }

    /// The mix in words.
    pub fn text(&self) -> String {
        if let [(_, only)] = self.shows.as_slice() {
            return only.text();
        }
        let parts: Vec<String> = self
            .shows
            .iter()
            .map(|(share, kind)| format!("{share} × ({})", kind.text()))
            .collect();
        parts.join("; ")
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    show: Vec<Show>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Show {
    #[serde(default = "one")]
    share: u32,
    #[serde(default = "one")]
    destinations: u32,
    #[serde(default)]
    renditions: Vec<String>,
    size: Option<String>,
    fps: Option<u32>,
    bitrate_kbps: Option<u32>,
    audio_kbps: Option<u32>,
    stereo: Option<bool>,
    codec: Option<String>,
}

fn one() -> u32 {
    1
}

impl Show {
    fn kind(self, default: &ShowKind) -> Result<ShowKind, String> {
        let mut format = default.format;
        if let Some(size) = self.size {
            let parsed = size.split_once('x');
            let parsed = parsed.and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
            (format.width, format.height) =
                parsed.ok_or(format!("'{size}' is not a size like 1280x720"))?;
        }
        if let Some(name) = self.codec {
            let mut all = VideoCodec::ALL.into_iter();
            let codec = all.find(|codec| codec.name().eq_ignore_ascii_case(&name));
            format.codec = codec.ok_or(format!("'{name}' is not one of h264, vp8, vp9, av1"))?;
        }
        format.fps = self.fps.unwrap_or(format.fps);
        format.video_kbps = self.bitrate_kbps.unwrap_or(format.video_kbps);
        format.audio_kbps = self.audio_kbps.unwrap_or(format.audio_kbps);
        format.channels = match self.stereo {
            Some(true) => AudioChannels::Stereo,
            Some(false) => AudioChannels::Mono,
            None => format.channels,
        };
        let renditions = self.renditions.iter().map(|text| rendition(text));
        Ok(ShowKind {
            destinations: self.destinations,
            renditions: renditions.collect::<Result<_, _>>()?,
            format,
            ..default.clone()
        })
    }
}

/// A rendition by its height and, if given, its bit rate in kbit/s: `720p` or `720p:2500`.
///
/// # Errors
/// When it is something else.
pub fn rendition(text: &str) -> Result<RenditionSpec, String> {
    let (height, kbps) = text
        .split_once(':')
        .map_or((text, None), |(h, k)| (h, Some(k)));
    let wrong = || format!("'{text}' is not a rendition like 720p or 720p:2500");
    let height = height.trim_end_matches('p').parse().map_err(|_| wrong())?;
    let mut spec = RenditionSpec::of_height(height);
    if let Some(kbps) = kbps {
        let kbps: u32 = kbps.parse().map_err(|_| wrong())?;
        spec.video_bps = kbps.saturating_mul(1_000);
    }
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default() -> ShowKind {
        ShowKind::new(1, TestClipFormat::default())
    }

    #[test]
    fn any_number_of_broadcasts_has_the_shares_of_the_mix() {
        let text = "[[show]]\nshare = 7\n[[show]]\nshare = 2\ndestinations = 3\n\
                    [[show]]\ndestinations = 0\nrenditions = ['720p', '360p:700']";
        let mix = Mix::parse(text, &default()).unwrap();
        for count in 1..60_usize {
            let kinds: Vec<u32> = mix
                .kinds()
                .take(count)
                .map(|kind| kind.destinations)
                .collect();
            for (destinations, share) in [(1, 7.0), (3, 2.0), (0, 1.0)] {
                let has = kinds.iter().filter(|kind| **kind == destinations).count();
                let exact = count as f64 * share / 10.0;
                assert!(
                    (has as f64 - exact).abs() < 1.0,
                    "{count}: {has} with {destinations}, exactly {exact}"
                );
            }
        }
        assert_eq!(mix.destinations_max(), 3);
        let last = mix.kinds().find(|kind| kind.destinations == 0).unwrap();
        assert_eq!(last.renditions[1].video_bps, 700_000);
        assert_eq!(last.renditions[0].height, 720);
    }

    #[test]
    fn a_wrong_file_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "show"),
            ("[[show]]\nshare = 0", "no [[show]]"),
            ("[[show]]\nsize = 'big'", "not a size"),
            ("[[show]]\nviewers = 3", "unknown field"),
            ("[[show]]\nrenditions = ['x']", "not a rendition"),
            ("[[show]]\ncodec = 'h265'", "not one of"),
        ] {
            let error = Mix::parse(text, &default()).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
