//! Ant Media Server's names of HLS.

use toml::Value;

use super::{
    ApplicationOverrides, put,
    values::{boolean, parse, word},
};

/// Takes a setting of HLS over. Returns whether it is one and its value can be used.
pub(super) fn assign_hls(app: &mut ApplicationOverrides, name: &str, value: &Value) -> bool {
    match name {
        "hlsMuxingEnabled" => put(&mut app.hls_muxing_enabled, boolean(value)),
        "hlsTime" => put(&mut app.hls_time, parse(value)),
        "hlsSegmentType" => put(&mut app.hls_segment_type, word(value)),
        "dashMuxingEnabled" => put(&mut app.dash_muxing_enabled, boolean(value)),
        // Guides have the second name.
        "hlsListSize" | "hlsPlayListSize" => put(&mut app.hls_list_size, parse(value)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::{ApplicationSettings, SegmentType, ant_media::tests::from};

    #[test]
    fn hls_is_carried_over_by_the_names_that_it_has_there() {
        let (translated, warnings) = from(
            "settings.hlsMuxingEnabled = \"false\"\nhlsTime = \"4\"\nsettings.hlsListSize = \"20\"\n\
             settings.dashMuxingEnabled = true\nsettings.hlsSegmentType = \"MPEGTS\"\n",
        );
        let mut settings = ApplicationSettings::default();
        translated.application.apply(&mut settings);
        assert!(!settings.hls.enabled && settings.hls.dash);
        assert_eq!(settings.hls.segment_type, SegmentType::MpegTs);
        assert_eq!((settings.hls.segment_s, settings.hls.list_size()), (4, 20));
        assert_eq!(warnings, Vec::<String>::new());
    }
}
