//! Uploads of recordings: how many wait, and what has become of the others.

use std::sync::atomic::Ordering;

use super::Text;
use crate::{recordings, state::Control};

impl Text {
    pub(super) fn uploads(&mut self, control: &Control) {
        let uploads = &control.recordings.uploads;
        let counters = &uploads.counters;
        for (name, kind, what, value) in [
            (
                "shardcast_uploads_waiting",
                "gauge",
                "recordings that are to be uploaded and are not yet",
                recordings::uploads_waiting(control) as u64,
            ),
            (
                "shardcast_uploads_failing",
                "gauge",
                "those of them whose last attempt has failed",
                uploads.failing() as u64,
            ),
            (
                "shardcast_uploads_total",
                "counter",
                "recordings that this process has uploaded",
                counters.done.load(Ordering::Relaxed),
            ),
            (
                "shardcast_upload_bytes_total",
                "counter",
                "bytes of those recordings",
                counters.bytes.load(Ordering::Relaxed),
            ),
            (
                "shardcast_uploads_failed_total",
                "counter",
                "attempts to upload that have failed",
                counters.failed.load(Ordering::Relaxed),
            ),
        ] {
            self.family(name, kind, what);
            self.row(name, "", value);
        }
    }
}
