//! What enhanced RTMP adds for Opus: how peers tell in `connect` that they take it, and its tags.
//!
//! Follows "Enhanced RTMP (V2)" of the Veovera Software Organization; clauses are named by their titles.

use bytes::{BufMut, Bytes};

use super::amf::Value;

/// The codec by its four characters ("Defining FourCC values").
const OPUS: &str = "Opus";
/// Stands for every codec in a map of capabilities ("Enhancing NetConnection connect Command").
const ANY: &str = "*";
/// The property of `connect` and of its answer that maps codecs to capabilities.
const AUDIO_MAP: &str = "audioFourCcInfoMap";
/// The property of `connect` that tells of other extensions.
const CAPS_EX: &str = "capsEx";

/// FourCcInfoMask: the peer can decode the codec.
const CAN_DECODE: u32 = 1;
/// FourCcInfoMask: the peer can pass the codec on as it is.
const CAN_FORWARD: u32 = 4;

/// SoundFormat 9 (ExHeader) with AudioPacketType 0 (SequenceStart) and 1 (CodedFrames), before the codec
/// ("ExAudioTagHeader").
const SEQUENCE_START: u8 = 0x90;
const CODED_FRAMES: u8 = 0x91;

/// `audiocodecid` of `onMetaData`: the codec as a number ("Enhanced onMetaData").
pub const OPUS_CODEC_ID: u32 = u32::from_be_bytes(*b"Opus");

/// The five bytes before an Opus packet.
pub const OPUS_HEADER: [u8; 5] = [CODED_FRAMES, b'O', b'p', b'u', b's'];

/// Samples that a decoder throws away at the begin of a stream, at 48 kHz: what libopus looks ahead.
const PRE_SKIP: u16 = 312;
const OPUS_HEAD_BYTES: usize = 19;

/// The tag that tells the decoder what Opus it is: an identification header (RFC 7845, 5.1) of 48 kHz in
/// stereo. Mono packets need no other, since each packet says how many channels it has.
pub fn opus_sequence_header() -> Bytes {
    let mut body = Vec::with_capacity(OPUS_HEADER.len() + OPUS_HEAD_BYTES);
    body.put_u8(SEQUENCE_START);
    body.put_slice(OPUS.as_bytes());
    body.put_slice(b"OpusHead");
    body.put_u8(1); // Version.
    body.put_u8(2); // Channels.
    body.put_u16_le(PRE_SKIP);
    body.put_u32_le(48_000); // Of what was encoded; decoders take no notice.
    body.put_i16_le(0); // Gain.
    body.put_u8(0); // Mapping family 0: mono or stereo.
    Bytes::from(body)
}

/// What `connect` says of a client that can send Opus as it came: properties for its command object.
///
/// The list of version 1, `fourCcList`, is left out. Version 2 takes the maps instead, a server that takes
/// Opus knows it, and servers are known that stumble over the list (MediaMTX issue 3188).
pub fn connect_properties() -> [(String, Value); 2] {
    properties(CAN_FORWARD)
}

/// What the answer to `connect` says of a server that takes Opus: properties for its information object.
pub fn answer_properties() -> [(String, Value); 2] {
    properties(CAN_DECODE | CAN_FORWARD)
}

/// `capsEx` is 0: none of its extensions is spoken.
fn properties(opus: u32) -> [(String, Value); 2] {
    [
        (AUDIO_MAP.to_owned(), Value::object([(OPUS, opus.into())])),
        (CAPS_EX.to_owned(), 0_u32.into()),
    ]
}

/// Whether the answer to `connect` says that the server decodes Opus or passes it on. The map may stand in
/// any object of the answer.
pub fn takes_opus(answer: &[Value]) -> bool {
    let maps = answer.iter().filter_map(|info| info.get(AUDIO_MAP));
    maps.flat_map(|map| [map.get(OPUS), map.get(ANY)])
        .flatten()
        .filter_map(Value::as_number)
        .any(|flags| flags as u32 & (CAN_DECODE | CAN_FORWARD) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_header_is_an_opus_head() {
        let header = opus_sequence_header();
        assert_eq!(&header[..5], b"\x90Opus");
        assert_eq!(
            &header[5..],
            b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00"
        );
        assert_eq!(OPUS_CODEC_ID, 1_332_770_163);
    }

    #[test]
    fn a_server_takes_opus_if_its_map_says_so() {
        let answer = |map: Value| {
            let server = Value::object([("fmsVer", "FMS/3".into())]);
            let info = Value::object([(AUDIO_MAP, map), ("level", "status".into())]);
            [server, info]
        };
        let of = |codec: &str, flags: u32| Value::object([(codec, flags.into())]);
        for (map, takes) in [
            (of("Opus", 1), true),
            (of("Opus", 4), true),
            (of("Opus", 7), true),
            (of("*", 4), true),
            (Value::ecma_array([("Opus", 1_u32.into())]), true),
            (of("Opus", 2), false), // It can encode it, and no more.
            (of("Opus", 0), false),
            (of("Opus", 8), false),
            (of("opus", 7), false),
            (of("mp4a", 7), false),
            (Value::object([("Opus", "7".into())]), false),
            (Value::object([("Opus", f64::NAN.into())]), false),
            (Value::object([("Opus", (-1.0).into())]), false),
            (Value::Null, false),
            ("Opus".into(), false),
        ] {
            assert_eq!(takes_opus(&answer(map.clone())), takes, "{map:?}");
        }
        assert!(!takes_opus(&[]));
        assert!(!takes_opus(&[Value::Null, Value::object([])]));
    }
}
