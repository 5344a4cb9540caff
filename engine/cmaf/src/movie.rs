//! The `moov` of a finished file: where each sample is, when it is decoded and shown (8.6, 8.7).

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    boxes::{boxed, full_box},
    init::{Durations, Edit, put_mvhd, put_trak},
    track::{MOVIE_TIMESCALE, Track},
};

/// One sample, as the head of its fragment describes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed {
    /// In ticks of the track.
    pub(crate) decoded_at: u64,
    pub(crate) duration: u32,
    pub(crate) composition_offset: i32,
    pub(crate) size: u32,
    pub(crate) key: bool,
}

/// Equal neighbours are one entry in most tables.
#[derive(Debug, Default)]
struct Runs<T>(Vec<(u32, T)>);

impl<T: PartialEq> Runs<T> {
    fn push(&mut self, value: T) {
        match self.0.last_mut() {
            Some((count, last)) if *last == value => *count += 1,
            _ => self.0.push((1, value)),
        }
    }

    fn put(&self, out: &mut BytesMut, put: impl Fn(&mut BytesMut, &T)) {
        out.put_u32(as_u32(self.0.len()));
        for (count, value) in &self.0 {
            out.put_u32(*count);
            put(out, value);
        }
    }
}

/// The sample tables of one track, built up fragment by fragment: 4 to 12 bytes a sample.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) track: Track,
    deltas: Runs<u32>,
    compositions: Runs<i32>,
    sizes: Vec<u32>,
    keys: Vec<u32>,
    /// Where each chunk begins in the file, and how many samples are in it.
    chunks: Vec<(u64, u32)>,
    first: Option<Placed>,
    last: Option<Placed>,
}

impl Tables {
    pub(crate) fn new(track: Track) -> Self {
        Self {
            track,
            deltas: Runs(Vec::new()),
            compositions: Runs(Vec::new()),
            sizes: Vec::new(),
            keys: Vec::new(),
            chunks: Vec::new(),
            first: None,
            last: None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.sizes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// Takes a run of samples that begins at `offset` of the file.
    pub(crate) fn push(&mut self, offset: u64, samples: &[Placed]) {
        for sample in samples {
            let mut sample = *sample;
            if let Some(last) = &self.last {
                // The next sample says when the one before has ended: what a fragment says of its last
                // is an estimate. Time does not run backwards.
                sample.decoded_at = sample.decoded_at.max(last.decoded_at);
                self.deltas
                    .push(as_u32(sample.decoded_at - last.decoded_at));
            }
            self.compositions.push(sample.composition_offset);
            self.sizes.push(sample.size);
            if sample.key {
                self.keys.push(as_u32(self.sizes.len()));
            }
            self.first.get_or_insert(sample);
            self.last = Some(sample);
        }
        self.chunks.push((offset, as_u32(samples.len())));
    }

    /// From the first sample's decoding to the end of the last, in ticks of the track.
    fn media_duration(&self) -> u64 {
        match (&self.first, &self.last) {
            (Some(first), Some(last)) => {
                (last.decoded_at - first.decoded_at).saturating_add(last.duration.into())
            }
            _ => 0,
        }
    }

    /// How the samples lie on the time of the file, and for how long they are presented.
    ///
    /// ```text
    ///  time of the file     begins_at┊
    ///  video       dts ├──┬──┬──┬──┬──┬      the first is shown later than it is decoded
    ///              pts     ├──┬──┬──┬──┬─    what is before the beginning is not shown
    ///  audio                     ├─┬─┬─┬     or is waited for
    /// ```
    fn edits(&self) -> (Vec<Edit>, u64) {
        let Some(first) = &self.first else {
            return (Vec::new(), 0);
        };
        let composition = u64::try_from(first.composition_offset).unwrap_or(0);
        let presented_at = first.decoded_at.saturating_add(composition);
        let begins_at = self.track.begins_at.unwrap_or(0);
        let wait = self.movie_ticks(presented_at.saturating_sub(begins_at));
        let left_out = begins_at.saturating_sub(presented_at);
        let presented = self.media_duration().saturating_sub(left_out);
        let mut edits = Vec::with_capacity(2);
        if wait > 0 {
            edits.push(Edit {
                duration: wait,
                media_time: None,
            });
        }
        let duration = self.movie_ticks(presented);
        edits.push(Edit {
            duration,
            media_time: Some(composition.saturating_add(left_out)),
        });
        (edits, wait.saturating_add(duration))
    }

    fn movie_ticks(&self, ticks: u64) -> u64 {
        let scaled = u128::from(ticks) * u128::from(MOVIE_TIMESCALE);
        u64::try_from(scaled / u128::from(self.track.timescale.max(1))).unwrap_or(u64::MAX)
    }

    fn put(&self, out: &mut BytesMut) {
        let (edits, movie) = self.edits();
        let media = self.media_duration();
        put_trak(
            out,
            &self.track,
            Durations { movie, media },
            &edits,
            |out| {
                full_box(out, b"stts", 0, 0, |out| self.put_deltas(out));
                if self.compositions.0.iter().any(|(_, offset)| *offset != 0) {
                    full_box(out, b"ctts", 1, 0, |out| {
                        self.compositions.put(out, |out, it| out.put_i32(*it));
                    });
                }
                if self.keys.len() < self.sizes.len() {
                    full_box(out, b"stss", 0, 0, |out| put_list(out, &self.keys));
                }
                full_box(out, b"stsc", 0, 0, |out| self.put_chunk_lengths(out));
                full_box(out, b"stsz", 0, 0, |out| {
                    out.put_u32(0);
                    put_list(out, &self.sizes);
                });
                full_box(out, b"co64", 0, 0, |out| {
                    out.put_u32(as_u32(self.chunks.len()));
                    for (offset, _) in &self.chunks {
                        out.put_u64(*offset);
                    }
                });
            },
        );
    }

    fn put_deltas(&self, out: &mut BytesMut) {
        let last = self.last.map_or(0, |it| it.duration);
        let is_same = self.deltas.0.last().is_some_and(|(_, it)| *it == last);
        let runs = self.deltas.0.len() + usize::from(!is_same);
        out.put_u32(as_u32(runs));
        for (place, (count, delta)) in self.deltas.0.iter().enumerate() {
            let joins = is_same && place + 1 == runs;
            out.put_u32(count + u32::from(joins));
            out.put_u32(*delta);
        }
        if !is_same {
            out.put_u32(1);
            out.put_u32(last);
        }
    }

    /// The first chunk of each run of chunks with as many samples, from 1 on.
    fn put_chunk_lengths(&self, out: &mut BytesMut) {
        let mut lengths = Runs(Vec::new());
        for (_, samples) in &self.chunks {
            lengths.push(*samples);
        }
        out.put_u32(as_u32(lengths.0.len()));
        let mut chunk = 1;
        for (count, samples) in lengths.0 {
            out.put_u32(chunk);
            out.put_u32(samples);
            // The sample entry.
            out.put_u32(1);
            chunk += count;
        }
    }
}

/// How long a file of these tracks lasts, in ticks of the movie.
pub(crate) fn duration(tables: &[Tables]) -> u64 {
    let tracks = tables.iter().map(|it| it.edits().1);
    tracks.max().unwrap_or(0)
}

/// The `moov` of a file of these tracks; those without samples are left out.
pub(crate) fn moov(tables: &[Tables]) -> Bytes {
    let samples: usize = tables.iter().map(|it| it.sizes.len()).sum();
    let mut out = BytesMut::with_capacity(2_000 + samples * 6);
    boxed(&mut out, b"moov", |out| {
        let tracks: Vec<Track> = tables.iter().map(|it| it.track.clone()).collect();
        put_mvhd(out, duration(tables), &tracks);
        for track in tables.iter().filter(|it| !it.is_empty()) {
            track.put(out);
        }
    });
    out.freeze()
}

fn put_list(out: &mut BytesMut, list: &[u32]) {
    out.put_u32(as_u32(list.len()));
    for number in list {
        out.put_u32(*number);
    }
}

/// Tables count in 32 bits: enough for a year and a half of video and audio.
fn as_u32(number: impl TryInto<u32>) -> u32 {
    number.try_into().unwrap_or(u32::MAX)
}
