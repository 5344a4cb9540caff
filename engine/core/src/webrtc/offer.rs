//! What an offer is answered with, and what it says of the client's media.

use std::time::Duration;

use shardcast_link::VideoCodec;
use str0m::{IceCreds, RtcConfig, format::Codec};

use super::Identity;

/// Which media the offer would send us.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Offers {
    pub(crate) video: bool,
    pub(crate) audio: bool,
}

/// The answer names codecs in this order, and browsers send the first that they can.
pub(super) fn configuration(
    identity: &Identity,
    ufrag: String,
    codecs: &[VideoCodec],
) -> RtcConfig {
    let creds = IceCreds {
        ufrag,
        pass: IceCreds::new().pass,
    };
    let mut config = RtcConfig::new()
        .set_crypto_provider(identity.crypto.clone())
        .set_ice_lite(true)
        .set_local_ice_credentials(creds)
        .clear_codecs()
        .enable_opus(true, false)
        .set_stats_interval(Some(Duration::from_secs(1)));
    let codecs = if codecs.is_empty() {
        &[VideoCodec::H264]
    } else {
        codecs
    };
    for codec in codecs {
        config = match codec {
            VideoCodec::H264 => config.enable_h264(true),
            VideoCodec::Vp8 => config.enable_vp8(true),
            VideoCodec::Vp9 => config.enable_vp9(true),
            VideoCodec::Av1 => config.enable_av1(true),
        };
    }
    if let Some(certificate) = &identity.certificate {
        config = config.set_dtls_cert(certificate.clone());
    }
    config
}

pub(super) fn video_codec(codec: Codec) -> Option<VideoCodec> {
    match codec {
        Codec::H264 => Some(VideoCodec::H264),
        Codec::Vp8 => Some(VideoCodec::Vp8),
        Codec::Vp9 => Some(VideoCodec::Vp9),
        Codec::Av1 => Some(VideoCodec::Av1),
        _ => None,
    }
}

/// Reads from the offer what the client would send, before any of it arrives.
pub(super) fn offered(sdp: &str) -> Offers {
    let mut offers = Offers::default();
    for section in sdp.split("\nm=").skip(1) {
        let sends = !section.contains("\na=recvonly") && !section.contains("\na=inactive");
        if sends && section.starts_with("video") {
            offers.video = true;
        } else if sends && section.starts_with("audio") {
            offers.audio = true;
        }
    }
    offers
}
