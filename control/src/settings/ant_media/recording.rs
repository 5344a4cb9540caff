//! Ant Media Server's names of recordings, of their upload, and of previews.

use toml::Value;

use super::{
    ApplicationOverrides, put,
    values::{boolean, parse, word},
};
use crate::limits;

/// Names that [`assign`] knows.
pub(super) const NAMES: &[&str] = &[
    "mp4MuxingEnabled",
    "addDateTimeToMp4FileName",
    "muxerFinishScript",
    "s3RecordingEnabled",
    "s3AccessKey",
    "s3SecretKey",
    "s3RegionName",
    "s3BucketName",
    "s3Endpoint",
    "s3StreamsFolderPath",
    "generatePreview",
    "createPreviewPeriod",
    "previewHeight",
    "previewFormat",
];

/// Takes a setting of recordings or previews over. Returns whether it is one and its value can be used.
pub(super) fn assign(app: &mut ApplicationOverrides, name: &str, value: &Value) -> bool {
    match name {
        "mp4MuxingEnabled" => put(&mut app.mp4_muxing_enabled, boolean(value)),
        "addDateTimeToMp4FileName" => put(&mut app.add_date_time_to_mp4_file_name, boolean(value)),
        "muxerFinishScript" => put(&mut app.muxer_finish_script, parse(value)),
        "s3RecordingEnabled" => put(&mut app.s3_recording_enabled, boolean(value)),
        "s3AccessKey" => put(&mut app.s3_access_key, parse(value)),
        "s3SecretKey" => put(&mut app.s3_secret_key, parse(value)),
        "s3RegionName" => put(&mut app.s3_region_name, parse(value)),
        "s3BucketName" => put(&mut app.s3_bucket_name, parse(value)),
        "s3Endpoint" => put(&mut app.s3_endpoint, parse(value)),
        "s3StreamsFolderPath" => put(&mut app.s3_streams_folder_path, parse(value)),
        "generatePreview" => put(&mut app.generate_preview, boolean(value)),
        "createPreviewPeriod" => {
            let period = parse::<u64>(value).filter(|ms| *ms <= limits::PREVIEW_PERIOD_MS_MAX);
            put(&mut app.create_preview_period, period)
        }
        "previewHeight" => {
            let height =
                parse::<u32>(value).filter(|height| limits::PREVIEW_HEIGHT.contains(height));
            put(&mut app.preview_height, height)
        }
        "previewFormat" => put(&mut app.preview_format, word(value)),
        _ => false,
    }
}

/// Why [`assign`] cannot use a value, where that is not plain.
pub(super) fn reason(name: &str) -> Option<String> {
    match name {
        "createPreviewPeriod" => {
            let most = limits::PREVIEW_PERIOD_MS_MAX;
            Some(format!("it must be at most {most}"))
        }
        "previewHeight" => {
            let range = limits::PREVIEW_HEIGHT;
            let (least, most) = (range.start(), range.end());
            Some(format!("it must be from {least} to {most}"))
        }
        "previewFormat" => Some("there are png and jpg".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::{ApplicationSettings, ant_media::tests::from};

    #[test]
    fn recordings_are_carried_over_by_the_names_that_they_have_there() {
        let (translated, warnings) = from(
            "settings.mp4MuxingEnabled = \"true\"\nsettings.addDateTimeToMp4FileName = true\n\
             muxerFinishScript = \"/usr/local/bin/upload --to backup\"\n",
        );
        let mut settings = ApplicationSettings::default();
        translated.application.apply(&mut settings);
        let recording = settings.recording;
        assert!(recording.enabled && recording.has_dated_names);
        assert_eq!(recording.finish_script, "/usr/local/bin/upload --to backup");
        assert_eq!(warnings, Vec::<String>::new());
    }
}
