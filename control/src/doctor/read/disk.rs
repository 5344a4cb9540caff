//! Room of the file system that holds `data_dir`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::fs::statvfs;

use super::{super::host::Disk, Root};

pub(super) fn read(root: &Root, data_dir: &Path) -> Option<Disk> {
    let folder = root.of_setting(data_dir);
    // Shardcast makes the directory at its start; until then, what is above it counts.
    let whole = std::path::absolute(&folder).ok()?;
    let there = whole.ancestors().find(|path| path.is_dir())?;
    let room = statvfs(there).ok()?;
    let store = fs::metadata(folder.join("store.redb"));
    Some(Disk {
        data_dir: data_dir.to_owned(),
        mount: mount_of(root, there),
        free_bytes: room.f_bavail.saturating_mul(room.f_frsize),
        total_bytes: room.f_blocks.saturating_mul(room.f_frsize),
        free_files: (room.f_files > 0).then_some(room.f_favail),
        store_bytes: store.map_or(0, |store| store.len()),
    })
}

/// The longest mount point above `path` (`/proc/self/mounts`: device, point, …).
fn mount_of(root: &Root, path: &Path) -> PathBuf {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mounts = root.text("proc/self/mounts").unwrap_or_default();
    let points = mounts
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1))
        // Blanks are written as an octal number.
        .map(|point| PathBuf::from(point.replace("\\040", " ")));
    points
        .filter(|point| path.starts_with(point))
        .max_by_key(|point| point.as_os_str().len())
        .unwrap_or_else(|| PathBuf::from("/"))
}
