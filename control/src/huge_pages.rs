//! Control does without transparent huge pages: it has small heaps in several threads, those of a look at the machine
//! among them, and each that begins on a page of 2 MiB would take all of it.

use rustix::thread::disable_transparent_huge_pages;

/// Turns them off for this process and those that it starts. The engine, which may run without control, does the same.
pub fn do_without() {
    if let Err(error) = disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "transparent huge pages stay on: control takes more memory");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_knows_that_this_process_wants_none() {
        do_without();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        assert!(status.contains("THP_enabled:\t0"), "{status}");
    }
}
