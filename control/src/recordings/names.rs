//! Names of files: those of Ant Media Server.

use shardcast_link::id::is_name;

use super::label::Label;
use crate::limits;

/// Folders below `streams` that a broadcast may ask for, one in the other.
const FOLDERS_MAX: usize = 8;

/// Whether it can be a part of a path that stays in its folder and is not hidden.
pub(super) fn is_part(part: &str) -> bool {
    is_name(part) && !part.starts_with('.')
}

/// Whether it can be the folder of a broadcast below `streams`.
pub(super) fn is_folder(folder: &str) -> bool {
    folder.split('/').count() <= FOLDERS_MAX && folder.split('/').all(is_part)
}

/// Whether it can be the path of a recording below `streams`.
pub(crate) fn is_file_path(path: &str) -> bool {
    path.ends_with(".mp4") && is_folder(path)
}

/// The first path of this label that is free: `streams/s1.mp4`, then `streams/s1_1.mp4`.
pub(super) fn free(label: &Label, is_free: impl Fn(&str) -> bool) -> Option<String> {
    let file = &label.file;
    let folder = match &label.folder {
        Some(folder) => format!("streams/{folder}"),
        None => "streams".to_owned(),
    };
    let path = |n| match n {
        0 => format!("{folder}/{file}.mp4"),
        n => format!("{folder}/{file}_{n}.mp4"),
    };
    let mut paths = (0..limits::RECORDING_NAMES_TRIED).map(path);
    paths.find(|path| is_free(path))
}

/// `yyyy-MM-dd_HH-mm-ss.SSS` in UTC.
pub(super) fn date(unix_ms: u64) -> String {
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    // Days of the calendar from days since 1970, by eras of 400 years that begin in March (H. Hinnant,
    // "chrono-compatible low-level date algorithms").
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (seconds, ms) = (ms / 1_000, ms % 1_000);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}_{hours:02}-{minutes:02}-{seconds:02}.{ms:03}")
}

#[cfg(test)]
mod tests {
    use shardcast_link::BroadcastId;

    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (unix_ms, text) in [
            (0, "1970-01-01_00-00-00.000"),
            (951_782_399_999, "2000-02-28_23-59-59.999"),
            (951_868_799_000, "2000-02-29_23-59-59.000"),
            (1_709_251_200_000, "2024-03-01_00-00-00.000"),
            (4_102_444_800_000, "2100-01-01_00-00-00.000"),
        ] {
            assert_eq!(date(unix_ms), text);
        }
    }

    #[test]
    fn the_first_name_that_is_free_is_taken() {
        let label = Label {
            broadcast: BroadcastId::new("app", "s1").unwrap(),
            name: None,
            file: "s1".to_owned(),
            folder: None,
        };
        assert_eq!(free(&label, |_| true).unwrap(), "streams/s1.mp4");
        let taken = ["streams/s1.mp4", "streams/s1_1.mp4"];
        let path = free(&label, |path| !taken.contains(&path)).unwrap();
        assert_eq!(path, "streams/s1_2.mp4");
        let label = Label {
            folder: Some("a/b".to_owned()),
            ..label
        };
        assert_eq!(free(&label, |_| true).unwrap(), "streams/a/b/s1.mp4");
        assert_eq!(free(&label, |_| false), None);
    }

    #[test]
    fn only_paths_inside_the_folder_are_paths() {
        for path in ["s1.mp4", "a/b/s1_1.mp4", "s-1.x-2026.mp4"] {
            assert!(is_file_path(path), "{path}");
        }
        for path in [
            "",
            ".mp4",
            "../s1.mp4",
            "a/../s1.mp4",
            "/s1.mp4",
            "a//s1.mp4",
            "s1.ts",
            "s1.mp4/",
            "a/.mp4",
            "s 1.mp4",
        ] {
            assert!(!is_file_path(path), "{path}");
        }
    }
}
