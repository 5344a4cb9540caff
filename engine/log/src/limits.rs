//! Every bound of the log, each with its reason.

use std::time::Duration;

/// Bytes of lines that wait for a slow reader; past it lines are dropped and counted. Some 10,000
/// lines: more than both processes write while a reader is started again.
pub(crate) const WAITING_BYTES_MAX: usize = 4 << 20;
/// Lines that wait. The byte limit is reached first, unless lines are shorter than any of ours.
pub(crate) const WAITING_LINES_MAX: usize = 65_536;
/// Longest line, in bytes; the rest is cut off. The longest of ours (a panic, a setting with its
/// remedy) is below 2 KiB.
pub(crate) const LINE_BYTES_MAX: usize = 8 << 10;
/// Longest line of a library, in bytes: it may repeat what an outsider sent, whole.
pub(crate) const LIBRARY_LINE_BYTES_MAX: usize = 512;
/// Lines of all libraries that are logged at once. They write some at a start, and then only when
/// something is wrong.
pub(crate) const LIBRARY_LINES_BURST: u32 = 100;
/// Afterwards one in so long.
pub(crate) const LIBRARY_LINES_EVERY: Duration = Duration::from_secs(2);
/// Longest text of an outsider in one field, in characters: enough to recognise what it is.
pub(crate) const OUTSIDER_CHARS_MAX: usize = 200;
/// While lines are dropped, the writer looks so often whether the count can be written.
pub(crate) const RETRY: Duration = Duration::from_secs(1);
/// How long a process that ends waits for its last lines. A stalled reader must not hold it.
pub(crate) const FINISH: Duration = Duration::from_millis(500);
/// Lines of one kind of refusal that are logged at once.
pub(crate) const REFUSALS_BURST: u32 = 20;
/// Afterwards one line of that kind in so long: at 300 bytes a line, an outsider who is refused all
/// day long writes 5 MB.
pub(crate) const REFUSALS_EVERY: Duration = Duration::from_secs(5);
