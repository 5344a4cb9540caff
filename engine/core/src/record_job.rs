//! Files of recordings, as inputs and outputs ([`crate::io`]).

use bytes::Bytes;

use crate::ids::RecordingFileId;

/// Work for the file of a recording.
#[derive(Clone, Debug)]
pub enum RecordJob {
    /// Make a file. Answered by [`RecordResult::Opened`].
    Open {
        /// Names it from now on.
        file: RecordingFileId,
        /// The folder for it, which is made if it is not there.
        folder: String,
        /// What its name begins with; a number that no other file has is put behind it.
        name: String,
    },
    /// Write these slices behind everything written before; they are whole fragments. Answered by
    /// [`RecordResult::Written`].
    Write {
        /// The file.
        file: RecordingFileId,
        /// In their order.
        slices: Vec<Bytes>,
    },
    /// Nothing more is written. Answered by [`RecordResult::Closed`].
    Close {
        /// The file.
        file: RecordingFileId,
    },
}

/// What became of a [`RecordJob`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordResult {
    /// The file is there.
    Opened {
        /// Its path.
        name: String,
    },
    /// The slices of one job are in the file.
    Written {
        /// How many bytes they were.
        bytes: usize,
    },
    /// It is closed.
    Closed {
        /// Its path; `None` if nothing was written, and it was removed.
        name: Option<String>,
    },
    /// It cannot be written on. Whole jobs are in it up to there, and it is closed; jobs that follow for it are not
    /// answered.
    Failed {
        /// Its path, if there is anything in it.
        name: Option<String>,
        /// Why, as a user is shown it.
        reason: String,
    },
}
