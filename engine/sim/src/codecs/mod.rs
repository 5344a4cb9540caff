//! The one set of fake codecs. They make units as small as can be, on the grid and with the keyframes
//! of the real ones, and check what they are told: a decoder is only given what it can follow.

mod audio;
mod rendition;
mod video;

pub use self::audio::aac_frame_number;
pub(crate) use self::audio::{FakeAudioTranscoders, kbps_of};
pub use self::video::FakeVideoTranscoder;
pub(crate) use self::video::Trouble;
