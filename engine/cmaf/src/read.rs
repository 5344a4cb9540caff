//! Reads what is written here: the tracks of a `moov`, and the samples of a `moof`. So what a fragment holds can be
//! packaged otherwise: one track alone, or as another format.

use bytes::Bytes;

use crate::{
    cursor::Cursor,
    fragment::{
        DEFAULT_DURATION, DEFAULT_FLAGS, FLAGS_KEY, SAMPLE_COMPOSITION, SAMPLE_DURATION,
        SAMPLE_FLAGS, SAMPLE_SIZE, Sample, TrackRun,
    },
    movie::Placed,
    track::{Codec, Track},
};

/// Tracks of a file that is read.
const TRACKS_MAX: usize = 2;

/// The tracks of an init segment; none where it is not one.
pub fn read_init_segment(init: &[u8]) -> Vec<Track> {
    Cursor(init).find(b"moov").map(tracks).unwrap_or_default()
}

/// The samples of a fragment, which share its bytes; `None` where it is not whole.
pub fn read_fragment(fragment: &Bytes) -> Option<Vec<TrackRun>> {
    let (kind, moof) = Cursor(fragment).next_box()?;
    if kind != *b"moof" {
        return None;
    }
    let end = u64::try_from(fragment.len()).ok()?;
    let runs = runs(moof, 0, end)?;
    runs.iter().map(|run| track_run(fragment, run)).collect()
}

fn track_run(fragment: &Bytes, run: &Run) -> Option<TrackRun> {
    let decoded_at = run.samples.first()?.decoded_at;
    let mut at = usize::try_from(run.offset).ok()?;
    let samples = run.samples.iter().map(|placed| {
        let until = at.checked_add(usize::try_from(placed.size).ok()?)?;
        let payload = (until <= fragment.len()).then(|| fragment.slice(at..until))?;
        at = until;
        Some(Sample {
            duration: placed.duration,
            composition_offset: placed.composition_offset,
            key: placed.key,
            parameter_sets: None,
            payload,
        })
    });
    Some(TrackRun {
        track: run.track,
        decoded_at,
        samples: samples.collect::<Option<_>>()?,
    })
}

impl TrackRun {
    /// When its last sample ends, in ticks of the track.
    pub fn ends_at(&self) -> u64 {
        let durations = self.samples.iter().map(|it| u64::from(it.duration));
        self.decoded_at.saturating_add(durations.sum())
    }

    /// Appends a run of the same track that follows. A hole between the two lengthens the sample in front of it.
    pub fn append(&mut self, next: Self) {
        let hole = next.decoded_at.saturating_sub(self.ends_at());
        if let Some(last) = self.samples.last_mut() {
            let hole = u32::try_from(hole).unwrap_or(u32::MAX);
            last.duration = last.duration.saturating_add(hole);
        }
        self.samples.extend(next.samples);
    }
}

/// The tracks of a `moov`.
pub(crate) fn tracks(mut moov: Cursor<'_>) -> Vec<Track> {
    let mut tracks = Vec::new();
    while let Some((kind, body)) = moov.next_box() {
        if kind == *b"trak" && tracks.len() < TRACKS_MAX {
            tracks.extend(track(body));
        }
    }
    tracks
}

fn track(trak: Cursor<'_>) -> Option<Track> {
    let mut tkhd = trak.find(b"tkhd")?;
    tkhd.take(4 + 16)?;
    let id = tkhd.u32()?;
    let mut mdhd = trak.find_path(&[b"mdia", b"mdhd"])?;
    mdhd.take(4 + 16)?;
    let timescale = mdhd.u32().filter(|it| *it > 0)?;
    let begins_at = trak.find_path(&[b"edts", b"elst"]).and_then(|mut elst| {
        elst.take(4 + 4 + 8)?;
        elst.u64()
    });
    let mut stsd = trak.find_path(&[b"mdia", b"minf", b"stbl", b"stsd"])?;
    stsd.take(8)?;
    let (kind, entry) = stsd.next_box()?;
    let codec = match &kind {
        // Until a sample brings some, parameter sets are in the head alone.
        b"avc1" | b"avc3" => avc(entry)?,
        b"mp4a" => aac(entry)?,
        _ => return None,
    };
    Some(Track {
        id,
        timescale,
        codec,
        begins_at,
    })
}

fn avc(mut entry: Cursor<'_>) -> Option<Codec> {
    entry.take(8 + 16)?;
    let (width, height) = (entry.u16()?, entry.u16()?);
    entry.take(8 + 4 + 2 + 32 + 4)?;
    let record = entry.find(b"avcC")?;
    Some(Codec::Avc {
        record: Bytes::copy_from_slice(record.0),
        width,
        height,
        in_band: false,
    })
}

fn aac(mut entry: Cursor<'_>) -> Option<Codec> {
    entry.take(8 + 8)?;
    let channels = entry.u16()?;
    entry.take(2 + 4)?;
    let sample_rate = entry.u32()? >> 16;
    let mut esds = entry.find(b"esds")?;
    esds.take(4)?;
    let mut stream = esds.descriptor(3)?;
    stream.take(3)?;
    let mut decoder = stream.descriptor(4)?;
    decoder.take(13)?;
    let config = decoder.descriptor(5)?;
    Some(Codec::Aac {
        config: Bytes::copy_from_slice(config.0),
        sample_rate,
        channels,
    })
}

/// One run of samples of a fragment.
#[derive(Debug)]
pub(crate) struct Run {
    /// The number of the track.
    pub(crate) track: u32,
    /// Of the first sample, in the file.
    pub(crate) offset: u64,
    /// In the order of decoding.
    pub(crate) samples: Vec<Placed>,
}

/// The runs of the fragment that begins at `at`; none if one of them goes beyond its `end`.
pub(crate) fn runs(mut moof: Cursor<'_>, at: u64, end: u64) -> Option<Vec<Run>> {
    let mut runs = Vec::new();
    while let Some((kind, traf)) = moof.next_box() {
        if kind != *b"traf" || runs.len() == TRACKS_MAX {
            continue;
        }
        let run = run(traf, at)?;
        let bytes: u64 = run.samples.iter().map(|it| u64::from(it.size)).sum();
        if run.offset.checked_add(bytes)? > end {
            return None;
        }
        runs.push(run);
    }
    Some(runs)
}

fn run(traf: Cursor<'_>, at: u64) -> Option<Run> {
    let mut tfhd = traf.find(b"tfhd")?;
    let (_, defaults) = tfhd.version_and_flags()?;
    let track = tfhd.u32()?;
    let mut default = |flag| match defaults & flag {
        0 => Some(0),
        _ => tfhd.u32(),
    };
    let (duration, flags) = (default(DEFAULT_DURATION)?, default(DEFAULT_FLAGS)?);
    let mut tfdt = traf.find(b"tfdt")?;
    tfdt.take(4)?;
    let mut decoded_at = tfdt.u64()?;

    let mut trun = traf.find(b"trun")?;
    let (_, given) = trun.version_and_flags()?;
    if given & SAMPLE_SIZE == 0 {
        return None;
    }
    let count = usize::try_from(trun.u32()?).ok()?;
    let offset = at.checked_add(u64::from(trun.u32()?))?;
    // Each takes four bytes at least: what is merely announced is not allocated.
    let mut samples = Vec::with_capacity(count.min(trun.0.len() / 4));
    for _ in 0..count {
        let mut field = |flag, default| match given & flag {
            0 => Some(default),
            _ => trun.u32(),
        };
        let duration = field(SAMPLE_DURATION, duration)?;
        let size = field(SAMPLE_SIZE, 0)?;
        let flags = field(SAMPLE_FLAGS, flags)?;
        let composition_offset = field(SAMPLE_COMPOSITION, 0)?.cast_signed();
        samples.push(Placed {
            decoded_at,
            duration,
            composition_offset,
            size,
            key: flags == FLAGS_KEY,
        });
        decoded_at = decoded_at.checked_add(u64::from(duration))?;
    }
    Some(Run {
        track,
        offset,
        samples,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fragment, init_segment};

    fn sample(payload: &'static [u8], duration: u32, composition_offset: i32, key: bool) -> Sample {
        Sample {
            duration,
            composition_offset,
            key,
            parameter_sets: None,
            payload: Bytes::from_static(payload),
        }
    }

    fn runs_of_two() -> Vec<TrackRun> {
        vec![
            TrackRun {
                track: 1,
                decoded_at: 900_000,
                samples: vec![
                    sample(b"a keyframe", 3_000, 6_000, true),
                    sample(b"", 3_001, 0, false),
                    sample(b"a picture", 3_000, -3_000, false),
                ],
            },
            TrackRun {
                track: 2,
                decoded_at: 480_000,
                samples: vec![sample(b"sound", 1_024, 0, true); 4],
            },
        ]
    }

    fn written() -> Bytes {
        let slices = fragment(7, runs_of_two()).unwrap();
        slices.concat().into()
    }

    #[test]
    fn what_is_written_is_read_again() {
        assert_eq!(read_fragment(&written()), Some(runs_of_two()));
        let tracks = [
            Track::video(1, Bytes::from_static(b"\x01record"), 640, 360),
            Track::audio(2, Bytes::from_static(b"\x11\x90"), 48_000, 2),
        ];
        assert_eq!(read_init_segment(&init_segment(&tracks)), tracks);
    }

    #[test]
    fn what_is_damaged_is_not_read_beyond_its_end() {
        let whole = written();
        for len in 0..whole.len() {
            assert_eq!(read_fragment(&whole.slice(..len)), None, "{len}");
            read_init_segment(&whole.slice(..len));
        }
        for at in 0..whole.len() {
            for bits in [0x01, 0x80, 0xFF] {
                let mut damaged = whole.to_vec();
                damaged[at] ^= bits;
                let _ = read_fragment(&damaged.into());
            }
        }
    }

    #[test]
    fn runs_are_joined_over_a_hole() {
        let [mut video, _] = <[TrackRun; 2]>::try_from(runs_of_two()).unwrap();
        let mut next = video.clone();
        assert_eq!(video.ends_at(), 909_001);
        next.decoded_at = 909_101;
        video.append(next);
        assert_eq!(video.samples.len(), 6);
        assert_eq!(video.samples[2].duration, 3_100);
        assert_eq!(video.ends_at(), 918_102);
    }
}
