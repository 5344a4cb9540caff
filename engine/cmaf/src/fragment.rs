//! A fragment: `moof` with the times and sizes of samples, and `mdat` with their payload (8.8).

use bytes::{BufMut, Bytes, BytesMut};

use crate::boxes::{boxed, full_box, patch_u32};

/// Payload of one fragment. Sizes and offsets in it are of 32 bits, and players read it as a whole; a
/// second of the largest stream that is taken is far below.
pub const FRAGMENT_BYTES_MAX: usize = 1 << 30;

/// Offsets in a fragment count from its `moof` (8.8.7.1).
const DEFAULT_BASE_IS_MOOF: u32 = 0x02_0000;
pub(crate) const DEFAULT_DURATION: u32 = 0x08;
pub(crate) const DEFAULT_FLAGS: u32 = 0x20;
/// What a `trun` says of each sample (8.8.8.1).
const DATA_OFFSET: u32 = 0x01;
pub(crate) const SAMPLE_DURATION: u32 = 0x100;
pub(crate) const SAMPLE_SIZE: u32 = 0x200;
pub(crate) const SAMPLE_FLAGS: u32 = 0x400;
pub(crate) const SAMPLE_COMPOSITION: u32 = 0x800;
/// Sample flags (8.8.3.1): depends on no other, or on others and is no place to begin.
pub(crate) const FLAGS_KEY: u32 = 0x0200_0000;
const FLAGS_DEPENDENT: u32 = 0x0101_0000;

/// One access unit or audio frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Ticks from its decoding to that of the next.
    pub duration: u32,
    /// Ticks from its decoding to its presentation; above 0 where there are B-frames.
    pub composition_offset: i32,
    /// Decoding can begin here: an IDR, or any audio frame.
    pub key: bool,
    /// Parameter sets behind lengths of four bytes, in front of the payload: for tracks that have them
    /// in band.
    pub parameter_sets: Option<Bytes>,
    /// NAL units behind lengths of four bytes, or a raw AAC frame.
    pub payload: Bytes,
}

impl Sample {
    /// Bytes of it in the file.
    pub fn len(&self) -> usize {
        self.parameter_sets.as_ref().map_or(0, Bytes::len) + self.payload.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn flags(&self) -> u32 {
        if self.key { FLAGS_KEY } else { FLAGS_DEPENDENT }
    }
}

/// Samples of one track, each decoded when the one before ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackRun {
    /// The number of the track.
    pub track: u32,
    /// When the first is decoded, in ticks of the track (`tfdt`, 8.8.12).
    pub decoded_at: u64,
    /// In the order of decoding.
    pub samples: Vec<Sample>,
}

/// A fragment cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FragmentError {
    /// The caller waits too long before it cuts.
    #[error("a fragment of {bytes} bytes is longer than {FRAGMENT_BYTES_MAX}")]
    TooLong {
        /// Payload of all runs.
        bytes: usize,
    },
}

/// A fragment of these runs: its head, and behind that the payloads as they were handed in. Runs without
/// samples are left out. `sequence` rises from fragment to fragment, from 1 on (8.8.5).
///
/// # Errors
/// When it is longer than [`FRAGMENT_BYTES_MAX`].
pub fn fragment(sequence: u32, runs: Vec<TrackRun>) -> Result<Vec<Bytes>, FragmentError> {
    let samples: usize = runs.iter().map(|run| run.samples.len()).sum();
    let bytes: usize = runs.iter().map(run_bytes).sum();
    if bytes > FRAGMENT_BYTES_MAX {
        return Err(FragmentError::TooLong { bytes });
    }
    let mut head = BytesMut::with_capacity(64 + runs.len() * 80 + samples * 16);
    let mut offsets = Vec::with_capacity(runs.len());
    boxed(&mut head, b"moof", |out| {
        full_box(out, b"mfhd", 0, 0, |out| out.put_u32(sequence));
        for run in runs.iter().filter(|run| !run.samples.is_empty()) {
            let offset_at = put_traf(out, run);
            offsets.push((offset_at, run_bytes(run)));
        }
    });
    // The payload of the first run is behind the head of `mdat`.
    let mut offset = head.len() + 8;
    for (at, bytes) in offsets {
        patch_u32(&mut head, at, as_u32(offset));
        offset += bytes;
    }
    head.put_u32(as_u32(bytes + 8));
    head.put_slice(b"mdat");

    let mut slices = Vec::with_capacity(1 + samples);
    slices.push(head.freeze());
    for sample in runs.into_iter().flat_map(|run| run.samples) {
        slices.extend(sample.parameter_sets);
        slices.push(sample.payload);
    }
    Ok(slices)
}

fn run_bytes(run: &TrackRun) -> usize {
    run.samples.iter().map(Sample::len).sum()
}

/// Writes the `traf` of a run, and gives back where its data offset has to go.
fn put_traf(out: &mut BytesMut, run: &TrackRun) -> usize {
    let first = run.samples.first();
    let same = |of: fn(&Sample) -> u32| {
        let value = first.map(of);
        let mut samples = run.samples.iter();
        value.filter(|value| samples.all(|sample| of(sample) == *value))
    };
    let duration = same(|it| it.duration);
    let flags = same(Sample::flags);
    let has_composition = run.samples.iter().any(|it| it.composition_offset != 0);
    let mut offset_at = 0;
    boxed(out, b"traf", |out| {
        let mut tfhd = DEFAULT_BASE_IS_MOOF;
        let mut trun = DATA_OFFSET | SAMPLE_SIZE;
        match duration {
            Some(_) => tfhd |= DEFAULT_DURATION,
            None => trun |= SAMPLE_DURATION,
        }
        match flags {
            Some(_) => tfhd |= DEFAULT_FLAGS,
            None => trun |= SAMPLE_FLAGS,
        }
        if has_composition {
            trun |= SAMPLE_COMPOSITION;
        }
        full_box(out, b"tfhd", 0, tfhd, |out| {
            out.put_u32(run.track);
            for default in [duration, flags].into_iter().flatten() {
                out.put_u32(default);
            }
        });
        full_box(out, b"tfdt", 1, 0, |out| out.put_u64(run.decoded_at));
        full_box(out, b"trun", 1, trun, |out| {
            out.put_u32(as_u32(run.samples.len()));
            offset_at = out.len();
            out.put_u32(0);
            for sample in &run.samples {
                if duration.is_none() {
                    out.put_u32(sample.duration);
                }
                out.put_u32(as_u32(sample.len()));
                if flags.is_none() {
                    out.put_u32(sample.flags());
                }
                if has_composition {
                    out.put_i32(sample.composition_offset);
                }
            }
        });
    });
    offset_at
}

/// What [`FRAGMENT_BYTES_MAX`] bounds.
fn as_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
