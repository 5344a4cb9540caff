//! How an application's broadcasts are recorded.

use serde::Serialize;

/// Recordings of one application; names that Ant Media Server has are kept.
#[derive(Clone, Debug, Serialize)]
pub struct RecordingSettings {
    /// Broadcasts are recorded unless they say otherwise (`mp4Enabled`).
    #[serde(rename = "mp4MuxingEnabled")]
    pub enabled: bool,
    /// Names of files say when the recording began.
    #[serde(rename = "addDateTimeToMp4FileName")]
    pub has_dated_names: bool,
    /// What is shown while a publisher is away is recorded too.
    #[serde(rename = "recording_filler")]
    pub filler: bool,
    /// Another file is begun after so many minutes; 0: never.
    #[serde(rename = "recording_minutes_max")]
    pub minutes_max: u64,
    /// A program that is run with the path of each file that is finished, and its arguments, divided at blanks; no
    /// shell reads them. Empty: none.
    #[serde(rename = "muxerFinishScript")]
    pub finish_script: String,
}

impl Default for RecordingSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            has_dated_names: false,
            filler: true,
            minutes_max: 0,
            finish_script: String::new(),
        }
    }
}
