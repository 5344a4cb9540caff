//! The init segment: `ftyp`, and a `moov` that says that samples are in fragments (8.8.1).

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    boxes::{boxed, full_box, put_unity_matrix},
    sample_entry::put_stsd,
    track::{MOVIE_TIMESCALE, Track},
};

/// Language "und", in three times five bits (8.4.2.3).
const LANGUAGE_UNKNOWN: u16 = 0x55C4;
/// Enabled, in the movie, and in its preview (8.3.2.3).
const TRACK_FLAGS: u32 = 7;

/// An init segment of these tracks.
pub fn init_segment(tracks: &[Track]) -> Bytes {
    let mut out = BytesMut::with_capacity(1_500);
    put_ftyp(&mut out, tracks.len() == 1);
    put_init_moov(&mut out, tracks);
    out.freeze()
}

/// `ftyp` (4.3). CMAF has one track in a file, so others do not claim to be that.
pub(crate) fn put_ftyp(out: &mut BytesMut, is_cmaf: bool) {
    boxed(out, b"ftyp", |out| {
        out.put_slice(b"iso6");
        out.put_u32(512);
        out.put_slice(b"iso6isommp41");
        if is_cmaf {
            out.put_slice(b"cmfc");
        }
    });
}

pub(crate) fn put_init_moov(out: &mut BytesMut, tracks: &[Track]) {
    boxed(out, b"moov", |out| {
        put_mvhd(out, 0, tracks);
        for track in tracks {
            let edits = track.begins_at.map(|media_time| Edit {
                duration: 0,
                media_time: Some(media_time),
            });
            put_trak(out, track, Durations::default(), edits.as_slice(), |out| {
                put_no_samples(out);
            });
        }
        boxed(out, b"mvex", |out| {
            for track in tracks {
                full_box(out, b"trex", 0, 0, |out| {
                    out.put_u32(track.id);
                    // The sample entry; fragments say the duration, size and flags of samples.
                    out.put_u32(1);
                    out.put_bytes(0, 12);
                });
            }
        });
    });
}

/// Lengths of a track.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Durations {
    /// What is presented, in ticks of the movie.
    pub(crate) movie: u64,
    /// All samples, in ticks of the track.
    pub(crate) media: u64,
}

/// One entry of an edit list (8.6.6).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edit {
    /// In ticks of the movie; 0 in a file of fragments stands for all.
    pub(crate) duration: u64,
    /// Where it begins, in ticks of the track; `None` is a wait.
    pub(crate) media_time: Option<u64>,
}

pub(crate) fn put_mvhd(out: &mut BytesMut, duration: u64, tracks: &[Track]) {
    full_box(out, b"mvhd", 1, 0, |out| {
        // When it was made and changed: not known here.
        out.put_u64(0);
        out.put_u64(0);
        out.put_u32(MOVIE_TIMESCALE);
        out.put_u64(duration);
        // Rate 1, volume 1.
        out.put_u32(0x0001_0000);
        out.put_u16(0x0100);
        out.put_bytes(0, 10);
        put_unity_matrix(out);
        out.put_bytes(0, 24);
        out.put_u32(tracks.iter().map(|it| it.id).max().unwrap_or(0) + 1);
    });
}

/// A `trak`, whose sample tables `tables` writes behind `stsd`.
pub(crate) fn put_trak(
    out: &mut BytesMut,
    track: &Track,
    durations: Durations,
    edits: &[Edit],
    tables: impl FnOnce(&mut BytesMut),
) {
    boxed(out, b"trak", |out| {
        put_tkhd(out, track, durations.movie);
        if !edits.is_empty() {
            boxed(out, b"edts", |out| put_elst(out, edits));
        }
        boxed(out, b"mdia", |out| {
            full_box(out, b"mdhd", 1, 0, |out| {
                out.put_u64(0);
                out.put_u64(0);
                out.put_u32(track.timescale);
                out.put_u64(durations.media);
                out.put_u16(LANGUAGE_UNKNOWN);
                out.put_u16(0);
            });
            put_hdlr(out, track);
            boxed(out, b"minf", |out| {
                if track.is_video() {
                    full_box(out, b"vmhd", 0, 1, |out| out.put_bytes(0, 8));
                } else {
                    full_box(out, b"smhd", 0, 0, |out| out.put_bytes(0, 4));
                }
                put_dinf(out);
                boxed(out, b"stbl", |out| {
                    put_stsd(out, track);
                    tables(out);
                });
            });
        });
    });
}

fn put_tkhd(out: &mut BytesMut, track: &Track, duration: u64) {
    full_box(out, b"tkhd", 1, TRACK_FLAGS, |out| {
        out.put_u64(0);
        out.put_u64(0);
        out.put_u32(track.id);
        out.put_u32(0);
        out.put_u64(duration);
        out.put_bytes(0, 12);
        out.put_u16(if track.is_video() { 0 } else { 0x0100 });
        out.put_u16(0);
        put_unity_matrix(out);
        let (width, height) = match &track.codec {
            crate::Codec::Avc { width, height, .. } => (*width, *height),
            crate::Codec::Aac { .. } => (0, 0),
        };
        out.put_u32(u32::from(width) << 16);
        out.put_u32(u32::from(height) << 16);
    });
}

fn put_elst(out: &mut BytesMut, edits: &[Edit]) {
    full_box(out, b"elst", 1, 0, |out| {
        out.put_u32(u32::try_from(edits.len()).unwrap_or(0));
        for edit in edits {
            out.put_u64(edit.duration);
            let media_time = edit.media_time.map(i64::try_from);
            out.put_i64(media_time.map_or(-1, |it| it.unwrap_or(i64::MAX)));
            // Rate 1.
            out.put_u32(0x0001_0000);
        }
    });
}

fn put_hdlr(out: &mut BytesMut, track: &Track) {
    full_box(out, b"hdlr", 0, 0, |out| {
        out.put_u32(0);
        let (kind, name) = if track.is_video() {
            (b"vide", &b"Video\0"[..])
        } else {
            (b"soun", &b"Audio\0"[..])
        };
        out.put_slice(kind);
        out.put_bytes(0, 12);
        out.put_slice(name);
    });
}

/// The data is in the file itself (8.7.2).
fn put_dinf(out: &mut BytesMut) {
    boxed(out, b"dinf", |out| {
        full_box(out, b"dref", 0, 0, |out| {
            out.put_u32(1);
            full_box(out, b"url ", 0, 1, |_| {});
        });
    });
}

/// Tables that have to be there, and are empty.
fn put_no_samples(out: &mut BytesMut) {
    full_box(out, b"stts", 0, 0, |out| out.put_u32(0));
    full_box(out, b"stsc", 0, 0, |out| out.put_u32(0));
    full_box(out, b"stsz", 0, 0, |out| out.put_u64(0));
    full_box(out, b"stco", 0, 0, |out| out.put_u32(0));
}
