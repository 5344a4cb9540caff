//! What `onMetaData` says of the stream that a destination is sent.

use bytes::Bytes;

use crate::{
    broadcast::ring::MediaFacts,
    codec::{AudioCodec, h264::ParameterSets},
    rtmp::flv,
};

/// The frame rate in metadata while neither the SPS nor a measurement tells it.
const FRAME_RATE_GUESS: f64 = 30.0;

/// What is said of the audio.
pub(super) fn described(audio: AudioCodec, facts: MediaFacts) -> flv::AudioMetadata {
    match audio {
        AudioCodec::Aac => flv::AudioMetadata::Aac {
            kbps: facts.audio_bps / 1_000,
        },
        AudioCodec::Opus => flv::AudioMetadata::Opus,
    }
}

/// The message that a server has to have before the headers of these parameter sets.
pub(super) fn metadata(config: &ParameterSets, audio: AudioCodec, facts: MediaFacts) -> Bytes {
    let measured = (facts.frames_per_second > 0).then(|| f64::from(facts.frames_per_second));
    let frame_rate = config
        .sps()
        .frame_rate
        .or(measured)
        .unwrap_or(FRAME_RATE_GUESS);
    let metadata = flv::Metadata {
        width: config.width(),
        height: config.height(),
        frame_rate,
        video_kbps: u32::try_from(facts.video_bps / 1000).unwrap_or(u32::MAX),
        audio: described(audio, facts),
    };
    metadata.set_data_frame()
}
