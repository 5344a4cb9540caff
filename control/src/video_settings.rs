//! The video settings of a destination: what a client may set, and how it is laid over the settings of
//! the application.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shardcast_link::{
    PassthroughOverrides, Preset, Profile, Reencode, RenditionSpec, VideoSettings, video_bps_for,
};

use crate::{ladder::Rung, limits, settings::EncodingSettings};

/// Video settings that cannot be used. The fault of the client that sent them.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum VideoSettingsError {
    #[error("{key} is {value}, and must be from {min} to {max}")]
    Range {
        key: &'static str,
        value: f64,
        min: f64,
        max: f64,
    },
    #[error("{key} is {value}, and must be even")]
    Odd { key: &'static str, value: u32 },
    #[error("rendition.videoBitrate is {bitrate}, over contract.videoBitrateMax, which is {most}")]
    OverLimit { bitrate: u32, most: u32 },
}

/// What one destination has instead of its application's settings. What is left out is the
/// application's, also after that has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct VideoOverrides {
    pub(crate) reencode: Option<Reencode>,
    pub(crate) rendition: Option<RenditionOverrides>,
    #[serde(rename = "contract")]
    pub(crate) passthrough: Option<PassthroughConstraints>,
}

/// A rendition as clients write it. All but the height may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RenditionOverrides {
    /// Pixels; without it the shape is the publisher's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) width: Option<u32>,
    /// Pixels.
    pub(crate) height: u32,
    /// bit/s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) video_bitrate: Option<u32>,
    /// Pictures a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) frame_rate: Option<u32>,
    /// Distance of keyframes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gop_seconds: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) preset: Option<Preset>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<Profile>,
    /// bit/s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) audio_bitrate: Option<u32>,
}

/// What of the publisher's video a destination takes unchanged. What is left out is as its platform has
/// it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PassthroughConstraints {
    /// Milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keyframe_interval_ms_max: Option<u32>,
    /// The size must stay what it was at the beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size_stable: Option<bool>,
    /// bit/s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) video_bitrate_max: Option<u32>,
}

/// A change to the video settings of a destination. The outer `None` leaves a setting as it is, the inner
/// one sets it back to the application's.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct VideoChange {
    pub(crate) reencode: Option<Option<Reencode>>,
    pub(crate) rendition: Option<Option<RenditionOverrides>>,
    pub(crate) passthrough: Option<Option<PassthroughConstraints>>,
}

impl VideoOverrides {
    /// When a rendition is sent. A destination that names one and sets nothing else is always sent it.
    pub(crate) fn reencode(&self, application: &EncodingSettings) -> Reencode {
        match (self.reencode, &self.rendition) {
            (Some(reencode), _) => reencode,
            (None, Some(_)) => Reencode::Always,
            (None, None) => application.reencode,
        }
    }

    /// The whole settings, as the shard is sent them.
    pub(crate) fn over(&self, application: &EncodingSettings) -> VideoSettings {
        let rendition = self.rendition.as_ref();
        VideoSettings {
            reencode: self.reencode(application),
            rendition: rendition.map(|rendition| rendition.over(application, self.bitrate_max())),
            passthrough: self
                .passthrough
                .map(PassthroughOverrides::from)
                .unwrap_or_default(),
        }
    }

    /// These with `change` laid over them.
    ///
    /// # Errors
    /// When what comes of it contradicts itself.
    pub(crate) fn changed(&self, change: &VideoChange) -> Result<Self, VideoSettingsError> {
        let mut changed = *self;
        if let Some(rendition) = change.rendition {
            changed.rendition = rendition;
            if rendition.is_some() {
                changed.reencode = None;
            }
        }
        if let Some(reencode) = change.reencode {
            changed.reencode = reencode;
        }
        if let Some(passthrough) = change.passthrough {
            changed.passthrough = passthrough;
        }
        changed.check()?;
        Ok(changed)
    }

    /// Whether the rendition keeps the passthrough constraints of its destination.
    pub(crate) fn check(&self) -> Result<(), VideoSettingsError> {
        let bitrate = self.rendition.and_then(|rendition| rendition.video_bitrate);
        match (bitrate, self.bitrate_max()) {
            (Some(bitrate), Some(most)) if bitrate > most => {
                Err(VideoSettingsError::OverLimit { bitrate, most })
            }
            _ => Ok(()),
        }
    }

    /// Highest bit rate that the destination takes, in bit/s.
    fn bitrate_max(&self) -> Option<u32> {
        self.passthrough?.video_bitrate_max
    }
}

/// A rung of a ladder, whole: equal for destinations that ask for its height and for viewers.
pub(crate) fn rung(application: &EncodingSettings, rung: Rung) -> RenditionSpec {
    RenditionOverrides::from(rung).over(application, None)
}

impl VideoChange {
    /// Reads the body of an Endpoint.
    ///
    /// # Errors
    /// When a value is of the wrong kind or a key does not exist.
    pub(crate) fn read(object: &Map<String, Value>) -> Result<Self, String> {
        Ok(Self {
            reencode: reencode_of(object)?,
            rendition: part(object, "rendition")?,
            passthrough: part(object, "contract")?,
        })
    }

    /// Whether what it says can be.
    pub(crate) fn check(&self) -> Result<(), VideoSettingsError> {
        if let Some(Some(rendition)) = &self.rendition {
            rendition.check()?;
        }
        if let Some(Some(passthrough)) = &self.passthrough {
            passthrough.check()?;
        }
        Ok(())
    }
}

fn reencode_of(object: &Map<String, Value>) -> Result<Option<Option<Reencode>>, String> {
    let word = match object.get("reencode") {
        None => return Ok(None),
        Some(Value::String(word)) => word.trim(),
        Some(_) => return Err("reencode must be a string".to_owned()),
    };
    Ok(Some(match word {
        "" => None,
        "off" | "passthrough" => Some(Reencode::Off),
        "auto" => Some(Reencode::Auto),
        "always" => Some(Reencode::Always),
        _ => {
            return Err("reencode must be off, auto or always; off is also passthrough".to_owned());
        }
    }))
}

/// The object `key`; one without keys is the inner `None`.
fn part<'a, T: Deserialize<'a>>(
    object: &'a Map<String, Value>,
    key: &str,
) -> Result<Option<Option<T>>, String> {
    let value = match object.get(key) {
        None => return Ok(None),
        Some(Value::Object(part)) if part.is_empty() => return Ok(Some(None)),
        Some(value) => value,
    };
    match T::deserialize(value) {
        Ok(part) => Ok(Some(Some(part))),
        Err(error) => Err(format!("{key} has a wrong value: {error}")),
    }
}

impl RenditionOverrides {
    /// A rendition of this height, all else as the application has it.
    pub(crate) fn of_height(height: u32) -> Self {
        Self {
            width: None,
            height,
            video_bitrate: None,
            frame_rate: None,
            gop_seconds: None,
            preset: None,
            profile: None,
            audio_bitrate: None,
        }
    }

    /// Whole, for a destination that takes `bitrate_max`.
    fn over(&self, application: &EncodingSettings, bitrate_max: Option<u32>) -> RenditionSpec {
        // Portrait video has no more pixels than the same in landscape.
        let lines = self.width.map_or(self.height, |it| it.min(self.height));
        let usual_bps = video_bps_for(lines).min(bitrate_max.unwrap_or(u32::MAX));
        RenditionSpec {
            width: self.width,
            frames_per_second: self.frame_rate.unwrap_or(application.frames_per_second),
            video_bps: self.video_bitrate.unwrap_or(usual_bps),
            gop_ms: self.gop_seconds.map_or(application.gop_ms(), gop_ms),
            preset: self.preset.unwrap_or(application.preset),
            profile: self.profile.unwrap_or(application.profile),
            audio_bps: self
                .audio_bitrate
                .unwrap_or(RenditionSpec::of_height(self.height).audio_bps),
            height: self.height,
        }
    }

    fn check(&self) -> Result<(), VideoSettingsError> {
        let width = self.width.map(|width| ("rendition.width", width));
        let height = ("rendition.height", self.height);
        for (key, value) in width.into_iter().chain([height]) {
            let range = match key {
                "rendition.width" => limits::RENDITION_WIDTH,
                _ => limits::RENDITION_HEIGHT,
            };
            within(key, value, &range)?;
            if !value.is_multiple_of(2) {
                return Err(VideoSettingsError::Odd { key, value });
            }
        }
        for (key, value, range) in [
            (
                "rendition.videoBitrate",
                self.video_bitrate,
                limits::RENDITION_VIDEO_BPS,
            ),
            (
                "rendition.frameRate",
                self.frame_rate,
                limits::RENDITION_FRAMES_PER_SECOND,
            ),
            (
                "rendition.audioBitrate",
                self.audio_bitrate,
                limits::RENDITION_AUDIO_BPS,
            ),
        ] {
            value.map_or(Ok(()), |value| within(key, value, &range))?;
        }
        let range = limits::RENDITION_GOP_MS;
        match self.gop_seconds {
            Some(seconds) if !range.contains(&gop_ms(seconds)) => Err(VideoSettingsError::Range {
                key: "rendition.gopSeconds",
                value: seconds,
                min: f64::from(*range.start()) / 1_000.0,
                max: f64::from(*range.end()) / 1_000.0,
            }),
            _ => Ok(()),
        }
    }
}

/// JSON knows no NaN; `as` takes what is negative or too large to the bounds of the type.
fn gop_ms(seconds: f64) -> u32 {
    (seconds * 1_000.0).round() as u32
}

impl From<Rung> for RenditionOverrides {
    fn from(rung: Rung) -> Self {
        Self {
            video_bitrate: Some(rung.video_bitrate),
            audio_bitrate: Some(rung.audio_bitrate),
            ..Self::of_height(rung.height)
        }
    }
}

/// All settings of a rendition, as clients ask for one.
impl From<&RenditionSpec> for RenditionOverrides {
    fn from(spec: &RenditionSpec) -> Self {
        Self {
            width: spec.width,
            height: spec.height,
            video_bitrate: Some(spec.video_bps),
            frame_rate: Some(spec.frames_per_second),
            gop_seconds: Some(f64::from(spec.gop_ms) / 1_000.0),
            preset: Some(spec.preset),
            profile: Some(spec.profile),
            audio_bitrate: Some(spec.audio_bps),
        }
    }
}

impl PassthroughConstraints {
    fn check(&self) -> Result<(), VideoSettingsError> {
        if let Some(interval) = self.keyframe_interval_ms_max {
            let range = limits::PASSTHROUGH_KEYFRAME_INTERVAL_MS;
            within("contract.keyframeIntervalMsMax", interval, &range)?;
        }
        if let Some(bitrate) = self.video_bitrate_max {
            let range = limits::RENDITION_VIDEO_BPS;
            within("contract.videoBitrateMax", bitrate, &range)?;
        }
        Ok(())
    }
}

impl From<PassthroughConstraints> for PassthroughOverrides {
    fn from(constraints: PassthroughConstraints) -> Self {
        Self {
            keyframe_interval_ms_max: constraints.keyframe_interval_ms_max,
            size_stable: constraints.size_stable,
            video_bps_max: constraints.video_bitrate_max,
        }
    }
}

/// What a destination that names no rendition is sent when it is sent one; a size that it had
/// before goes before this one.
pub(crate) fn rendition_default(application: &EncodingSettings) -> RenditionSpec {
    let usual = RenditionOverrides {
        width: Some(1_280),
        ..RenditionOverrides::of_height(720)
    };
    usual.over(application, None)
}

fn within(
    key: &'static str,
    value: u32,
    range: &RangeInclusive<u32>,
) -> Result<(), VideoSettingsError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(VideoSettingsError::Range {
        key,
        value: value.into(),
        min: (*range.start()).into(),
        max: (*range.end()).into(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(value: &Value) -> Result<VideoChange, String> {
        VideoChange::read(value.as_object().unwrap())
    }

    fn changed(video: &VideoOverrides, value: &Value) -> VideoOverrides {
        video.changed(&change(value).unwrap()).unwrap()
    }

    #[test]
    fn what_a_rendition_does_not_say_is_its_applications() {
        let application = EncodingSettings {
            frames_per_second: 25,
            gop_frames: 50,
            preset: Preset::Veryfast,
            ..EncodingSettings::default()
        };
        let video = VideoOverrides::default();
        assert_eq!(video.over(&application), VideoSettings::default());
        let body = json!({"rendition": {"height": 480, "gopSeconds": 1.5}});
        let video = changed(&video, &body).over(&application);
        let spec = video.rendition.unwrap();
        assert_eq!(video.reencode, Reencode::Always);
        assert_eq!((spec.frames_per_second, spec.gop_ms), (25, 1_500));
        assert_eq!((spec.preset, spec.video_bps), (Preset::Veryfast, 1_500_000));
        assert_eq!(rendition_default(&application).gop_ms, 2_000);
    }

    #[test]
    fn a_rendition_that_is_named_is_wanted_always_unless_something_else_is_said() {
        let off = VideoOverrides {
            reencode: Some(Reencode::Off),
            ..VideoOverrides::default()
        };
        let application = EncodingSettings::default();
        let named = changed(&off, &json!({"rendition": {"height": 480}}));
        assert_eq!(named.reencode(&application), Reencode::Always);
        let auto = changed(&named, &json!({"reencode": "auto"}));
        assert_eq!(auto.reencode(&application), Reencode::Auto);
        assert_eq!(auto.rendition, named.rendition);
        let passed = changed(&auto, &json!({"reencode": "passthrough"}));
        assert_eq!(passed.reencode(&application), Reencode::Off);
        let back = changed(&passed, &json!({"reencode": "", "rendition": {}}));
        assert_eq!(back, VideoOverrides::default());
    }

    #[test]
    fn a_rendition_keeps_the_contract_of_its_destination() {
        let application = EncodingSettings::default();
        let contract = json!({"rendition": {"height": 720},
            "contract": {"videoBitrateMax": 2_000_000}});
        let video = changed(&VideoOverrides::default(), &contract);
        let spec = video.over(&application).rendition.unwrap();
        assert_eq!(spec.video_bps, 2_000_000);
        for (bitrate, is_kept) in [(2_000_000, true), (2_000_001, false)] {
            let body = json!({"rendition": {"height": 720, "videoBitrate": bitrate}});
            let result = video.changed(&change(&body).unwrap());
            assert_eq!(result.is_ok(), is_kept, "{bitrate}");
        }
        let named = json!({"rendition": {"height": 720, "videoBitrate": 3_000_000}});
        let video = changed(&VideoOverrides::default(), &named);
        let tighter = json!({"contract": {"videoBitrateMax": 2_000_000}});
        let refused = video.changed(&change(&tighter).unwrap()).unwrap_err();
        assert!(
            refused.to_string().contains("3000000, over contract"),
            "{refused}"
        );
    }

    #[test]
    fn a_video_that_cannot_be_is_told_with_its_key() {
        for (rendition, words) in [
            (json!({"height": 88}), "rendition.height is 88"),
            (json!({"height": 481}), "481, and must be even"),
            (json!({"height": 480, "width": 853}), "rendition.width"),
            (json!({"height": 480, "videoBitrate": 1}), "from 50000"),
            (json!({"height": 480, "frameRate": 0}), "from 1 to 60"),
            (json!({"height": 480, "gopSeconds": 0.4}), "from 0.5 to 10"),
            (json!({"height": 480, "gopSeconds": -1e300}), "from 0.5"),
            (json!({"height": 480, "audioBitrate": 7}), "audioBitrate"),
        ] {
            let change = change(&json!({"rendition": rendition})).unwrap();
            let error = change.check().unwrap_err().to_string();
            assert!(error.contains(words), "{rendition}: {error}");
        }
        for (body, words) in [
            (json!({"reencode": "often"}), "off, auto or always"),
            (json!({"reencode": true}), "must be a string"),
            (json!({"rendition": {"width": 640}}), "`height`"),
            (json!({"rendition": {"hight": 480}}), "`hight`"),
            (
                json!({"rendition": {"height": 480, "preset": "slow"}}),
                "`slow`",
            ),
            (json!({"contract": {"codec": "h264"}}), "`codec`"),
            (json!({"contract": 7}), "contract has a wrong value"),
        ] {
            let error = change(&body).unwrap_err();
            assert!(error.contains(words), "{body}: {error}");
        }
    }
}
