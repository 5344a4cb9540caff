//! Room for the store.

use super::{
    super::{
        host::Host,
        report::{Finding, Topic},
    },
    bytes, grouped,
};

const DISK: Topic = Topic("disk", "Disk");

/// Below this and twice the store, the next changes may not be written: the store writes a copy before
/// it gives space back.
const FREE_BYTES_MIN: u64 = 64 << 20;
/// Below this a log or a core file may fill the rest in a day.
const FREE_BYTES_WANTED: u64 = 1 << 30;

/// Whether `data_dir` has room.
pub(super) fn disk(host: &Host) -> Finding {
    let Some(disk) = &host.disk else {
        return DISK.unknown("the file system of data_dir does not say its room");
    };
    let (dir, mount) = (disk.data_dir.display(), disk.mount.display());
    let look = format!(
        "du -xh --max-depth=3 {mount} | sort -h | tail -20 shows what fills it; or --data-dir on another disk"
    );
    if disk.free_files == Some(0) {
        return DISK
            .fault(format!(
                "{mount}, with data_dir {dir}, has no room for another file"
            ))
            .costs("changes by REST get a 500 and are not stored, and Shardcast may not start")
            .mend(format!(
                "du --inodes -x --max-depth=3 {mount} | sort -n | tail -20 shows where they are"
            ));
    }
    let needed = FREE_BYTES_MIN.max(disk.store_bytes.saturating_mul(2));
    let what = format!(
        "{mount}, with data_dir {dir}, has {} of {} free",
        bytes(disk.free_bytes),
        bytes(disk.total_bytes)
    );
    if disk.free_bytes < needed {
        DISK.fault(format!("{what}; the store needs {}", bytes(needed)))
            .costs("changes by REST get a 500 and are not stored, and Shardcast may not start")
            .mend(look)
    } else if disk.free_bytes < FREE_BYTES_WANTED {
        DISK.warning(what)
            .costs("when it is full, changes by REST get a 500 until there is room")
            .mend(look)
    } else {
        match disk.free_files {
            Some(files) => DISK.ok(format!("{what}, and {} files", grouped(files))),
            None => DISK.ok(what),
        }
    }
}
