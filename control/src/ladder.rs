//! A ladder of renditions (`encoderSettings`): the heights that destinations may ask for, and what
//! each costs in bits. Read in every form that Ant Media Server has for it.

use std::{collections::BTreeSet, fmt, ops::RangeInclusive, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

use crate::limits;

/// A ladder that cannot be used. The fault of the operator or client that wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LadderError {
    /// Neither of the two forms.
    #[error(
        "'{0}' is no ladder: write a JSON list of \
         {{\"height\", \"videoBitrate\", \"audioBitrate\"}}, or height,videoBitrate,audioBitrate \
         for each rung, with bit rates in bit/s"
    )]
    Form(String),
    /// A JSON list whose items are not rungs.
    #[error("a rung cannot be read: {0}")]
    Rung(String),
    /// Too many rungs.
    #[error("{0} rungs are more than {max}", max = limits::LADDER_RUNGS_MAX)]
    Rungs(usize),
    /// Longer than a ladder can be.
    #[error("the text is longer than {max} bytes", max = limits::LADDER_BYTES_MAX)]
    Length,
    /// Nothing says which of two rungs is meant.
    #[error("the height {0} is there twice")]
    Twice(u32),
    /// Chroma is kept for two lines at a time (4:2:0).
    #[error("the height {0} is not even")]
    Odd(u32),
    /// Out of the range that this server makes.
    #[error("{key} is {value}, and must be from {min} to {max}")]
    Range {
        /// As Ant Media Server calls it.
        key: &'static str,
        /// As it was given.
        value: u32,
        /// The smallest that can be used.
        min: u32,
        /// The largest that can be used.
        max: u32,
    },
}

/// One rendition of a ladder: `EncoderSettings` of Ant Media Server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rung {
    /// Pixels, even.
    #[serde(deserialize_with = "number")]
    pub height: u32,
    /// bit/s.
    #[serde(deserialize_with = "number")]
    pub video_bitrate: u32,
    /// bit/s.
    #[serde(deserialize_with = "number")]
    pub audio_bitrate: u32,
    /// Also from smaller video; checked when a destination is added, if the size of the video is known.
    #[serde(default = "yes")]
    pub force_encode: bool,
    /// Without effect, and kept for clients that read it back: a rung is always made, also from a
    /// picture of the same height.
    #[serde(default)]
    pub force_same_resolution_encode: bool,
}

/// A number, or a text that is one: Jackson takes both there.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    struct Number;

    impl de::Visitor<'_> for Number {
        type Value = u32;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number from 0 on")
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<u32, E> {
            let wrong = |_| E::invalid_value(de::Unexpected::Unsigned(number), &self);
            u32::try_from(number).map_err(wrong)
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<u32, E> {
            let wrong = |_| E::invalid_value(de::Unexpected::Signed(number), &self);
            u32::try_from(number).map_err(wrong)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<u32, E> {
            let wrong = |_| E::invalid_value(de::Unexpected::Str(text), &self);
            text.trim().parse().map_err(wrong)
        }
    }

    deserializer.deserialize_any(Number)
}

fn yes() -> bool {
    true
}

/// At most [`limits::LADDER_RUNGS_MAX`] rungs of different heights; empty is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Ladder(Vec<Rung>);

impl Ladder {
    /// A ladder of `rungs`.
    ///
    /// # Errors
    /// When one is out of range or there twice, or when there are too many.
    pub fn new(rungs: Vec<Rung>) -> Result<Self, LadderError> {
        if rungs.len() > limits::LADDER_RUNGS_MAX {
            return Err(LadderError::Rungs(rungs.len()));
        }
        let mut heights = BTreeSet::new();
        for rung in &rungs {
            rung.check()?;
            if !heights.insert(rung.height) {
                return Err(LadderError::Twice(rung.height));
            }
        }
        Ok(Self(rungs))
    }

    /// The ladder that a JSON list of `EncoderSettings` is.
    pub(crate) fn of_values(values: &[Value]) -> Result<Self, LadderError> {
        if values.len() > limits::LADDER_RUNGS_MAX {
            return Err(LadderError::Rungs(values.len()));
        }
        let rungs = values.iter().map(Rung::deserialize);
        let rungs: Result<_, _> = rungs.collect();
        Self::new(rungs.map_err(|error| LadderError::Rung(error.to_string()))?)
    }

    /// In the order in which they were written.
    pub fn rungs(&self) -> &[Rung] {
        &self.0
    }

    /// Whether there is no rung.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rung of this height.
    pub fn rung(&self, height: u32) -> Option<Rung> {
        self.0.iter().copied().find(|rung| rung.height == height)
    }

    /// `height,videoBitrate,audioBitrate,…`, the form of old versions; there may be a comma at the
    /// end.
    fn of_triples(text: &str) -> Option<Vec<Rung>> {
        let text = text.strip_suffix(',').unwrap_or(text);
        let numbers = text.split(',').map(|number| number.trim().parse());
        let numbers: Vec<u32> = numbers.collect::<Result<_, _>>().ok()?;
        let triples = numbers.chunks_exact(3);
        if !triples.remainder().is_empty() {
            return None;
        }
        let rung = |triple: &[u32]| match *triple {
            [height, video_bitrate, audio_bitrate] => Some(Rung {
                height,
                video_bitrate,
                audio_bitrate,
                force_encode: true,
                force_same_resolution_encode: false,
            }),
            _ => None,
        };
        triples.map(rung).collect()
    }
}

impl Rung {
    fn check(&self) -> Result<(), LadderError> {
        within("height", self.height, &limits::RENDITION_HEIGHT)?;
        if !self.height.is_multiple_of(2) {
            return Err(LadderError::Odd(self.height));
        }
        within(
            "videoBitrate",
            self.video_bitrate,
            &limits::RENDITION_VIDEO_BPS,
        )?;
        within(
            "audioBitrate",
            self.audio_bitrate,
            &limits::RENDITION_AUDIO_BPS,
        )
    }
}

fn within(key: &'static str, value: u32, range: &RangeInclusive<u32>) -> Result<(), LadderError> {
    if range.contains(&value) {
        return Ok(());
    }
    let (min, max) = (*range.start(), *range.end());
    Err(LadderError::Range {
        key,
        value,
        min,
        max,
    })
}

impl FromStr for Ladder {
    type Err = LadderError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.len() > limits::LADDER_BYTES_MAX {
            return Err(LadderError::Length);
        }
        if text.is_empty() {
            return Ok(Self::default());
        }
        if text.starts_with('[') {
            let values: Vec<Value> = serde_json::from_str(text)
                .map_err(|error| LadderError::Rung(format!("malformed JSON: {error}")))?;
            return Self::of_values(&values);
        }
        let form = || LadderError::Form(text.chars().take(60).collect());
        Self::new(Self::of_triples(text).ok_or_else(form)?)
    }
}

/// Either text, or a real list.
impl<'de> Deserialize<'de> for Ladder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl<'de> de::Visitor<'de> for Visitor {
    type Value = Ladder;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a ladder: a text, or a list of rungs")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Ladder, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Ladder, A::Error> {
        let mut rungs = Vec::new();
        while let Some(rung) = list.next_element()? {
            if rungs.len() == limits::LADDER_RUNGS_MAX {
                return Err(de::Error::custom(LadderError::Rungs(rungs.len() + 1)));
            }
            rungs.push(rung);
        }
        Ladder::new(rungs).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rung(height: u32, video_bitrate: u32, audio_bitrate: u32) -> Rung {
        Rung {
            height,
            video_bitrate,
            audio_bitrate,
            force_encode: true,
            force_same_resolution_encode: false,
        }
    }

    #[test]
    fn both_texts_of_ant_media_server_are_read() {
        let wanted = [rung(720, 2_000_000, 96_000), rung(360, 800_000, 64_000)];
        let json = r#" [{"height":720,"videoBitrate":2000000,"audioBitrate":96000,
            "forceEncode":true},{"height":360,"videoBitrate":800000,"audioBitrate":64000}]"#;
        let quoted = r#"[{"height":"720","videoBitrate":"2000000","audioBitrate":" 96000"},
            {"height":360,"videoBitrate":"800000","audioBitrate":64000}]"#;
        let triples = "720,2000000,96000, 360,800000,64000";
        for text in [json, quoted, triples, &format!("{triples} ,")] {
            let ladder: Ladder = text.parse().unwrap();
            assert_eq!(ladder.rungs(), wanted, "{text}");
        }
        assert!(" ".parse::<Ladder>().unwrap().is_empty());
        assert!("[]".parse::<Ladder>().unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_a_ladder_is_told_in_words() {
        let nine: Vec<String> = (1..10)
            .map(|n| format!("{},60000,64000", n * 100))
            .collect();
        for (text, words) in [
            ("fast", "'fast' is no ladder"),
            ("720,2000000", "is no ladder"),
            ("720,2000000,96000,,", "is no ladder"),
            (
                "[{\"height\":\"x\",\"videoBitrate\":1,\"audioBitrate\":1}]",
                "a whole number",
            ),
            ("720,-1,96000", "is no ladder"),
            ("[{\"height\":720", "malformed JSON"),
            ("[720]", "a rung cannot be read"),
            ("[{\"height\":720}]", "videoBitrate"),
            ("[{\"heigth\":720}]", "heigth"),
            (
                "88,500000,64000",
                "height is 88, and must be from 90 to 2160",
            ),
            ("2162,500000,64000", "must be from 90 to 2160"),
            ("361,500000,64000", "361 is not even"),
            ("360,49999,64000", "videoBitrate is 49999"),
            ("360,50000001,64000", "must be from 50000 to 50000000"),
            ("360,500000,64", "audioBitrate is 64"),
            ("360,500000,64000,360,600000,64000", "360 is there twice"),
            (nine.join(",").as_str(), "9 rungs are more than 8"),
            (" 1".repeat(4_000).as_str(), "longer than 4096 bytes"),
        ] {
            let error = text.parse::<Ladder>().unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn a_list_is_read_like_its_text() {
        let text = "[{\"height\":480,\"videoBitrate\":900000,\"audioBitrate\":64000}]";
        let wanted: Ladder = text.parse().unwrap();
        assert_eq!(serde_json::from_str::<Ladder>(text).unwrap(), wanted);
        let quoted = serde_json::to_string(text).unwrap();
        assert_eq!(serde_json::from_str::<Ladder>(&quoted).unwrap(), wanted);
        let odd = text.replace("480", "481");
        assert!(serde_json::from_str::<Ladder>(&odd).is_err());
    }
}
