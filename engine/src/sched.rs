//! What a shard's thread asks of the kernel's scheduler.

use std::{io, mem};

use crate::limits::{CODEC_NICE, SCHEDULER_SLICE};

/// `struct sched_attr` of `sched_setattr(2)`, first version.
#[repr(C)]
#[derive(Debug, Default)]
struct SchedAttr {
    size: u32,
    sched_policy: u32,
    sched_flags: u64,
    sched_nice: i32,
    sched_priority: u32,
    /// For ordinary threads on Linux 6.12 and later: the slice wished for, in nanoseconds.
    sched_runtime: u64,
    sched_deadline: u64,
    sched_period: u64,
}

/// Asks for a short slice for the calling thread, so that it preempts codec threads on its core as
/// soon as it has work. Needs no privilege; kernels before 6.12 accept and ignore it.
pub(crate) fn request_short_slice() -> io::Result<()> {
    set(&SchedAttr {
        sched_runtime: SCHEDULER_SLICE.as_nanos() as u64,
        ..SchedAttr::default()
    })
}

/// Lowers the calling thread's priority below that of the shards, for good, and gives it the usual
/// slice, which it does not have if a shard has started it.
pub(crate) fn step_behind() -> io::Result<()> {
    set(&SchedAttr {
        sched_nice: CODEC_NICE,
        ..SchedAttr::default()
    })
}

fn set(attr: &SchedAttr) -> io::Result<()> {
    let attr = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        ..*attr
    };
    // SAFETY: `attr` is a valid sched_attr of the size it states and outlives the call; pid 0
    // names the calling thread.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The cores that this process may run on, in ascending order.
pub(crate) fn allowed_cores() -> io::Result<Vec<usize>> {
    // SAFETY: a cpu_set_t of zeroes is a valid, empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: `set` is valid for writes of the size given; pid 0 names the calling thread.
    let result = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((0..libc::CPU_SETSIZE as usize)
        // SAFETY: `core` is below CPU_SETSIZE, so the bit is inside the set.
        .filter(|&core| unsafe { libc::CPU_ISSET(core, &set) })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_steps_behind_does_so_alone() {
        // SAFETY: takes and gives plain numbers; 0 names the calling thread.
        let nice = || unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        let before = nice();
        let behind = std::thread::spawn(move || step_behind().map(|()| nice()));
        assert_eq!(behind.join().unwrap().unwrap(), CODEC_NICE);
        assert_eq!(nice(), before);
    }
}
