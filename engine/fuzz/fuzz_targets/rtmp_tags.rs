//! Any bytes as an FLV tag of video or audio, enhanced RTMP included: what is taken is a slice of the message that
//! says the same when it is written again, and what is not is refused in words for who has set the encoder up.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use shardcast_core::{h264::DecoderRecord, io::AacConfig};
use shardcast_rtmp::{
    flv,
    tag::{AudioTag, TagError, VideoTag},
};

fn assert_within(body: &Bytes, payload: &Bytes) {
    let (inner, outer) = (body.as_ptr_range(), payload.as_ptr_range());
    assert!(body.is_empty() || (outer.start <= inner.start && inner.end <= outer.end));
}

fn assert_says_why(error: &TagError) {
    assert!(error.to_string().starts_with("the encoder sends"));
}

fuzz_target!(|data: &[u8]| {
    let payload = Bytes::copy_from_slice(data);
    match VideoTag::read(&payload) {
        Ok(VideoTag::Picture {
            key,
            composition_ms,
            avcc,
        }) => {
            assert_within(&avcc, &payload);
            assert!(!avcc.is_empty());
            let written = [&flv::avc_header(key, composition_ms)[..], &avcc].concat();
            let again = VideoTag::read(&Bytes::from(written)).unwrap();
            let same = VideoTag::Picture {
                key,
                composition_ms,
                avcc,
            };
            assert_eq!(again, same);
        }
        Ok(VideoTag::SequenceHeader(record)) => {
            assert_within(&record, &payload);
            let _ = DecoderRecord::read(&record);
            let again = VideoTag::read(&flv::avc_sequence_header(&record));
            assert_eq!(again, Ok(VideoTag::SequenceHeader(record)));
        }
        Ok(VideoTag::Nothing) => {}
        Err(error) => assert_says_why(&error),
    }
    match AudioTag::read(&payload) {
        Ok(AudioTag::Frame(frame)) => {
            assert_within(&frame, &payload);
            assert!(!frame.is_empty());
        }
        Ok(AudioTag::SequenceHeader(config)) => {
            assert_within(&config, &payload);
            if let Ok(read) = AacConfig::read(&config) {
                assert_eq!(read.specific_config(), &config[..]);
                assert!(matches!(read.sample_rate, 44_100 | 48_000));
            }
        }
        Ok(AudioTag::Nothing) => {}
        Err(error) => assert_says_why(&error),
    }
});
