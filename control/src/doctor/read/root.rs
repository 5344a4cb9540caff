//! The tree that a machine is read from: `/`, or one that a test has made.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

/// Bytes that are read of one file; `/proc/interrupts` of a machine with 256 cores has half of it.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Where programs are.
const PROGRAMS: [&str; 4] = ["usr/sbin", "usr/bin", "sbin", "bin"];

/// The tree.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    folder: PathBuf,
}

impl Root {
    /// This machine.
    pub(crate) fn live() -> Self {
        Self::at(Path::new("/"))
    }

    /// The machine below `folder`.
    pub(crate) fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Whether this is the machine that runs us.
    pub(super) fn is_live(&self) -> bool {
        self.folder == Path::new("/")
    }

    /// Where the file is that the machine knows as `path`. On this machine, a relative one is relative
    /// to the working directory only if it is a setting; the readers' own are to the root.
    pub(super) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.folder.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Where the file is that a setting names.
    pub(super) fn of_setting(&self, path: &Path) -> PathBuf {
        if self.is_live() {
            path.to_owned()
        } else {
            self.path(path)
        }
    }

    /// The text of a file without the blanks around it.
    pub(super) fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        let file = fs::File::open(self.path(path)).ok()?;
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// Names in a folder.
    pub(super) fn names(&self, path: impl AsRef<Path>) -> Vec<String> {
        let entries = fs::read_dir(self.path(path));
        let entries = entries.into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }

    /// The target of a link.
    pub(super) fn link(&self, path: impl AsRef<Path>) -> Option<String> {
        let target = fs::read_link(self.path(path)).ok()?;
        Some(target.to_string_lossy().into_owned())
    }

    /// Where the program `name` is.
    pub(super) fn program(&self, name: &str) -> Option<PathBuf> {
        let folders = PROGRAMS.iter().map(|folder| self.path(folder).join(name));
        folders.into_iter().find(|path| path.is_file())
    }
}
