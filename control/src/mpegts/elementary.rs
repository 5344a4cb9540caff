//! Access units and audio frames as MPEG-TS has them: H.264 behind start codes (ITU-T H.264, annex B), AAC behind ADTS heads
//! (ISO/IEC 14496-3, 1.A.2.2).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use shardcast_cmaf::{Codec, Track};

const START_CODE: [u8; 4] = [0, 0, 0, 1];
/// An access unit delimiter that says nothing of the slices (7.3.2.4).
const DELIMITER: [u8; 2] = [9, 0xF0];
const NAL_SPS: u8 = 7;
const NAL_DELIMITER: u8 = 9;

/// The parameter sets of a track.
#[derive(Debug, Default)]
pub(super) struct ParameterSets(Vec<Bytes>);

impl ParameterSets {
    pub(super) fn of(track: &Track) -> Self {
        match &track.codec {
            Codec::Avc { record, .. } => Self(sets(record.clone()).unwrap_or_default()),
            Codec::Aac { .. } => Self::default(),
        }
    }
}

/// Those in an AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3.1).
fn sets(mut record: Bytes) -> Option<Vec<Bytes>> {
    let mut sets = Vec::new();
    if record.len() < 6 {
        return None;
    }
    record.advance(5);
    for mask in [0x1F, 0xFF] {
        for _ in 0..record.try_get_u8().ok()? & mask {
            let len = usize::from(record.try_get_u16().ok()?);
            let fits = len <= record.len();
            sets.push(fits.then(|| record.split_to(len))?);
        }
    }
    Some(sets)
}

/// An access unit whose NAL units are behind lengths of four bytes; with the parameter sets where it is a keyframe that
/// does not bring some.
pub(super) fn put_access_unit(
    out: &mut BytesMut,
    payload: &[u8],
    parameter_sets: Option<&ParameterSets>,
) {
    let mut put = |nal: &[u8]| {
        out.put_slice(&START_CODE);
        out.put_slice(nal);
    };
    put(&DELIMITER);
    let kind = |nal: &[u8]| nal.first().map(|head| head & 0x1F);
    let brings_sets = || nals(payload).any(|nal| kind(nal) == Some(NAL_SPS));
    if let Some(ParameterSets(sets)) = parameter_sets.filter(|_| !brings_sets()) {
        sets.iter().for_each(|set| put(set));
    }
    let units = nals(payload).filter(|nal| kind(nal) != Some(NAL_DELIMITER));
    units.for_each(put);
}

/// NAL units behind lengths; what is cut off is left out.
fn nals(mut payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let len = usize::try_from(payload.try_get_u32().ok()?).ok()?;
        let (nal, rest) = payload.split_at_checked(len)?;
        payload = rest;
        Some(nal)
    })
    .filter(|nal| !nal.is_empty())
}

/// The head of each audio frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Adts {
    /// Index of the sample rate (14496-3, table 1.18).
    rate: u8,
    channels: u8,
}

impl Adts {
    /// Of a track of AAC; `None` for what ADTS cannot say.
    pub(super) fn of(track: &Track) -> Option<Self> {
        let Codec::Aac { config, .. } = &track.codec else {
            return None;
        };
        // The type in five bits, the rate and the channels in four each (14496-3, 1.6.2.1).
        let [first, second, ..] = config[..] else {
            return None;
        };
        let rate = (first & 0x07) << 1 | second >> 7;
        let channels = second >> 3 & 0x0F;
        // AAC-LC, or what is built on it and begins so; no rate in words, no channels in words.
        (matches!(first >> 3, 2 | 5 | 29) && rate < 13 && (1..=7).contains(&channels))
            .then_some(Self { rate, channels })
    }

    /// A frame with its head of seven bytes.
    pub(super) fn put_frame(self, out: &mut BytesMut, payload: &[u8]) {
        // 13 bits; no frame of AAC-LC with two channels has more than 1,536 bytes.
        let len = u64::try_from(payload.len() + 7).unwrap_or(0) & 0x1FFF;
        // Syncword, MPEG-4, no CRC; AAC-LC; one frame, buffer fullness that is not said.
        let head = 0xFFF1 << 40
            | 1 << 38
            | u64::from(self.rate) << 34
            | u64::from(self.channels) << 30
            | len << 13
            | 0x7FF << 2;
        let [_, a, b, c, d, e, f, g] = head.to_be_bytes();
        out.put_slice(&[a, b, c, d, e, f, g]);
        out.put_slice(payload);
    }
}
