//! HLS of an application, and DASH.

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use shardcast_link::WantedHls;

use crate::limits;

/// HLS of one application, under the names of Ant Media Server where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct HlsSettings {
    /// Broadcasts can be watched by HLS.
    #[serde(rename = "hlsMuxingEnabled")]
    pub enabled: bool,
    /// Length of a segment in seconds. It ends at the keyframe that comes next.
    #[serde(rename = "hlsTime")]
    pub segment_s: u32,
    /// Segments of a playlist.
    #[serde(rename = "hlsListSize")]
    pub list_size: u32,
    /// Broadcasts are packaged from their first picture on; else from the first request on, while there are
    /// some.
    #[serde(rename = "hls_always")]
    pub always: bool,
    /// What segments are. Low-latency HLS is of fMP4.
    #[serde(rename = "hlsSegmentType")]
    pub segment_type: SegmentType,
    /// Broadcasts can be watched by DASH, which is made of the same segments.
    #[serde(rename = "dashMuxingEnabled")]
    pub dash: bool,
}

/// What segments of HLS are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SegmentType {
    /// Fragments of MP4, with parts for low latency.
    Fmp4,
    /// MPEG-TS, for players that know nothing of those.
    MpegTs,
}

impl Default for HlsSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            segment_s: 2,
            list_size: 15,
            always: false,
            segment_type: SegmentType::Fmp4,
            dash: false,
        }
    }
}

impl HlsSettings {
    /// Whether something is served that is made of segments.
    pub(crate) fn is_packaged(&self) -> bool {
        self.enabled || self.dash
    }

    /// What a shard is told, of the publisher's video.
    pub(crate) fn wanted(&self) -> WantedHls {
        WantedHls {
            segment_ms: self.segment_s * 1_000,
            ladder: false,
        }
    }

    /// Segments of a playlist; as in Ant Media Server, fewer than five are five.
    pub(crate) fn list_size(&self) -> usize {
        let least = limits::HLS_LIST_SIZE_MIN;
        usize::try_from(self.list_size).unwrap_or(least).max(least)
    }

    /// The setting that cannot be, and why.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        let (times, sizes) = (limits::HLS_TIME_S, limits::HLS_LIST_SIZE);
        if !times.contains(&self.segment_s) {
            let problem = format!("must be from {} to {} seconds", times.start(), times.end());
            return Some(("hlsTime", problem));
        }
        if !sizes.contains(&self.list_size) {
            let problem = format!("must be from {} to {}", sizes.start(), sizes.end());
            return Some(("hlsListSize", problem));
        }
        None
    }
}

/// A whole number, or a text of one: both are texts in Ant Media Server.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        Number(u32),
        Text(String),
    }
    let given = Option::<Given>::deserialize(deserializer)?;
    let number = given.map(|given| match given {
        Given::Number(number) => Ok(number),
        Given::Text(text) => text
            .trim()
            .parse()
            .map_err(|_| D::Error::custom(format!("'{text}' must be a whole number"))),
    });
    number.transpose()
}

#[cfg(test)]
mod tests {
    use crate::settings::{Overrides, file, layers::resolve};

    #[test]
    fn hls_of_an_application_is_set_by_numbers_and_by_texts_within_its_bounds() {
        let text = "hlsTime = \"4\"\nhlsListSize = 3\n[application.Off]\nhlsMuxingEnabled = false\nhlsTime = 6\n\
                    hls_always = true\n";
        let settings = resolve(&Overrides::default(), &file::read(text).unwrap()).unwrap();
        let usual = settings.application["LiveApp"].hls;
        assert!(usual.enabled && !usual.always);
        assert_eq!((usual.segment_s, usual.list_size()), (4, 5));
        let off = settings.application["Off"].hls;
        assert!(!off.enabled && off.always);
        assert_eq!((off.segment_s, off.wanted().segment_ms), (6, 6_000));
        for (text, words) in [
            ("hlsTime = 0", "hlsTime: must be from 1 to 10"),
            ("hlsTime = \"11\"", "hlsTime: must be from 1 to 10"),
            ("hlsListSize = 101", "hlsListSize: must be from 1 to 100"),
        ] {
            let error = resolve(&Overrides::default(), &file::read(text).unwrap()).unwrap_err();
            assert!(error.to_string().contains(words), "{text}: {error}");
        }
        let error = file::read("hlsTime = \"soon\"").unwrap_err();
        assert!(error.to_string().contains("whole number"), "{error}");
    }
}
