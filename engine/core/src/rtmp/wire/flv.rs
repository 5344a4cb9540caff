//! Bodies of FLV tags, which are the payloads of RTMP media messages.
//!
//! Follows "Adobe Flash Video File Format Specification Version 10.1", annex E.4.

use bytes::{BufMut, Bytes};

use super::amf::{self, Value};

/// Bytes before the length-prefixed NAL units of an AVC tag.
pub const AVC_HEADER_BYTES: usize = 5;

/// FrameType 1 (keyframe), CodecID 7 (AVC).
const AVC_KEY: u8 = 0x17;
/// FrameType 2 (inter frame), CodecID 7 (AVC).
const AVC_INTER: u8 = 0x27;
/// SoundFormat 10 (AAC), and the rate, size and type that E.4.2.1 fixes for AAC whatever the
/// stream really has: 44 kHz, 16 bit, stereo.
const AAC: u8 = 0xAF;

/// Largest and smallest composition time that 24 signed bits hold, in milliseconds.
const CTS_MS_MAX: i32 = 0x7F_FFFF;

/// The five bytes before the NAL units of a picture. `cts_ms` is presentation minus decoding time,
/// held to what 24 bits can say.
pub fn avc_header(key: bool, cts_ms: i32) -> [u8; AVC_HEADER_BYTES] {
    let [_, a, b, c] = cts_ms.clamp(-CTS_MS_MAX - 1, CTS_MS_MAX).to_be_bytes();
    [if key { AVC_KEY } else { AVC_INTER }, 1, a, b, c]
}

/// The tag that tells the decoder its parameter sets; `record` is an
/// AVCDecoderConfigurationRecord ([`crate::codec::h264::ParameterSets::record`]).
pub fn avc_sequence_header(record: &[u8]) -> Bytes {
    let mut body = Vec::with_capacity(AVC_HEADER_BYTES + record.len());
    body.put_slice(&[AVC_KEY, 0, 0, 0, 0]);
    body.put_slice(record);
    Bytes::from(body)
}

/// The tag that tells the decoder its AudioSpecificConfig (ISO/IEC 14496-3 1.6.2.1), which is
/// `11 90` for AAC-LC at 48 kHz in stereo.
pub fn aac_sequence_header(audio_specific_config: &[u8]) -> Bytes {
    let mut body = Vec::with_capacity(2 + audio_specific_config.len());
    body.put_slice(&[AAC, 0]);
    body.put_slice(audio_specific_config);
    Bytes::from(body)
}

/// The two bytes before a raw AAC frame (E.4.2.2).
pub const AAC_RAW_HEADER: [u8; 2] = [AAC, 1];

/// What `onMetaData` says about the stream: H.264 with AAC in stereo at 48 kHz.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metadata {
    /// Pixels after cropping.
    pub width: u32,
    /// Pixels after cropping.
    pub height: u32,
    /// Frames a second.
    pub frame_rate: f64,
    /// Video bit rate in kbit/s; 0 when not known yet.
    pub video_kbps: u32,
    /// Audio bit rate in kbit/s.
    pub audio_kbps: u32,
}

/// What `onMetaData` says of a stream without pictures: AAC in stereo at 48 kHz.
pub fn audio_data_frame(audio_kbps: u32) -> Bytes {
    let encoder = concat!("Shardcast/", env!("CARGO_PKG_VERSION"));
    Bytes::from(amf::encode(&[
        "@setDataFrame".into(),
        "onMetaData".into(),
        Value::ecma_array([
            ("duration", 0_u32.into()),
            ("audiocodecid", 10_u32.into()),
            ("audiodatarate", audio_kbps.into()),
            ("audiosamplerate", 48_000_u32.into()),
            ("audiosamplesize", 16_u32.into()),
            ("audiochannels", 2_u32.into()),
            ("stereo", true.into()),
            ("encoder", encoder.into()),
        ]),
    ]))
}

impl Metadata {
    /// The payload of a data message: `@setDataFrame`, `onMetaData` and the list. Some ingests
    /// decide on this message alone whether they take the stream, so names and order are OBS's.
    pub fn set_data_frame(&self) -> Bytes {
        let encoder = concat!("Shardcast/", env!("CARGO_PKG_VERSION"));
        Bytes::from(amf::encode(&[
            "@setDataFrame".into(),
            "onMetaData".into(),
            Value::ecma_array([
                ("duration", 0_u32.into()),
                ("width", self.width.into()),
                ("height", self.height.into()),
                ("videocodecid", 7_u32.into()),
                ("videodatarate", self.video_kbps.into()),
                ("framerate", self.frame_rate.into()),
                ("audiocodecid", 10_u32.into()),
                ("audiodatarate", self.audio_kbps.into()),
                ("audiosamplerate", 48_000_u32.into()),
                ("audiosamplesize", 16_u32.into()),
                ("audiochannels", 2_u32.into()),
                ("stereo", true.into()),
                ("encoder", encoder.into()),
            ]),
        ]))
    }
}
