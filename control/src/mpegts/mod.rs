//! Segments of HLS as MPEG-TS (ISO/IEC 13818-1), for players that know no fMP4: the samples of a segment in, bytes out. No
//! I/O. Payload is copied, once: the caller keeps what was made.
//!
//! ```text
//!  PAT PMT │ PES: AUD, parameter sets, IDR │ PES: ADTS × 4 │ PES: AUD, slices │ … PAT PMT …
//! ```
//!
//! Each segment can be decoded alone, and its packets are counted so that any other may follow.

mod elementary;
mod packets;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use shardcast_cmaf::{Track, TrackRun};

use self::{
    elementary::{Adts, ParameterSets, put_access_unit},
    packets::{Adaptation, Pid},
};

/// Times of PES packets are in it.
const TIMESCALE: u64 = 90_000;
/// And have so many bits.
const TIME_MASK: u64 = (1 << 33) - 1;
/// The clock is so far before the pictures that are sent with it, in ticks: decoders fill their buffers meanwhile.
const CLOCK_BEHIND: u64 = TIMESCALE / 2;
/// Frames of audio in one PES packet: 85 ms.
const AUDIO_FRAMES: usize = 4;
/// Tables are repeated as often in a segment, which brings their counters back to where they began.
const TABLES: usize = 16;

const PID_PMT: u16 = 0x1000;
const PID_VIDEO: u16 = 0x100;
const PID_AUDIO: u16 = 0x101;
const STREAM_TYPE_H264: u8 = 0x1B;
const STREAM_TYPE_AAC: u8 = 0x0F;
const STREAM_ID_VIDEO: u8 = 0xE0;
const STREAM_ID_AUDIO: u8 = 0xC0;

/// A track of a segment, and its samples in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a> {
    pub(crate) track: &'a Track,
    /// None where the segment has none of it.
    pub(crate) run: Option<&'a TrackRun>,
}

/// One PES packet before it is cut.
#[derive(Debug)]
struct Pes {
    /// When it is decoded.
    at: u64,
    adaptation: Adaptation,
    bytes: BytesMut,
}

/// A segment of these tracks.
pub(crate) fn segment(video: Option<Input<'_>>, audio: Option<Input<'_>>) -> Bytes {
    let has_video = video.is_some();
    let (mut pictures, mut sound) = (VecDeque::new(), VecDeque::new());
    if let Some(Input { track, run }) = video {
        pictures.extend(run.into_iter().flat_map(|run| video_packets(track, run)));
    }
    let adts = audio.and_then(|audio| Adts::of(audio.track));
    if let (Some(Input { track, run }), Some(adts)) = (audio, adts) {
        let packets = run.into_iter();
        sound.extend(packets.flat_map(|run| audio_packets(track, adts, run, !has_video)));
    }
    let payload = pictures.iter().chain(&sound).map(|it| it.bytes.len());
    let bytes: usize = payload.sum();
    let mut writer = Writer::new(bytes, has_video, adts.is_some());
    let count = pictures.len() + sound.len();
    let mut done = 0;
    loop {
        // Spread over the segment.
        while writer.tables * count <= done * TABLES && writer.tables < TABLES {
            writer.put_tables();
        }
        let is_video = match (pictures.front(), sound.front()) {
            (Some(picture), Some(sound)) => picture.at <= sound.at,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => break,
        };
        let (queue, pid) = if is_video {
            (&mut pictures, &mut writer.video)
        } else {
            (&mut sound, &mut writer.audio)
        };
        if let Some(Pes {
            adaptation, bytes, ..
        }) = queue.pop_front()
        {
            pid.put_pes(&mut writer.out, &bytes, adaptation, queue.is_empty());
        }
        done += 1;
    }
    while writer.tables < TABLES {
        writer.put_tables();
    }
    debug_assert_eq!(writer.video.missing() + writer.audio.missing(), 0);
    writer.out.freeze()
}

struct Writer {
    out: BytesMut,
    pat: Pid,
    pmt: Pid,
    video: Pid,
    audio: Pid,
    streams: Vec<(u8, u16)>,
    /// How often they are in it.
    tables: usize,
}

impl Writer {
    fn new(payload_bytes: usize, has_video: bool, has_audio: bool) -> Self {
        let mut streams = Vec::with_capacity(2);
        if has_video {
            streams.push((STREAM_TYPE_H264, PID_VIDEO));
        }
        if has_audio {
            streams.push((STREAM_TYPE_AAC, PID_AUDIO));
        }
        Self {
            // Heads are a fiftieth, and what small packets leave empty.
            out: BytesMut::with_capacity(payload_bytes + payload_bytes / 16 + (16 << 10)),
            pat: Pid::new(0),
            pmt: Pid::new(PID_PMT),
            video: Pid::new(PID_VIDEO),
            audio: Pid::new(PID_AUDIO),
            streams,
            tables: 0,
        }
    }

    /// The program, and what it consists of (2.4.4.3, 2.4.4.8).
    fn put_tables(&mut self) {
        self.tables += 1;
        let pat = section(0x00, |body| {
            body.put_u16(1);
            body.put_u16(0xE000 | PID_PMT);
        });
        self.pat.put_section(&mut self.out, &pat);
        let clock = self.streams.first().map_or(0x1FFF, |(_, pid)| *pid);
        let pmt = section(0x02, |body| {
            body.put_u16(0xE000 | clock);
            body.put_u16(0xF000);
            for (kind, pid) in &self.streams {
                body.put_u8(*kind);
                body.put_u16(0xE000 | pid);
                body.put_u16(0xF000);
            }
        });
        self.pmt.put_section(&mut self.out, &pmt);
    }
}

/// A table of number 1 without its CRC.
fn section(table: u8, body: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut content = BytesMut::new();
    body(&mut content);
    let mut out = BytesMut::new();
    out.put_u8(table);
    // What is behind it: five bytes, the body and the CRC.
    let len = u16::try_from(5 + content.len() + 4).unwrap_or(0);
    out.put_u16(0xB000 | len);
    // Its number; version 0, valid now; the only one.
    out.put_slice(&[0, 1, 0xC1, 0, 0]);
    out.extend_from_slice(&content);
    out
}

fn video_packets(track: &Track, run: &TrackRun) -> Vec<Pes> {
    let sets = ParameterSets::of(track);
    let mut at = run.decoded_at;
    let pictures = run.samples.iter().map(|sample| {
        let shown_at = at.saturating_add_signed(sample.composition_offset.into());
        let mut bytes = BytesMut::with_capacity(sample.len() + 128);
        put_pes_head(&mut bytes, STREAM_ID_VIDEO, shown_at, Some(at));
        put_access_unit(&mut bytes, &sample.payload, sample.key.then_some(&sets));
        put_pes_len(&mut bytes);
        let pes = Pes {
            at,
            adaptation: Adaptation {
                pcr: Some(at.wrapping_sub(CLOCK_BEHIND) & TIME_MASK),
                random_access: sample.key,
            },
            bytes,
        };
        at += u64::from(sample.duration);
        pes
    });
    pictures.collect()
}

fn audio_packets(track: &Track, adts: Adts, run: &TrackRun, has_clock: bool) -> Vec<Pes> {
    let to_ticks = |at: u64| {
        let ticks = u128::from(at) * u128::from(TIMESCALE) / u128::from(track.timescale.max(1));
        u64::try_from(ticks).unwrap_or(u64::MAX)
    };
    let mut at = run.decoded_at;
    let packets = run.samples.chunks(AUDIO_FRAMES).map(|frames| {
        let begins_at = to_ticks(at);
        let mut bytes = BytesMut::with_capacity(2_048);
        put_pes_head(&mut bytes, STREAM_ID_AUDIO, begins_at, None);
        for frame in frames {
            adts.put_frame(&mut bytes, &frame.payload);
            at += u64::from(frame.duration);
        }
        put_pes_len(&mut bytes);
        Pes {
            at: begins_at,
            adaptation: Adaptation {
                pcr: has_clock.then_some(begins_at.wrapping_sub(CLOCK_BEHIND) & TIME_MASK),
                random_access: has_clock,
            },
            bytes,
        }
    });
    packets.collect()
}

/// Where the length of a PES packet stands, and where what it counts begins.
const PES_LEN_AT: usize = 4;
const PES_COUNTED_FROM: usize = 6;

/// 2.4.3.6. Without a time of decoding it is that of presentation.
fn put_pes_head(out: &mut BytesMut, stream: u8, shown_at: u64, decoded_at: Option<u64>) {
    out.put_slice(&[0, 0, 1, stream, 0, 0]);
    let decoded_at = decoded_at.filter(|at| *at != shown_at);
    let (flags, prefix, len) = match decoded_at {
        Some(_) => (0xC0, 0b0011, 10),
        None => (0x80, 0b0010, 5),
    };
    // Data alignment: it begins with an access unit.
    out.put_slice(&[0x84, flags, len]);
    put_time(out, prefix, shown_at);
    if let Some(at) = decoded_at {
        put_time(out, 0b0001, at);
    }
}

/// 33 bits in five bytes with marker bits.
fn put_time(out: &mut BytesMut, prefix: u64, at: u64) {
    let at = at & TIME_MASK;
    let bits = prefix << 36
        | (at >> 30) << 33
        | 1 << 32
        | (at >> 15 & 0x7FFF) << 17
        | 1 << 16
        | (at & 0x7FFF) << 1
        | 1;
    let [.., a, b, c, d, e] = bits.to_be_bytes();
    out.put_slice(&[a, b, c, d, e]);
}

/// Writes the length; 0 stands for one that has no 16 bits, which video may have (2.4.3.7).
fn put_pes_len(out: &mut BytesMut) {
    let len = u16::try_from(out.len() - PES_COUNTED_FROM).unwrap_or(0);
    if let Some(place) = out.get_mut(PES_LEN_AT..PES_COUNTED_FROM) {
        place.copy_from_slice(&len.to_be_bytes());
    }
}
