//! What the head of each file says of it, as JSON: all that has to be known to finish it.

use serde::{Deserialize, Serialize};
use shardcast_link::BroadcastId;

use super::names;
use crate::{
    limits,
    settings::ApplicationSettings,
    store::{BroadcastRecord, RecordingRecord},
};

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Label {
    pub(super) broadcast: BroadcastId,
    /// Of the broadcast, for people.
    #[serde(default)]
    pub(super) name: Option<String>,
    /// What the file is to be called, without number and extension.
    pub(super) file: String,
    /// Folder below `streams`, where the broadcast has one.
    #[serde(default)]
    pub(super) folder: Option<String>,
}

/// Longest name of a broadcast that is kept, in characters.
const NAME_CHARS_MAX: usize = 500;

impl Label {
    pub(super) fn new(
        application: &ApplicationSettings,
        record: &BroadcastRecord,
        recording: &RecordingRecord,
    ) -> Self {
        let given = recording.file_name.as_deref();
        let mut file = given.unwrap_or(record.id.stream()).to_owned();
        file.truncate(limits::RECORDING_NAME_BYTES_MAX);
        if application.recording.has_dated_names {
            file = format!("{file}-{}", names::date(recording.since_unix_ms));
        }
        let name = record.profile.name.as_ref();
        let folder = record.profile.sub_folder.as_deref();
        Self {
            broadcast: record.id.clone(),
            name: name.map(|name| name.chars().take(NAME_CHARS_MAX).collect()),
            file,
            folder: folder.filter(|it| names::is_folder(it)).map(str::to_owned),
        }
    }

    pub(super) fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a label. Files may come from elsewhere: what could leave the folder is no label.
    pub(super) fn read(text: &str) -> Option<Self> {
        let label: Self = serde_json::from_str(text).ok()?;
        let is_safe = names::is_part(&label.file)
            && label.folder.as_deref().is_none_or(names::is_folder)
            && names::is_part(label.broadcast.application());
        is_safe.then_some(label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_read_as_it_was_written_and_cannot_leave_its_folder() {
        let mut record = BroadcastRecord::new(BroadcastId::new("app", "s1").unwrap(), 0);
        record.profile.name = Some("Evening \"show\"".to_owned());
        record.profile.sub_folder = Some("2026/11".to_owned());
        let mut application = ApplicationSettings::default();
        application.recording.has_dated_names = true;
        let recording = RecordingRecord {
            vod_id: "v".to_owned(),
            since_unix_ms: 1_700_000_000_123,
            file_name: None,
        };
        let label = Label::new(&application, &record, &recording);
        assert_eq!(label.file, "s1-2023-11-14_22-13-20.123");
        assert_eq!(Label::read(&label.to_text()), Some(label.clone()));
        for (file, folder) in [("..", None), ("a/b", None), ("", None), ("a", Some("../x"))] {
            let bad = Label {
                file: file.to_owned(),
                folder: folder.map(str::to_owned),
                ..label.clone()
            };
            assert_eq!(Label::read(&bad.to_text()), None, "{file:?} {folder:?}");
        }
        assert_eq!(Label::read("no JSON"), None);
    }
}
