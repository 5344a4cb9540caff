//! Bodies of FLV tags, which are the payloads of RTMP media messages.
//!
//! Follows "Adobe Flash Video File Format Specification Version 10.1", annex E.4.

use bytes::{BufMut, Bytes};

use super::amf::{self, Value};
use super::enhanced;

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
/// AVCDecoderConfigurationRecord (`ParameterSets::record` of the shard).
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

/// What `onMetaData` says about the stream: H.264 with audio.
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
    /// The audio.
    pub audio: AudioMetadata,
}

/// What `onMetaData` says about audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioMetadata {
    /// AAC.
    Aac {
        /// Bit rate in kbit/s.
        kbps: u32,
        /// Samples a second.
        sample_rate: u32,
        /// 1 or 2.
        channels: u32,
    },
    /// The publisher's own Opus, in stereo at 48 kHz, whose bit rate may change at any time and is not told.
    Opus,
}

impl AudioMetadata {
    /// Properties in OBS's order.
    fn properties(self) -> Vec<(String, Value)> {
        let (codec_id, kbps, sample_rate, channels) = match self {
            Self::Aac {
                kbps,
                sample_rate,
                channels,
            } => (10, Some(kbps), sample_rate, channels),
            Self::Opus => (enhanced::OPUS_CODEC_ID, None, 48_000, 2),
        };
        let rate = kbps.map(|kbps| ("audiodatarate", kbps.into()));
        let codec = [("audiocodecid", codec_id.into())].into_iter().chain(rate);
        let others = [
            ("audiosamplerate", sample_rate.into()),
            ("audiosamplesize", 16_u32.into()),
            ("audiochannels", channels.into()),
            ("stereo", (channels == 2).into()),
            ("encoder", ENCODER.into()),
        ];
        let all = codec.chain(others);
        all.map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// What we say we are.
const ENCODER: &str = concat!("Shardcast/", env!("CARGO_PKG_VERSION"));

/// `@setDataFrame` as an AMF0 string: a marker, two bytes of length, and its letters.
const SET_DATA_FRAME_BYTES: usize = 3 + "@setDataFrame".len();

/// A data message of [`Metadata::set_data_frame`] or [`audio_data_frame`] as those are sent it that play: a server
/// stores what follows the first string, and gives that to players.
pub fn for_player(data_frame: &Bytes) -> Bytes {
    data_frame.slice(SET_DATA_FRAME_BYTES.min(data_frame.len())..)
}

/// What `onMetaData` says of a stream without pictures.
pub fn audio_data_frame(audio: AudioMetadata) -> Bytes {
    data_frame([("duration", 0_u32.into())], audio)
}

/// The payload of a data message: `@setDataFrame`, `onMetaData` and the list.
fn data_frame<const N: usize>(of_video: [(&str, Value); N], audio: AudioMetadata) -> Bytes {
    let mut properties = audio.properties();
    let of_video = of_video.map(|(name, value)| (name.to_owned(), value));
    properties.splice(..0, of_video);
    Bytes::from(amf::encode(&[
        "@setDataFrame".into(),
        "onMetaData".into(),
        Value::EcmaArray(properties),
    ]))
}

impl Metadata {
    /// The payload of a data message. Some ingests decide on this message alone whether they take the
    /// stream, so names and order are OBS's.
    pub fn set_data_frame(&self) -> Bytes {
        let of_video = [
            ("duration", 0_u32.into()),
            ("width", self.width.into()),
            ("height", self.height.into()),
            ("videocodecid", 7_u32.into()),
            ("videodatarate", self.video_kbps.into()),
            ("framerate", self.frame_rate.into()),
        ];
        data_frame(of_video, self.audio)
    }
}
