//! A recording: a file that can be played whatever becomes of its writer, and is an ordinary MP4 in the end.
//!
//! ```text
//!  growing    ftyp │ free │ uuid: label │ moov with mvex │ moof mdat │ moof mdat │ …
//!  finished   ftyp │ mdat ──────────────────────────────────────────────────────┤ moov
//! ```
//!
//! Nothing is moved when it is finished. A `moov` with all sample tables is written behind the last fragment,
//! and the sixteen bytes of `free` become the head of an `mdat` that holds everything up to there. Until
//! these are written the file is one of fragments, and afterwards it is an ordinary one: whoever reads it
//! in between sees either.

use std::io::{self, Read, Seek, SeekFrom};

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    boxes::boxed,
    cursor::Cursor,
    fragment::FRAGMENT_BYTES_MAX,
    init::{put_ftyp, put_init_moov},
    movie::{self, Tables},
    read::{Run, runs, tracks},
    track::{Codec, MOVIE_TIMESCALE, Track},
};

/// Longest label, in bytes: names and numbers of a show.
pub const LABEL_BYTES_MAX: usize = 8 << 10;
/// Head of one fragment: sixteen bytes for each of its samples.
const MOOF_BYTES_MAX: u64 = 16 << 20;
/// `moov` of a growing file: parameter sets and little else.
const INIT_BYTES_MAX: u64 = 1 << 20;
/// Bytes of the head of an `mdat` with a length of 64 bits, and of what is kept for it.
const MDAT_HEAD_BYTES: u64 = 16;
/// Says that a `uuid` box (4.2) is the label of a recording.
const LABEL_UUID: [u8; 16] = *b"shardcast.label1";
/// `nal_unit_type` of a sequence parameter set (H.264, table 7-1).
const NAL_SPS: u8 = 7;

/// What a growing file begins with. The label is given back when it is scanned: what has to be known of it
/// if all else is lost.
pub fn recording_head(tracks: &[Track], label: &str) -> Bytes {
    debug_assert!(label.len() <= LABEL_BYTES_MAX, "a label that is not read");
    let mut out = BytesMut::with_capacity(1_600 + label.len());
    put_ftyp(&mut out, false);
    boxed(&mut out, b"free", |out| out.put_u64(0));
    boxed(&mut out, b"uuid", |out| {
        out.put_slice(&LABEL_UUID);
        out.put_slice(label.as_bytes());
    });
    put_init_moov(&mut out, tracks);
    out.freeze()
}

/// A file cannot be read as a recording.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// The disk.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It was not begun here, or cut off before its first fragment.
    #[error("it is not a recording of Shardcast, or it ended before its first second")]
    NotARecording,
}

/// What is in a recording.
#[derive(Debug)]
pub struct Scan {
    /// What it was begun with.
    pub label: String,
    /// Bytes from its beginning that are whole: up to the last fragment of which nothing is missing.
    pub whole_bytes: u64,
    /// Whether it is finished.
    pub is_finished: bool,
    mdat_at: u64,
    tables: Vec<Tables>,
}

impl Scan {
    /// Reads the heads of all fragments: some three reads for each.
    ///
    /// # Errors
    /// When there is nothing in it that can be played, or the disk fails.
    pub fn of(file: &mut (impl Read + Seek)) -> Result<Self, ScanError> {
        let file_bytes = file.seek(SeekFrom::End(0))?;
        let mut reader = Reader { file, file_bytes };
        let mut scan = reader.head()?;
        while reader.fragment(&mut scan)? {}
        scan.tables.retain(|it| !it.is_empty());
        if scan.tables.is_empty() {
            return Err(ScanError::NotARecording);
        }
        if scan.is_finished {
            let behind = reader.box_head(scan.whole_bytes)?;
            scan.is_finished = behind.is_some_and(|it| {
                it.kind == *b"moov" && scan.whole_bytes + it.bytes == reader.file_bytes
            });
        }
        Ok(scan)
    }

    /// Access units in it (`video`), or audio frames.
    pub fn sample_count(&self, video: bool) -> usize {
        let tables = self.tables.iter();
        let of_kind = tables.filter(|it| it.track.is_video() == video);
        of_kind.map(Tables::len).sum()
    }

    /// How long it lasts, in microseconds.
    pub fn duration_us(&self) -> u64 {
        let us = u128::from(movie::duration(&self.tables)) * 1_000_000;
        u64::try_from(us / u128::from(MOVIE_TIMESCALE)).unwrap_or(u64::MAX)
    }

    /// The `moov` that goes behind the last fragment, at `whole_bytes`.
    pub fn moov(&self) -> Bytes {
        movie::moov(&self.tables)
    }

    /// What makes it an ordinary file once the `moov` is on the disk, and where it has to be written.
    pub fn mdat_head(&self) -> (u64, [u8; MDAT_HEAD_BYTES as usize]) {
        let bytes = self.whole_bytes - self.mdat_at;
        let head = u128::from(1_u32) << 96
            | u128::from(u32::from_be_bytes(*b"mdat")) << 64
            | u128::from(bytes);
        (self.mdat_at, head.to_be_bytes())
    }
}

#[derive(Clone, Copy, Debug)]
struct BoxHead {
    kind: [u8; 4],
    /// Of the whole box.
    bytes: u64,
}

/// A file that is read.
struct Reader<'a, F> {
    file: &'a mut F,
    file_bytes: u64,
}

impl<F: Read + Seek> Reader<'_, F> {
    /// The head of the box that begins there; none where it does not fit into the file.
    fn box_head(&mut self, at: u64) -> Result<Option<BoxHead>, io::Error> {
        let Some(bytes) = self.read(at, 8)? else {
            return Ok(None);
        };
        let mut cursor = Cursor(&bytes);
        let (Some(size), Some(kind)) = (cursor.u32(), cursor.u32()) else {
            return Ok(None);
        };
        let head = BoxHead {
            kind: kind.to_be_bytes(),
            bytes: u64::from(size),
        };
        let fits = head.bytes >= 8 && at + head.bytes <= self.file_bytes;
        Ok(fits.then_some(head))
    }

    fn read(&mut self, at: u64, bytes: u64) -> Result<Option<Vec<u8>>, io::Error> {
        if at.saturating_add(bytes) > self.file_bytes {
            return Ok(None);
        }
        let mut buffer = vec![0; usize::try_from(bytes).unwrap_or(0)];
        self.file.seek(SeekFrom::Start(at))?;
        match self.file.read_exact(&mut buffer) {
            Ok(()) => Ok(Some(buffer)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The body of the box that begins there, if it is of this kind.
    fn body(
        &mut self,
        at: u64,
        kind: &[u8; 4],
        bytes_max: u64,
    ) -> Result<Option<Vec<u8>>, io::Error> {
        match self.box_head(at)? {
            Some(head) if head.kind == *kind && head.bytes <= bytes_max => {
                self.read(at + 8, head.bytes - 8)
            }
            _ => Ok(None),
        }
    }

    /// What is in front of the first fragment.
    fn head(&mut self) -> Result<Scan, ScanError> {
        let no_recording = ScanError::NotARecording;
        let ftyp = self.box_head(0)?.filter(|it| it.kind == *b"ftyp");
        let mdat_at = ftyp.ok_or(no_recording)?.bytes;
        let kept = self.read(mdat_at, MDAT_HEAD_BYTES)?;
        let is_finished = match kept.as_deref().and_then(|it| it.get(..8)) {
            Some(b"\0\0\0\x10free") => false,
            Some(b"\0\0\0\x01mdat") => true,
            _ => return Err(ScanError::NotARecording),
        };
        let label_at = mdat_at + MDAT_HEAD_BYTES;
        let label_bytes_max = 24 + LABEL_BYTES_MAX as u64;
        let label = self.body(label_at, b"uuid", label_bytes_max)?;
        let label = label.ok_or(ScanError::NotARecording)?;
        let text = label.strip_prefix(&LABEL_UUID);
        let text = text.ok_or(ScanError::NotARecording)?;
        let moov_at = label_at + 8 + label.len() as u64;
        let moov = self.body(moov_at, b"moov", INIT_BYTES_MAX)?;
        let moov = moov.ok_or(ScanError::NotARecording)?;
        Ok(Scan {
            label: String::from_utf8_lossy(text).into_owned(),
            whole_bytes: moov_at + 8 + moov.len() as u64,
            is_finished,
            mdat_at,
            tables: tracks(Cursor(&moov)).into_iter().map(Tables::new).collect(),
        })
    }

    /// Reads one more fragment; false where there is none that is whole.
    fn fragment(&mut self, scan: &mut Scan) -> Result<bool, io::Error> {
        let at = scan.whole_bytes;
        let Some(moof) = self.body(at, b"moof", MOOF_BYTES_MAX)? else {
            return Ok(false);
        };
        let mdat_at = at + 8 + moof.len() as u64;
        let mdat = self.box_head(mdat_at)?;
        let Some(mdat) =
            mdat.filter(|it| it.kind == *b"mdat" && it.bytes <= 8 + FRAGMENT_BYTES_MAX as u64)
        else {
            return Ok(false);
        };
        let end = mdat_at + mdat.bytes;
        let Some(runs) = runs(Cursor(&moof), at, end) else {
            return Ok(false);
        };
        for run in &runs {
            let mut tables = scan.tables.iter_mut();
            let Some(tables) = tables.find(|it| it.track.id == run.track) else {
                continue;
            };
            if run.samples.iter().any(|it| it.key) && self.brings_parameter_sets(run)? {
                tables.track.bring_parameter_sets();
            }
            tables.push(run.offset, &run.samples);
        }
        scan.whole_bytes = end;
        Ok(true)
    }

    /// Whether a keyframe of the run begins with a sequence parameter set.
    fn brings_parameter_sets(&mut self, run: &Run) -> Result<bool, io::Error> {
        let mut at = run.offset;
        for sample in &run.samples {
            if sample.key
                && let Some(head) = self.read(at, u64::from(sample.size.min(5)))?
                && head.get(4).is_some_and(|nal| nal & 0x1F == NAL_SPS)
            {
                return Ok(true);
            }
            at += u64::from(sample.size);
        }
        Ok(false)
    }
}

impl Track {
    /// Samples of H.264 bring parameter sets.
    fn bring_parameter_sets(&mut self) {
        if let Codec::Avc { in_band, .. } = &mut self.codec {
            *in_band = true;
        }
    }
}
