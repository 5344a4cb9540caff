//! Audio of a broadcast: gaps in what the publisher sends are filled ([`gap_filler`]), and Opus becomes
//! AAC of each bit rate that somebody takes ([`transcoders`]), or is handed on as it is
//! ([`opus_track`]). Both are written with pictures ([`picture_wait`]). An encoder's AAC is passed on
//! ([`aac_track`]), and becomes Opus for viewers ([`opus_from_aac`]).

pub(crate) mod aac_track;
mod feed;
pub(crate) mod gap_filler;
#[cfg(test)]
mod microphone_tests;
mod opus_from_aac;
mod opus_track;
mod picture_wait;
mod transcoders;

pub(crate) use self::opus_from_aac::OpusFromAac;
pub(crate) use self::opus_track::OpusTrack;
pub(crate) use self::picture_wait::PictureWait;
pub(crate) use self::transcoders::AudioTranscoders;
pub(crate) use self::transcoders::{AUDIO_BPS_DEFAULT, AudioInput, PlacedInput};
