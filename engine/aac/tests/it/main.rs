//! The encoder against libavcodec's decoder: what comes out, when, at which size.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test"
)]

mod bit_rate;
mod channels;
mod coded;
mod decodes_cleanly;
mod delay;
mod fidelity;
mod mono_and_stereo;
mod pre_echo;
mod signals;
