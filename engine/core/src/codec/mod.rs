//! What is known of codecs: bitstreams are read and written here, and nothing is said of who sends or
//! takes them.

pub mod aac;
pub(crate) mod frame_size;
pub mod h264;
pub(crate) mod keyframe;
pub mod opus;

pub use keyframe::is_keyframe;

/// What a consumer takes audio in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AudioCodec {
    /// AAC-LC at 48 kHz in stereo, coded here.
    Aac,
    /// The publisher's own packets.
    Opus,
}

impl AudioCodec {
    /// As a status has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Aac => "aac",
            Self::Opus => "opus",
        }
    }
}
