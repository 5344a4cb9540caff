//! MP4: access units in, boxes out. No files, no clocks, nothing is logged.
//!
//! ```text
//!  Track ──► init_segment     ftyp, moov with mvex           once
//!  TrackRun ──► fragment      moof, mdat                     for each second, segment or part
//!  recording_head             ftyp, a label, moov with mvex  where fragments become a file
//!  Scan ──► moov, mdat_head   moov with all sample tables    when that file has ended
//!  read_init_segment, read_fragment                          what was written, to package it otherwise
//! ```
//!
//! Written is what is needed for H.264 in AVCC form and AAC-LC, as two tracks at most: HLS and
//! recordings take the same boxes. Payload is not copied: a fragment is a list of slices, of which the
//! first is the head and the others are those that were handed in.
//!
//! Follows ISO/IEC 14496-12 (boxes; clauses without a name are of it), 14496-15 (H.264) and 14496-14
//! (AAC).
#![forbid(unsafe_code)]

mod boxes;
mod cursor;
mod fragment;
mod init;
mod movie;
mod read;
mod recording;
mod sample_entry;
mod track;

pub use fragment::{FRAGMENT_BYTES_MAX, FragmentError, Sample, TrackRun, fragment};
pub use init::init_segment;
pub use read::{read_fragment, read_init_segment};
pub use recording::{LABEL_BYTES_MAX, Scan, ScanError, recording_head};
pub use track::{Codec, MOVIE_TIMESCALE, Track, VIDEO_TIMESCALE, ticks};
