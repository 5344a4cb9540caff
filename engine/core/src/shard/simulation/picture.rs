//! Pictures of the simulated publisher: as small as H.264 can be, each with a number in it by
//! which a server can tell what it was sent and what was left out.

use bytes::Bytes;

use crate::h264::ParameterSets;

/// 1280x720 and 640x360, as x264 writes them.
const SPS: [&[u8]; 2] = [
    &[
        0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x00, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00,
        0x10, 0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x24, 0x80,
    ],
    &[
        0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00,
        0x01, 0x00, 0x00, 0x03, 0x00, 0x3c, 0x0f, 0x16, 0x2e, 0x48,
    ],
];
const PPS: &[u8] = &[0x68, 0xcb, 0x83, 0xcb, 0x20];
const START_CODE: &[u8] = &[0, 0, 0, 1];
/// CELT, stereo, three frames of 20 ms (RFC 6716, 3.2.5).
pub(super) const OPUS_60_MS: &[u8] = &[0xff, 0x03, 0x11, 0x22, 0x33];
/// First byte of the slice header of every picture here.
const MARK: u8 = 0x9a;
/// Bytes of seven bits, each with the highest bit set so that none looks like a start code.
const NUMBER_BYTES: usize = 5;

/// What identifies a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    pub(super) key: bool,
    pub(super) number: u64,
    pub(super) config: u8,
}

impl Picture {
    /// An access unit of about `bytes` bytes.
    pub(super) fn annex_b(self, bytes: usize) -> Vec<u8> {
        let mut unit = Vec::with_capacity(bytes + 64);
        if self.key {
            for nal in [SPS[usize::from(self.config)], PPS] {
                unit.extend_from_slice(START_CODE);
                unit.extend_from_slice(nal);
            }
        }
        unit.extend_from_slice(START_CODE);
        unit.extend_from_slice(&[if self.key { 0x65 } else { 0x41 }, MARK]);
        for place in (0..NUMBER_BYTES).rev() {
            let seven_bits = (self.number >> (7 * place)) & 0x7f;
            unit.push(0x80 | u8::try_from(seven_bits).unwrap());
        }
        unit.push(0x80 | self.config);
        unit.resize(unit.len() + bytes, 0x55);
        unit
    }

    /// Reads the body of a video message: five bytes of FLV, four of length, then the slice. None
    /// if it is not one of these pictures.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let slice = body.get(9..)?;
        let key = match slice {
            [0x65, MARK, ..] => true,
            [0x41, MARK, ..] => false,
            _ => return None,
        };
        let number = slice.get(2..2 + NUMBER_BYTES)?;
        Some(Self {
            key,
            number: number
                .iter()
                .fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f)),
            config: slice.get(2 + NUMBER_BYTES)? & 0x7f,
        })
    }
}

/// The AVCDecoderConfigurationRecord that must come before pictures of `config`.
pub(super) fn record(config: u8) -> Bytes {
    let sps = Bytes::from_static(SPS[usize::from(config)]);
    let sets = ParameterSets::new(&sps, &[Bytes::from_static(PPS)]).unwrap();
    sets.record().clone()
}
