//! Counts the allocations of an operation, beside its time: each costs some 20 ns and a cache line,
//! and their number does not depend on the machine.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicU64, Ordering},
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static COUNT: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

struct Counting;

fn count(bytes: usize) {
    COUNT.fetch_add(1, Ordering::Relaxed);
    BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
}

// SAFETY: each method hands its arguments to the system's allocator unchanged and returns its result.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(bytes);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, bytes) }
    }
}

/// Allocations of one operation on average: their number and their bytes.
pub fn per_operation(mut operation: impl FnMut()) -> (f64, f64) {
    const WARM_UP: u32 = 200;
    const OPERATIONS: u32 = 2_000;
    for _ in 0..WARM_UP {
        operation();
    }
    let before = (COUNT.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed));
    for _ in 0..OPERATIONS {
        operation();
    }
    let each = |now: u64, before: u64| (now - before) as f64 / f64::from(OPERATIONS);
    (
        each(COUNT.load(Ordering::Relaxed), before.0),
        each(BYTES.load(Ordering::Relaxed), before.1),
    )
}

/// Prints them in the manner of criterion.
pub fn report(name: &str, operation: impl FnMut()) {
    let (count, bytes) = per_operation(operation);
    println!("{name:<40} {count:.2} allocations of {bytes:.0} bytes together an operation");
}
