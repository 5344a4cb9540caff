//! Pictures of the simulated publisher, of still encoders and of transcoders: as small as
//! H.264 can be, with true slice headers, each with a number in it by which a server can tell what
//! it was sent and what was left out.

use bytes::Bytes;
use shardcast_core::{
    h264::ParameterSets,
    io::{RenditionId, StillFrame},
};

/// 1280x720 and 640x360, as x264 writes them: four bits of `frame_num`, picture order count type 2.
/// The publisher's, then those of renditions, which say another level.
const SPS: [&[u8]; 4] = [
    &[
        0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x00, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00,
        0x10, 0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x24, 0x80,
    ],
    &[
        0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00,
        0x01, 0x00, 0x00, 0x03, 0x00, 0x3c, 0x0f, 0x16, 0x2e, 0x48,
    ],
    &[
        0x67, 0x42, 0xc0, 0x20, 0xd9, 0x00, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00,
        0x10, 0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x24, 0x80,
    ],
    &[
        0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x00, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00,
        0x01, 0x00, 0x00, 0x03, 0x00, 0x3c, 0x0f, 0x16, 0x2e, 0x48,
    ],
];
/// The sequence parameter set of a publisher that sends 1280x720: Chromium's, in CAVLC, so that slice
/// data begins anywhere in a byte.
pub const SPS_720P: &[u8] = SPS[0];
/// The same for 640x360.
pub const SPS_360P: &[u8] = SPS[1];
/// Of each size.
const MACROBLOCKS: [u32; 2] = [80 * 45, 40 * 23];
const WIDTHS: [u32; 2] = [1280, 640];
/// The picture parameter set of all pictures here.
pub const PPS: &[u8] = &[0x68, 0xcb, 0x83, 0xcb, 0x20];
const START_CODE: &[u8] = &[0, 0, 0, 1];
/// CELT, stereo, three frames of 20 ms (RFC 6716, 3.2.5).
pub(crate) const OPUS_60_MS: &[u8] = &[0xff, 0x03, 0x11, 0x22, 0x33];
/// First byte behind the slice header and the ones that fill its last byte; tells what the number
/// is that follows. Begins with a zero, so that the ones have an end.
const MARK_SENT: u8 = 0x5a;
const MARK_LAST: u8 = 0x33;
const MARK_SLATE: u8 = 0x2d;
const MARK_MADE: u8 = 0x69;
/// Bytes of seven bits, each with the highest bit set so that none looks like a start code.
const NUMBER_BYTES: u32 = 5;
/// Of these bits, those that count the pictures of a rendition; the others name it.
const MADE_BITS: u32 = 20;
/// `frame_num` counts modulo this.
const FRAME_NUM_END: u8 = 16;

const IDR: u8 = 0x65;
const NON_IDR: u8 = 0x41;
/// The start of a VP8 frame (RFC 6386, 9.1): in a keyframe the lowest bit of the first byte is 0.
const VP8_KEY: [u8; 6] = [0x10, 2, 0, 0x9d, 0x01, 0x2a];
const VP8_INTER: [u8; 6] = [0x11, 2, 0, 0x9d, 0x01, 0x2a];

/// Who made a picture, and what it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// The publisher's, by its number.
    Sent(u64),
    /// The picture before it again.
    Repetition,
    /// A still frame of the publisher's picture of that number.
    Last(u64),
    /// The slate of that number.
    Slate(u64),
    /// A rendition's.
    Made {
        /// Which.
        rendition: RenditionId,
        /// Counts its pictures from 0 on.
        number: u64,
    },
}

/// What a picture of the simulation says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Its content.
    pub shows: Shows,
    /// Which parameter sets it is coded under.
    pub config: u8,
    /// `idr_pic_id` of a keyframe.
    pub idr_pic_id: Option<u32>,
    /// Counts pictures from the last keyframe on, modulo 16.
    pub frame_num: u8,
}

impl Picture {
    /// The publisher's picture of that number, so many behind its last keyframe.
    pub(crate) fn sent(number: u64, config: u8, since_keyframe: u64) -> Self {
        Self {
            shows: Shows::Sent(number),
            config,
            // Neighbours differ, as they must when both are keyframes.
            idr_pic_id: (since_keyframe == 0).then_some(u32::from(number % 2 == 1)),
            frame_num: u8::try_from(since_keyframe % u64::from(FRAME_NUM_END)).unwrap(),
        }
    }

    /// A picture coded by itself.
    pub(crate) fn still(shows: Shows, config: u8) -> Self {
        Self {
            shows,
            config,
            idr_pic_id: Some(0),
            frame_num: 0,
        }
    }

    /// A picture of a rendition of this height, so many behind its last keyframe.
    pub(crate) fn made(
        rendition: RenditionId,
        number: u64,
        height: u32,
        since_keyframe: u64,
    ) -> Self {
        Self {
            shows: Shows::Made { rendition, number },
            ..Self::sent(number, if height >= 720 { 2 } else { 3 }, since_keyframe)
        }
    }

    /// It is an IDR picture.
    pub fn is_key(self) -> bool {
        self.idr_pic_id.is_some()
    }

    /// A keyframe of the publisher under another number than it gave.
    pub(crate) fn is_resent(self) -> bool {
        matches!(self.shows, Shows::Sent(_)) && self.idr_pic_id.is_some_and(|id| id > 1)
    }

    /// What `frame_num` of a picture behind this one has to be (clause 7.4.3): all are references.
    pub(crate) fn frame_num_next(self) -> u8 {
        (self.frame_num + 1) % FRAME_NUM_END
    }

    /// An access unit of about `bytes` bytes.
    pub(crate) fn annex_b(self, bytes: usize) -> Vec<u8> {
        let mut unit = Vec::with_capacity(bytes + 64);
        if self.is_key() {
            for nal in [SPS[usize::from(self.config)], PPS] {
                unit.extend_from_slice(START_CODE);
                unit.extend_from_slice(nal);
            }
        }
        unit.extend_from_slice(START_CODE);
        self.put_slice(bytes, &mut unit);
        unit
    }

    /// The answer to a still-frame job.
    pub(crate) fn coded(self) -> StillFrame {
        let mut slice = Vec::new();
        self.put_slice(20, &mut slice);
        StillFrame {
            sps: Bytes::from_static(SPS[usize::from(self.config)]),
            pps: Bytes::from_static(PPS),
            slices: vec![Bytes::from(slice)],
        }
    }

    /// What a video transcoder gives of a picture: its parameter sets, if it is a keyframe, and its unit.
    pub(crate) fn encoded(self) -> (Option<(Bytes, Bytes)>, Bytes) {
        let sets = self.is_key().then(|| {
            let sps = SPS[usize::from(self.config)];
            (Bytes::from_static(sps), Bytes::from_static(PPS))
        });
        let mut unit = vec![0; 4];
        self.put_slice(20, &mut unit);
        let length = u32::try_from(unit.len() - 4).unwrap();
        unit[..4].copy_from_slice(&length.to_be_bytes());
        (sets, unit.into())
    }

    /// The header of an I or a P slice, filled up with ones; the data is made up.
    fn put_slice(self, bytes: usize, out: &mut Vec<u8>) {
        let fill = self.frame_num;
        out.extend_from_slice(&match self.idr_pic_id {
            None => [NON_IDR, 0x9a | fill >> 3, fill << 5 | 0x03, 0xff],
            Some(0) => [IDR, 0x88, 0x84, 0xff],
            Some(_) => [IDR, 0x88, 0x82, 0x3f],
        });
        let (mark, number) = match self.shows {
            Shows::Last(number) => (MARK_LAST, number),
            Shows::Slate(number) => (MARK_SLATE, number),
            Shows::Sent(number) => (MARK_SENT, number),
            Shows::Made { rendition, number } => (MARK_MADE, rendition.0 << MADE_BITS | number),
            Shows::Repetition => unreachable!("only the shard repeats"),
        };
        out.push(mark);
        for place in (0..NUMBER_BYTES).rev() {
            let seven_bits = (number >> (7 * place)) & 0x7f;
            out.push(0x80 | u8::try_from(seven_bits).unwrap());
        }
        out.push(0x80 | self.config);
        out.resize(out.len() + bytes, 0x55);
    }

    /// Reads the body of a video message: five bytes of FLV, then as [`Self::read_unit`].
    pub fn read(body: &[u8]) -> Option<Self> {
        Self::read_unit(body.get(5..)?)
    }

    /// Reads four bytes of length and the slice. None if it is not one of these pictures.
    pub(crate) fn read_unit(unit: &[u8]) -> Option<Self> {
        let (nal_header, slice) = unit.get(4..)?.split_first()?;
        let mut bits = Bits::new(slice);
        let first_macroblock = bits.ue()?;
        let kind = bits.ue()?;
        let pps = bits.ue()?;
        let frame_num = u8::try_from(bits.bits(4)?).unwrap();
        let idr_pic_id = match *nal_header {
            IDR => Some(bits.ue()?),
            NON_IDR => None,
            _ => return None,
        };
        // The number of references may be told, and is one less than that.
        if idr_pic_id.is_none() && bits.bits(1)? == 1 {
            bits.ue()?;
        }
        // No changes of their list and no marking by commands; for IDR pictures no output is
        // prevented and none is kept for long.
        let flags = bits.bits(2)?;
        let expected_kind = if idr_pic_id.is_some() { 7 } else { 5 };
        if (first_macroblock, kind, pps, flags) != (0, expected_kind, 0, 0) {
            return None;
        }
        let same_qp = bits.ue()? == 0;
        let deblocks = bits.ue()? != 1;
        let (shows, config) = if deblocks {
            bits.bits(2).filter(|offsets| *offsets == 0b11)?;
            bits.mark()?
        } else {
            (Shows::Repetition, bits.skip_run(slice.len())?)
        };
        same_qp.then_some(Self {
            shows,
            config,
            idr_pic_id,
            frame_num,
        })
    }
}

/// The publisher's picture of that number in VP8, of about `bytes` bytes.
pub(crate) fn vp8(number: u64, key: bool, bytes: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(bytes + 16);
    frame.extend_from_slice(if key { &VP8_KEY } else { &VP8_INTER });
    frame.extend_from_slice(&number.to_be_bytes());
    frame.resize(frame.len() + bytes, 0x55);
    frame
}

/// Its number, and whether it is a keyframe.
pub(crate) fn read_vp8(frame: &[u8]) -> Option<(u64, bool)> {
    let (start, rest) = frame.split_at_checked(VP8_KEY.len())?;
    let key = start == VP8_KEY;
    let number = u64::from_be_bytes(rest.get(..8)?.try_into().ok()?);
    (key || start == VP8_INTER).then_some((number, key))
}

/// Which parameter sets of the publisher's give pictures of this width.
pub(crate) fn config_of(width: u32) -> Option<u8> {
    let index = WIDTHS.iter().position(|it| *it == width)?;
    u8::try_from(index).ok()
}

/// Which parameter sets this sequence parameter set is of.
pub(crate) fn config_of_sps(sps: &[u8]) -> Option<u8> {
    let index = SPS.iter().position(|it| *it == sps)?;
    u8::try_from(index).ok()
}

/// The AVCDecoderConfigurationRecord that must come before pictures of `config`.
pub(crate) fn record(config: u8) -> Bytes {
    record_of(SPS[usize::from(config)])
}

/// The same for any sequence parameter set.
pub(crate) fn record_of(sps: &'static [u8]) -> Bytes {
    let sets = ParameterSets::new(&Bytes::from_static(sps), &[Bytes::from_static(PPS)]);
    sets.unwrap().record().clone()
}

/// Reads a slice, which here never has three zero bytes in a row.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn bits(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.bits(1)? == 0 {
            zeros += 1;
        }
        Some((1 << zeros) - 1 + self.bits(zeros)?)
    }

    /// What the publisher's and the coder's pictures carry behind their headers.
    fn mark(&mut self) -> Option<(Shows, u8)> {
        while self.bits(1)? == 1 {}
        let mark = u8::try_from(self.bits(7)?).unwrap();
        let mut number = 0;
        for _ in 0..NUMBER_BYTES {
            number = number << 7 | u64::from(self.seven_bits()?);
        }
        let config = self.seven_bits()?;
        if usize::from(config) >= SPS.len() {
            return None;
        }
        let shows = match mark {
            MARK_SENT => Shows::Sent(number),
            MARK_LAST => Shows::Last(number),
            MARK_SLATE => Shows::Slate(number),
            MARK_MADE => Shows::Made {
                rendition: RenditionId(number >> MADE_BITS),
                number: number & ((1 << MADE_BITS) - 1),
            },
            _ => return None,
        };
        Some((shows, config))
    }

    /// A byte whose highest bit is set.
    fn seven_bits(&mut self) -> Option<u8> {
        let byte = u8::try_from(self.bits(8)?).unwrap();
        (byte & 0x80 != 0).then_some(byte & 0x7f)
    }

    /// All macroblocks are skipped, and nothing follows: tells the size of the picture.
    fn skip_run(&mut self, bytes: usize) -> Option<u8> {
        let run = self.ue()?;
        let stop = self.bits(1)?;
        let config = MACROBLOCKS.iter().position(|it| *it == run)?;
        let ends = stop == 1 && self.at.div_ceil(8) == bytes;
        u8::try_from(config).ok().filter(|_| ends)
    }
}
