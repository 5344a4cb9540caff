//! What `onMetaData` says of the stream that a destination is sent.

use bytes::Bytes;

use crate::{
    broadcast::ring::MediaFacts,
    codec::{AudioCodec, aac::AacConfig, h264::ParameterSets},
    rtmp::{enhanced, flv},
};

/// The frame rate in metadata while neither the SPS nor a measurement tells it.
const FRAME_RATE_GUESS: f64 = 30.0;

/// What a server was told of the audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SentAudio {
    Aac(AacConfig),
    Opus,
}

impl SentAudio {
    pub(super) fn sequence_header(self) -> Bytes {
        match self {
            Self::Aac(config) => flv::aac_sequence_header(config.specific_config()),
            Self::Opus => enhanced::opus_sequence_header(),
        }
    }
}

/// What is said of the audio.
pub(super) fn described(audio: AudioCodec, facts: MediaFacts) -> flv::AudioMetadata {
    match audio {
        AudioCodec::Aac => {
            let config = facts.aac.unwrap_or(AacConfig::OURS);
            flv::AudioMetadata::Aac {
                kbps: facts.audio_bps / 1_000,
                sample_rate: config.sample_rate,
                channels: config.channels,
            }
        }
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
