//! Previews of an application's broadcasts.

use serde::Serialize;
use shardcast_link::{PreviewFormat, WantedPreview};

use crate::limits;

/// Previews of one application; names that Ant Media Server has are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PreviewSettings {
    /// Previews are made of live broadcasts.
    #[serde(rename = "generatePreview")]
    pub enabled: bool,
    /// Time between two of one broadcast, in milliseconds. Less than five seconds are five.
    #[serde(rename = "createPreviewPeriod")]
    pub period_ms: u64,
    /// Lines of the picture, at most.
    #[serde(rename = "previewHeight")]
    pub height: u32,
    /// What kind of file it is.
    #[serde(rename = "previewFormat")]
    pub format: PreviewFormat,
}

impl Default for PreviewSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            period_ms: 5_000,
            height: 480,
            format: PreviewFormat::Png,
        }
    }
}

impl PreviewSettings {
    /// What a shard is told.
    pub(crate) fn wanted(&self) -> Option<WantedPreview> {
        self.enabled.then(|| WantedPreview {
            period_ms: self.period_ms.max(limits::PREVIEW_PERIOD_MS_MIN),
            height: self.height,
            format: self.format,
        })
    }

    /// The setting that cannot be, and why.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        let most = limits::PREVIEW_PERIOD_MS_MAX;
        if self.period_ms > most {
            let problem = format!("must be at most {most}, an hour");
            return Some(("createPreviewPeriod", problem));
        }
        let heights = limits::PREVIEW_HEIGHT;
        if !heights.contains(&self.height) {
            let problem = format!("must be from {} to {}", heights.start(), heights.end());
            return Some(("previewHeight", problem));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use shardcast_link::PreviewFormat;

    use crate::settings::{Overrides, file, layers::resolve};

    #[test]
    fn previews_are_off_unless_asked_for_and_no_more_often_than_every_five_seconds() {
        let text = "[application.One]\ngeneratePreview = true\ncreatePreviewPeriod = 1000\n\
                    previewFormat = \"jpg\"\n[application.Ams.ant_media]\n\
                    \"settings.generatePreview\" = \"true\"\n\"settings.previewHeight\" = \"720\"\n\
                    \"settings.previewFormat\" = \"webp\"\n";
        let settings = resolve(&Overrides::default(), &file::read(text).unwrap()).unwrap();
        assert_eq!(settings.application["LiveApp"].preview.wanted(), None);
        let wanted = settings.application["One"].preview.wanted().unwrap();
        assert_eq!((wanted.period_ms, wanted.height), (5_000, 480));
        assert_eq!(wanted.format, PreviewFormat::Jpg);
        let wanted = settings.application["Ams"].preview.wanted().unwrap();
        assert_eq!((wanted.height, wanted.format), (720, PreviewFormat::Png));
        let warnings = settings.warnings.concat();
        assert!(warnings.contains("there are png and jpg"), "{warnings}");
        for (text, words) in [
            ("createPreviewPeriod = 3600001", "at most 3600000"),
            ("previewHeight = 20", "must be from 72 to 1080"),
        ] {
            let error = resolve(&Overrides::default(), &file::read(text).unwrap()).unwrap_err();
            assert!(error.to_string().contains(words), "{text}: {error}");
        }
    }
}
