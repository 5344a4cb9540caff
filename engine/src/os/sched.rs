//! What the threads of a shard ask of the kernel's scheduler.

use std::{io, mem};

use crate::limits::{CODEC_NICE, SCHEDULER_SLICE};

/// Last of the nice values (sched(7)).
const NICE_MAX: i32 = 19;

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

/// Asks for a short slice for the calling thread, so that it preempts codec workers on its core as
/// soon as it has work; whether it has it. Needs no privilege; kernels before 6.12 accept and
/// ignore it. The thread keeps its nice value, which is the operator's.
pub(crate) fn request_short_slice() -> io::Result<bool> {
    let slice_ns = SCHEDULER_SLICE.as_nanos() as u64;
    set(&SchedAttr {
        sched_nice: get()?.sched_nice,
        sched_runtime: slice_ns,
        ..SchedAttr::default()
    })?;
    Ok(get()?.sched_runtime == slice_ns)
}

/// How a codec worker is scheduled beside the shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SchedulingClass {
    /// By its nice value. Beside a shard with a short slice, or on a core of its own: it keeps a
    /// tenth of the core whatever others do.
    Nice,
    /// `SCHED_IDLE`: it runs when no other thread wants to. Where the kernel has no short slices, a
    /// nice codec worker holds a shard up for the 3.6 ms of its own slice at the 99th percentile, and
    /// an idle one for 0.08 ms. Other programs on the core can starve it, but then it is pictures
    /// that are late, and not the packets of everybody.
    Idle,
}

impl SchedulingClass {
    /// What is right for threads beside a shard, or apart.
    pub(crate) fn for_threads(beside: bool, short_slice: bool) -> Self {
        if beside && !short_slice {
            Self::Idle
        } else {
            Self::Nice
        }
    }
}

/// Puts the calling thread into a scheduling class, for good.
pub(crate) fn set_scheduling_class(how: SchedulingClass) -> io::Result<()> {
    match how {
        SchedulingClass::Nice => lower_priority(),
        SchedulingClass::Idle => set(&SchedAttr {
            sched_policy: libc::SCHED_IDLE as u32,
            ..SchedAttr::default()
        }),
    }
}

/// Keeps the calling thread on one core.
pub(crate) fn pin_to(core: usize) -> io::Result<()> {
    // SAFETY: a cpu_set_t of zeroes is a valid, empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    if core >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: `core` is below CPU_SETSIZE, so the bit is inside the set.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: `set` is valid for the size given and outlives the call; pid 0 names the calling
    // thread.
    let result =
        unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Lowers the calling thread's priority below that of the shards, for good, and gives it the usual
/// slice, which it does not have if a shard has started it. To be called once.
pub(crate) fn lower_priority() -> io::Result<()> {
    set(&SchedAttr {
        sched_nice: behind(get()?.sched_nice),
        ..SchedAttr::default()
    })
}

/// The nice value of what steps behind threads of this one.
fn behind(nice: i32) -> i32 {
    (nice + CODEC_NICE).min(NICE_MAX)
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

fn get() -> io::Result<SchedAttr> {
    let mut attr = SchedAttr::default();
    let size = size_of::<SchedAttr>() as u32;
    // SAFETY: `attr` is valid for writes of the size given and outlives the call; pid 0 names the
    // calling thread, and no flags exist.
    let result = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attr, size, 0) };
    if result == 0 {
        Ok(attr)
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
        let stepped = std::thread::spawn(move || lower_priority().map(|()| nice()));
        assert_eq!(stepped.join().unwrap().unwrap(), behind(before));
        assert_eq!(nice(), before);
    }

    #[test]
    fn a_shard_keeps_the_nice_value_that_the_operator_gave_it() {
        let nice = std::thread::spawn(|| {
            let given = behind(get().unwrap().sched_nice - 1);
            let attr = SchedAttr {
                sched_nice: given,
                ..SchedAttr::default()
            };
            set(&attr).unwrap();
            request_short_slice().unwrap();
            (given, get().unwrap().sched_nice)
        });
        let (given, kept) = nice.join().unwrap();
        assert_eq!(kept, given);
        assert_eq!((behind(-10), behind(0), behind(15)), (0, 10, NICE_MAX));
    }

    #[test]
    fn codec_threads_are_idle_only_beside_a_shard_without_a_short_slice() {
        let of = |beside, short_slice| SchedulingClass::for_threads(beside, short_slice);
        assert_eq!(of(true, true), SchedulingClass::Nice);
        assert_eq!(of(true, false), SchedulingClass::Idle);
        assert_eq!(of(false, false), SchedulingClass::Nice);
        let idle =
            std::thread::spawn(|| set_scheduling_class(SchedulingClass::Idle).and_then(|()| get()));
        let policy = idle.join().unwrap().unwrap().sched_policy;
        assert_eq!(policy, libc::SCHED_IDLE as u32);
    }

    #[test]
    fn a_thread_started_by_a_shard_has_the_usual_slice_and_its_core() {
        let core = *allowed_cores().unwrap().last().unwrap();
        let nice = get().unwrap().sched_nice;
        let shard = std::thread::spawn(move || {
            let short = request_short_slice().unwrap();
            let codec = std::thread::spawn(move || {
                set_scheduling_class(SchedulingClass::Nice).unwrap();
                pin_to(core).unwrap();
                (get().unwrap(), allowed_cores().unwrap())
            });
            (short, codec.join().unwrap())
        });
        let (short, (attr, cores)) = shard.join().unwrap();
        assert_eq!((attr.sched_nice, cores), (behind(nice), vec![core]));
        if short {
            assert!(u128::from(attr.sched_runtime) > SCHEDULER_SLICE.as_nanos());
        }
        assert!(pin_to(libc::CPU_SETSIZE as usize).is_err());
    }
}
