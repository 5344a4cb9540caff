//! The process's allocators, and how soon they give memory back to the kernel.
//!
//! Rust allocates from mimalloc, the C libraries (libx264, libavcodec, libopus) from the C library's
//! malloc. glibc's raises its limits for giving back with the first large block that is freed, and then
//! keeps some 3.4 MB for each thread that has coded still frames. mimalloc gives pages back a second
//! after they are freed, when the same thread allocates again (`MIMALLOC_PURGE_DELAY`, in milliseconds),
//! which a shard without media does not.

use libc::c_int;

#[cfg(not(feature = "system-allocator"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(not(feature = "system-allocator"))]
unsafe extern "C" {
    /// Frees what the heap of the calling thread keeps for later; with `force`, all of it and at once.
    fn mi_collect(force: bool);
}

/// Free bytes at the end of a heap of the C library that are given back, and the size from which it
/// maps a block by itself. These are its defaults; setting them keeps them from rising.
#[cfg(target_env = "gnu")]
const C_MEMORY_KEPT_BYTES: c_int = 128 << 10;

/// Makes the C library give memory back as soon as it is freed, and lets the kernel use small pages only. To be called
/// before other threads begin.
///
/// With transparent huge pages, memory that mimalloc has given back in the middle of a page of 2 MiB comes back when the
/// kernel makes the page whole again (khugepaged), at any time: 12 MB at twenty broadcasts, which no allocation needed.
pub fn prepare() {
    let (small_only, unused): (libc::c_ulong, libc::c_ulong) = (1, 0);
    // SAFETY: this prctl changes a flag of the process alone. A kernel without it goes on with huge pages.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, small_only, unused, unused, unused) };
    #[cfg(target_env = "gnu")]
    for option in [libc::M_TRIM_THRESHOLD, libc::M_MMAP_THRESHOLD] {
        // SAFETY: mallopt changes a parameter of malloc; no other thread has been started. It may
        // refuse, and then memory is kept as before.
        unsafe { libc::mallopt(option, C_MEMORY_KEPT_BYTES) };
    }
}

/// Gives the kernel what the calling thread has freed from mimalloc, and all threads from the C library.
pub(crate) fn collect() {
    #[cfg(not(feature = "system-allocator"))]
    // SAFETY: mi_collect touches the heap of the calling thread, which is initialised by any allocation.
    unsafe {
        mi_collect(true);
    }
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim locks the arenas that it trims, and may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
