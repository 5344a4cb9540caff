//! What the broadcasts of a load are: all alike, or a mix of kinds from a file.

use std::{fs, path::Path, str::FromStr};

use serde::{Deserialize, Serialize};
use shardcast_link::{RenditionSpec, VideoCodec};

use crate::BenchError;
use crate::publisher::Pace;
use crate::test_clip::{AudioChannels, TestClipFormat};

/// How a server is published to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ingest {
    /// WebRTC with Opus: with the SDK's signalling at Shardcast, by WHIP (RFC 9725) at other servers.
    #[default]
    WebRtc,
    /// RTMP with H.264 and AAC-LC in stereo.
    Rtmp,
}

impl Ingest {
    /// Both, in the order of reports.
    pub const ALL: [Self; 2] = [Self::WebRtc, Self::Rtmp];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::WebRtc => "WebRTC",
            Self::Rtmp => "RTMP",
        }
    }
}

impl FromStr for Ingest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "webrtc" | "whip" => Ok(Self::WebRtc),
            "rtmp" => Ok(Self::Rtmp),
            _ => Err(format!("'{text}' is not one of webrtc, rtmp")),
        }
    }
}

/// One kind of broadcast.
#[derive(Clone, Debug, Serialize)]
pub struct ShowKind {
    /// How it is published.
    pub publisher: Ingest,
    /// Destinations that take the video as it is.
    pub destinations: u32,
    /// Renditions, one destination for each.
    pub renditions: Vec<RenditionSpec>,
    /// Viewers over WebRTC.
    pub viewers: u32,
    /// Players that poll its HLS.
    pub hls_pollers: u32,
    /// It is recorded.
    pub is_recorded: bool,
    /// Video and audio of the publisher.
    #[serde(skip)]
    pub format: TestClipFormat,
    /// The publisher sends audio.
    pub audio: bool,
    /// The destinations say that they take Opus, so that audio is passed on.
    pub opus: bool,
    /// Spacing of the publisher's frames.
    #[serde(skip)]
    pub pace: Pace,
}

impl ShowKind {
    /// Broadcasts with audio, from WebRTC to so many destinations.
    pub fn new(destinations: u32, format: TestClipFormat) -> Self {
        Self {
            publisher: Ingest::WebRtc,
            destinations,
            renditions: Vec::new(),
            viewers: 0,
            hls_pollers: 0,
            is_recorded: false,
            format,
            audio: true,
            opus: false,
            pace: Pace::Constant,
        }
    }

    /// Whether it can be published.
    ///
    /// # Errors
    /// When it is of another codec than H.264 and goes in by RTMP.
    pub(super) fn check(&self) -> Result<(), BenchError> {
        if self.publisher == Ingest::Rtmp && self.format.codec != VideoCodec::H264 {
            let text = "by RTMP, H.264 is published, and no other codec";
            return Err(BenchError::Argument(text.to_owned()));
        }
        Ok(())
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
        let opus = if self.opus { " that take Opus" } else { "" };
        let viewers = match self.viewers {
            0 => String::new(),
            1 => ", one viewer".to_owned(),
            viewers => format!(", {viewers} viewers"),
        };
        let pollers = match self.hls_pollers {
            0 => String::new(),
            1 => ", one HLS poller".to_owned(),
            pollers => format!(", {pollers} HLS pollers"),
        };
        let recorded = if self.is_recorded { ", recorded" } else { "" };
        format!(
            "{} {}x{} at {} frames a second and {} kbit/s, {} by {} to {} destination{}{opus}{renditions}{viewers}{pollers}{recorded}",
            format.codec.name(),
            format.width,
            format.height,
            format.fps,
            format.video_kbps,
            match (self.audio, self.publisher, format.channels) {
                (false, ..) => "no audio",
                (true, Ingest::WebRtc, AudioChannels::Mono) => "mono",
                (true, Ingest::WebRtc, AudioChannels::Stereo) | (true, Ingest::Rtmp, _) => "stereo",
            },
            self.publisher.name(),
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

    /// So many broadcasts of a kind, `by_rtmp` of them published by RTMP and the others by WebRTC.
    ///
    /// # Errors
    /// When more are to be published by RTMP than there are.
    pub fn partly_by_rtmp(
        kind: &ShowKind,
        broadcasts: u32,
        by_rtmp: u32,
    ) -> Result<Self, BenchError> {
        let by_webrtc = broadcasts.checked_sub(by_rtmp).ok_or_else(|| {
            BenchError::Argument(format!(
                "{by_rtmp} of {broadcasts} broadcasts cannot be published by RTMP"
            ))
        })?;
        let shares = [(by_webrtc, Ingest::WebRtc), (by_rtmp, Ingest::Rtmp)];
        let shows = shares.into_iter().filter(|(share, _)| *share > 0);
        let kind = |publisher| ShowKind {
            publisher,
            ..kind.clone()
        };
        Ok(Self {
            shows: shows.map(|(share, by)| (share, kind(by))).collect(),
        })
    }

    /// The same broadcasts, all published in this way.
    pub fn published_by(mut self, ingest: Ingest) -> Self {
        for (_, kind) in &mut self.shows {
            kind.publisher = ingest;
        }
        self
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
    /// publisher = "rtmp"              # "webrtc" unless the command line says otherwise
    /// destinations = 3
    /// viewers = 10
    /// hls_pollers = 20
    /// record = true                   # as the command line says without it
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

    /// Whether the destinations say that they take Opus. All broadcasts share them.
    pub fn has_opus(&self) -> bool {
        self.shows.iter().any(|(_, kind)| kind.opus)
    }

    /// Whether some broadcasts have viewers.
    pub fn has_viewers(&self) -> bool {
        self.shows.iter().any(|(_, kind)| kind.viewers > 0)
    }

    /// Whether some broadcasts have players that poll HLS.
    pub fn has_hls_pollers(&self) -> bool {
        self.shows.iter().any(|(_, kind)| kind.hls_pollers > 0)
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
    publisher: Option<String>,
    #[serde(default = "one")]
    destinations: u32,
    #[serde(default)]
    viewers: u32,
    #[serde(default)]
    hls_pollers: u32,
    record: Option<bool>,
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
        let publisher = self
            .publisher
            .map(|name| name.parse::<Ingest>())
            .transpose()?;
        let renditions = self.renditions.iter().map(|text| rendition(text));
        Ok(ShowKind {
            publisher: publisher.unwrap_or(default.publisher),
            destinations: self.destinations,
            viewers: self.viewers,
            hls_pollers: self.hls_pollers,
            is_recorded: self.record.unwrap_or(default.is_recorded),
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
                    [[show]]\ndestinations = 0\nviewers = 4\nhls_pollers = 2\nrecord = true\nrenditions = ['720p', '360p:700']";
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
        assert!(mix.has_viewers() && mix.has_hls_pollers());
        let said = last.text();
        assert!(
            said.ends_with(", 4 viewers, 2 HLS pollers, recorded"),
            "{said}"
        );
    }

    #[test]
    fn broadcasts_by_rtmp_stand_beside_others_in_the_number_that_is_wanted() {
        let by_rtmp = |mix: &Mix, count| {
            let kinds = mix.kinds().take(count);
            kinds.filter(|it| it.publisher == Ingest::Rtmp).count()
        };
        let mix = "[[show]]\nshare = 3\n[[show]]\npublisher = 'rtmp'";
        let mix = Mix::parse(mix, &default()).unwrap();
        assert_eq!((by_rtmp(&mix, 4), by_rtmp(&mix, 12)), (1, 3));
        assert!(mix.text().contains("mono by WebRTC to 1 destination"));
        assert!(mix.text().contains("stereo by RTMP to 1 destination"));
        for count in 0..=10 {
            let mix = Mix::partly_by_rtmp(&default(), 10, count).unwrap();
            assert_eq!(by_rtmp(&mix, 10), count as usize);
        }
        assert!(Mix::partly_by_rtmp(&default(), 1, 2).is_err());
        let all = mix.published_by(Ingest::Rtmp);
        assert_eq!(by_rtmp(&all, 7), 7);
        let mut vp8 = default();
        (vp8.publisher, vp8.format.codec) = (Ingest::Rtmp, VideoCodec::Vp8);
        assert!(vp8.check().is_err());
    }

    #[test]
    fn a_wrong_file_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "show"),
            ("[[show]]\nshare = 0", "no [[show]]"),
            ("[[show]]\nsize = 'big'", "not a size"),
            ("[[show]]\nlisteners = 3", "unknown field"),
            ("[[show]]\npublisher = 'srt'", "not one of webrtc, rtmp"),
            ("[[show]]\nrenditions = ['x']", "not a rendition"),
            ("[[show]]\ncodec = 'h265'", "not one of"),
        ] {
            let error = Mix::parse(text, &default()).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
