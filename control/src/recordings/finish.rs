//! Makes an ordinary MP4 of a file of fragments, where it lies. All of it blocks.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Seek, SeekFrom, Write},
    path::Path,
    time::UNIX_EPOCH,
};

use shardcast_cmaf::{Scan, ScanError};

use super::age;
use crate::limits;

/// A file without a whole fragment is removed if it is no longer than this: it holds less than a second.
const HEADS_BYTES_MAX: u64 = 64 << 20;

/// A recording cannot be finished, or not now. It stays where it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum FinishError {
    /// The disk, or rights.
    #[error("{path}: {source}")]
    Io { path: String, source: io::Error },
    /// The store.
    #[error("{0}")]
    Store(String),
    /// Not a file of ours, or of another version.
    #[error("its label cannot be read: move it out of the folder")]
    Label,
    /// Files with all names that were tried are there.
    #[error("no name is free: move old recordings away, or set addDateTimeToMp4FileName")]
    Names,
    /// As many as there may be.
    #[error("there are {} recordings: delete some", limits::VODS_MAX)]
    TooMany,
    /// Ours.
    #[error("a defect of this server")]
    Defect,
}

fn at(path: &Path) -> impl Fn(io::Error) -> FinishError + '_ {
    |source| FinishError::Io {
        path: path.display().to_string(),
        source,
    }
}

/// A file that is finished.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) label: String,
    pub(super) duration_us: u64,
    pub(super) bytes: u64,
    /// When its last fragment was written.
    pub(super) ended_unix_ms: u64,
}

/// Finishes a file; `None` if somebody writes it, or there was nothing in it and it was removed. `is_closed`: its
/// writer has said that it is.
pub(super) fn finish(path: &Path, is_closed: bool) -> Result<Option<Finished>, FinishError> {
    let mut file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(path)(error)),
    };
    let metadata = file.metadata().map_err(at(path))?;
    let modified = metadata.modified().map_err(at(path))?;
    let young = match file.try_lock() {
        Ok(()) => limits::RECORDING_YOUNG,
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(_)) => limits::RECORDING_YOUNG_UNLOCKED,
    };
    if !is_closed && age(modified) < young {
        return Ok(None);
    }
    let scan = match Scan::of(&mut file) {
        Ok(scan) => scan,
        Err(ScanError::NotARecording) if metadata.len() <= HEADS_BYTES_MAX => {
            tracing::warn!("{} holds no fragment and is removed", path.display());
            fs::remove_file(path).map_err(at(path))?;
            return Ok(None);
        }
        Err(ScanError::Io(error)) => return Err(at(path)(error)),
        Err(_) => return Err(FinishError::Label),
    };
    if !scan.is_finished {
        write(&mut file, &scan).map_err(at(path))?;
    }
    let ended = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Some(Finished {
        duration_us: scan.duration_us(),
        bytes: file.metadata().map_err(at(path))?.len(),
        ended_unix_ms: u64::try_from(ended.as_millis()).unwrap_or(0),
        label: scan.label,
    }))
}

/// First what is new, then the sixteen bytes that make it count. Where there is no room for it the file stays one of
/// fragments, which players take as well.
fn write(file: &mut File, scan: &Scan) -> io::Result<()> {
    file.set_len(scan.whole_bytes)?;
    file.seek(SeekFrom::End(0))?;
    let written = file.write_all(&scan.moov()).and_then(|()| file.sync_data());
    if let Err(error) = written {
        file.set_len(scan.whole_bytes)?;
        if matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        ) {
            tracing::warn!("a recording stays in fragments: {error}");
            return Ok(());
        }
        return Err(error);
    }
    let (at, head) = scan.mdat_head();
    file.seek(SeekFrom::Start(at))?;
    file.write_all(&head)?;
    file.sync_data()
}

/// Moves a file, if it is not moved yet. Whether it is at its place now.
pub(super) fn move_file(from: &Path, to: &Path) -> Result<bool, FinishError> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(at(folder))?;
    }
    match fs::rename(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(to.exists()),
        Err(error) => Err(at(from)(error)),
    }
}
