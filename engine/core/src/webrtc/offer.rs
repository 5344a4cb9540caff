//! What an offer is answered with, and what it says of the client's media.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use shardcast_link::{DATA_MESSAGE_BYTES_MAX, VideoCodec};
use str0m::{
    IceCreds, RtcConfig,
    format::{Codec, FormatParams},
    media::{Frequency, Pt},
    rtp::Extension,
};

use super::Identity;
use crate::limits::{AUDIO_REORDER_MS, AUDIO_REORDER_PACKETS_MAX};

/// The payload type of Opus where the offer has none; each offer has its own.
const OPUS_PAYLOAD_TYPE: u8 = 111;
/// Header extensions that this server acts on (RFC 8285). An answer that accepts another one makes
/// the sender rely on it: a browser that may say "turn the frame" (`urn:3gpp:video-orientation`)
/// no longer turns the frame itself, and no destination could be told.
const EXTENSIONS: [(u8, Extension); 4] = [
    (3, Extension::TransportSequenceNumber),
    (4, Extension::RtpMid),
    (10, Extension::RtpStreamId),
    (11, Extension::RepairedRtpStreamId),
];

/// What an answer accepts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    /// What video may be coded with, the best first; H.264 alone when empty.
    pub(crate) codecs: Vec<VideoCodec>,
    /// Whether Opus in stereo is asked for (`stereo=1`; RFC 7587, 6.1). Without it browsers send
    /// mono.
    pub(crate) stereo: bool,
}

/// Which media the offer would send us.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Offers {
    pub(crate) video: bool,
    pub(crate) audio: bool,
}

/// 24 characters of 6 random bits each. RFC 8445, 5.3 asks for 128 bits that nobody can guess, and
/// what str0m generates by itself comes from a generator that is not cryptographic.
fn ice_password() -> String {
    let mut random = [0; 18];
    // aws-lc-rs fails only where the machine has no randomness at all; DTLS keys fail there as well.
    if aws_lc_rs::rand::fill(&mut random).is_err() {
        tracing::error!("this machine has no source of randomness");
        return IceCreds::new().pass;
    }
    BASE64.encode(random)
}

/// What all sessions have in common: ICE-lite under a name that tells the session, and no codecs yet.
pub(super) fn common(identity: &Identity, ufrag: String) -> RtcConfig {
    let creds = IceCreds {
        ufrag,
        pass: ice_password(),
    };
    let config = RtcConfig::new()
        .set_crypto_provider(identity.crypto.clone())
        .set_ice_lite(true)
        .set_local_ice_credentials(creds)
        .clear_codecs()
        .clear_extension_map()
        .set_sctp_max_message_size(DATA_MESSAGE_BYTES_MAX as u32);
    match &identity.certificate {
        Some(certificate) => config.set_dtls_cert(certificate.clone()),
        None => config,
    }
}

/// Adds Opus. With `stereo` the other side is told that two channels are wanted.
pub(super) fn add_opus(config: &mut RtcConfig, stereo: bool) {
    config.codec_config().add_config(
        Pt::from(OPUS_PAYLOAD_TYPE),
        None,
        Codec::Opus,
        Frequency::FORTY_EIGHT_KHZ,
        Some(2),
        FormatParams {
            min_p_time: Some(10),
            use_inband_fec: Some(true),
            stereo: stereo.then_some(true),
            ..FormatParams::default()
        },
    );
}

/// The configuration of a publisher's session. The answer names codecs in the order of `terms`, and
/// browsers send the first that they can.
pub(super) fn configuration(identity: &Identity, ufrag: String, terms: &Terms) -> RtcConfig {
    let mut config = common(identity, ufrag)
        .set_reordering_size_audio(AUDIO_REORDER_PACKETS_MAX)
        .set_reordering_timeout_audio(Some(Duration::from_millis(AUDIO_REORDER_MS)))
        .set_stats_interval(Some(Duration::from_secs(1)));
    for (id, extension) in EXTENSIONS {
        config = config.set_extension(id, extension);
    }
    add_opus(&mut config, terms.stereo);
    let codecs = match terms.codecs.as_slice() {
        [] => &[VideoCodec::H264],
        codecs => codecs,
    };
    for codec in codecs {
        config = match codec {
            VideoCodec::H264 => config.enable_h264(true),
            VideoCodec::Vp8 => config.enable_vp8(true),
            VideoCodec::Vp9 => config.enable_vp9(true),
            VideoCodec::Av1 => config.enable_av1(true),
        };
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

/// The offer as one that asks nothing to be sent to the client, since this server sends no media:
/// `sendrecv` becomes `sendonly`, `recvonly` becomes `inactive`. So the answer is `recvonly` or
/// `inactive`, which both fit the offer as the client made it (RFC 3264, 6.1).
pub(super) fn sending_only(sdp: &str) -> String {
    let mut narrowed = String::with_capacity(sdp.len() + 64);
    let mut session_direction = Direction::default();
    // Of the media section that is being read, unless it has said its direction already.
    let mut unsaid: Option<Direction> = None;
    let mut is_session = true;
    for line in sdp.lines().map(str::trim_end) {
        if line.starts_with("m=") {
            close_section(&mut narrowed, unsaid.take());
            is_session = false;
            let is_media = line.starts_with("m=audio") || line.starts_with("m=video");
            unsaid = is_media.then_some(session_direction);
        }
        match Direction::of(line) {
            // At session level it is the default of all sections (RFC 8866, 6.7).
            Some(direction) if is_session => session_direction = direction,
            Some(direction) => unsaid = unsaid.map(|_| direction),
            None => push_line(&mut narrowed, line),
        }
    }
    close_section(&mut narrowed, unsaid);
    narrowed
}

fn close_section(narrowed: &mut String, direction: Option<Direction>) {
    match direction.map(|direction| direction.sends) {
        Some(true) => push_line(narrowed, "a=sendonly"),
        Some(false) => push_line(narrowed, "a=inactive"),
        None => {}
    }
}

fn push_line(narrowed: &mut String, line: &str) {
    narrowed.push_str(line);
    narrowed.push_str("\r\n");
}

/// Which way a section's media goes, seen from the client: as much of it as matters here.
#[derive(Clone, Copy, Debug)]
struct Direction {
    sends: bool,
}

impl Direction {
    /// The direction that an attribute line states, if it is one.
    fn of(line: &str) -> Option<Self> {
        let sends = match line {
            "a=sendrecv" | "a=sendonly" => true,
            "a=recvonly" | "a=inactive" => false,
            _ => return None,
        };
        Some(Self { sends })
    }
}

impl Default for Direction {
    /// `sendrecv` (RFC 8866, 6.7).
    fn default() -> Self {
        Self { sends: true }
    }
}

/// Reads from an offer of [`sending_only`] what the client would send, before any of it arrives.
pub(super) fn offered(narrowed: &str) -> Offers {
    let mut offers = Offers::default();
    for section in narrowed.split("\nm=").skip(1) {
        let sends = section.contains("\na=sendonly");
        if sends && section.starts_with("video") {
            offers.video = true;
        } else if sends && section.starts_with("audio") {
            offers.audio = true;
        }
    }
    offers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ice_passwords_are_long_enough_of_the_alphabet_that_ice_allows_and_never_the_same() {
        let passwords: Vec<String> = (0..100).map(|_| ice_password()).collect();
        for (index, password) in passwords.iter().enumerate() {
            let is_ice_char = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
            assert!(
                password.len() == 24 && password.bytes().all(is_ice_char),
                "{password}"
            );
            assert!(!passwords[..index].contains(password));
        }
    }

    fn directions(sdp: &str) -> Vec<String> {
        let narrowed = sending_only(sdp);
        let lines = narrowed.lines().filter(|line| {
            line.starts_with("m=") || line.ends_with("only") || line.ends_with("inactive")
        });
        lines.map(str::to_owned).collect()
    }

    #[test]
    fn each_section_is_left_with_the_one_direction_that_lets_the_client_send() {
        for (said, left) in [
            ("a=sendrecv\r\n", "a=sendonly"),
            ("a=sendonly\r\n", "a=sendonly"),
            ("a=recvonly\r\n", "a=inactive"),
            ("a=inactive\n", "a=inactive"),
            ("", "a=sendonly"),
        ] {
            for kind in ["audio", "video"] {
                let media = format!("m={kind} 9 UDP/TLS/RTP/SAVPF 96");
                let sdp = format!(
                    "v=0\r\ns=-\r\n{media}\r\n{said}a=mid:0\r\nm=application 9 x y\r\na=mid:1\r\n"
                );
                let expected = [media.as_str(), left, "m=application 9 x y"];
                assert_eq!(directions(&sdp), expected, "{said}");
                let offers = offered(&sending_only(&sdp));
                let sends = left == "a=sendonly";
                let wanted = (sends && kind == "video", sends && kind == "audio");
                assert_eq!((offers.video, offers.audio), wanted);
            }
        }
    }

    #[test]
    fn a_direction_of_the_session_is_that_of_sections_without_one() {
        let sdp = "v=0\r\na=recvonly\r\nm=audio 9 x 0\r\nm=video 9 x 96\r\na=sendonly\r\n";
        let expected = [
            "m=audio 9 x 0",
            "a=inactive",
            "m=video 9 x 96",
            "a=sendonly",
        ];
        assert_eq!(directions(sdp), expected);
    }
}
