//! Proves: bodies of FLV tags are byte for byte what the specification and other encoders have.

use shardcast_core::rtmp::amf::{Value, decode};
use shardcast_core::rtmp::flv::{
    AAC_RAW_HEADER, AudioMetadata, Metadata, aac_sequence_header, avc_header, avc_sequence_header,
};

#[test]
fn video_headers_tell_key_and_composition_time() {
    assert_eq!(avc_header(true, 0), [0x17, 1, 0, 0, 0]);
    assert_eq!(avc_header(false, 33), [0x27, 1, 0, 0, 33]);
    assert_eq!(avc_header(false, -1), [0x27, 1, 0xFF, 0xFF, 0xFF]);
    assert_eq!(avc_header(false, i32::MAX), [0x27, 1, 0x7F, 0xFF, 0xFF]);
    assert_eq!(avc_header(false, i32::MIN), [0x27, 1, 0x80, 0, 0]);
}

#[test]
fn sequence_headers_and_frames_carry_their_data() {
    assert_eq!(avc_sequence_header(&[1, 66])[..], [0x17, 0, 0, 0, 0, 1, 66]);
    assert_eq!(
        aac_sequence_header(&[0x11, 0x90])[..],
        [0xAF, 0, 0x11, 0x90]
    );
    assert_eq!(AAC_RAW_HEADER, [0xAF, 1]);
}

#[test]
fn metadata_tells_size_rates_and_codecs() {
    let metadata = Metadata {
        width: 1280,
        height: 720,
        frame_rate: 29.97,
        video_kbps: 2_500,
        audio: AudioMetadata::Aac {
            kbps: 128,
            sample_rate: 48_000,
            channels: 2,
        },
    };
    let values = decode(&metadata.set_data_frame()).unwrap();
    assert_eq!(values[..2], ["@setDataFrame".into(), "onMetaData".into()]);
    for (key, value) in [
        ("width", Value::Number(1280.0)),
        ("height", Value::Number(720.0)),
        ("videocodecid", Value::Number(7.0)),
        ("framerate", Value::Number(29.97)),
        ("videodatarate", Value::Number(2_500.0)),
        ("audiocodecid", Value::Number(10.0)),
        ("audiodatarate", Value::Number(128.0)),
        ("audiosamplerate", Value::Number(48_000.0)),
        ("audiosamplesize", Value::Number(16.0)),
        ("stereo", Value::Boolean(true)),
    ] {
        assert_eq!(values[2].get(key), Some(&value), "{key}");
    }
    assert!(
        values[2]
            .get("encoder")
            .unwrap()
            .as_str()
            .unwrap()
            .starts_with("Shardcast/")
    );
    assert_eq!(
        metadata.set_data_frame(),
        metadata.set_data_frame(),
        "the same bytes each time"
    );
}
