//! Everything around a shard, simulated: publishers, networks, codecs and RTMP servers, in one thread and
//! in simulated time. For tests and benches alone; the engine contains none of it.
//!
//! # Two kinds of shows
//!
//! | front end | publishers | who decides what happens |
//! |---|---|---|
//! | [`seeded`] | hand access units to the broadcast, above str0m; encoders (RTMP) | one number, the seed |
//! | [`peers`] | real WebRTC clients (str0m); encoders (RTMP) | the test |
//!
//! Viewers are real WebRTC clients (`viewer_client`) in both.
//!
//! Both stand on the same parts: [`picture`] (numbered pictures, as small as H.264 can be), [`codecs`]
//! (fake transcoders that check what they are told), [`rtmp_server`] (a real RTMP session with a fault
//! mode), `tcp` (a line with a pace, a delay and a socket buffer), [`udp`] (a network that loses and
//! delays), and `agenda` (events in the order of time).
//!
//! # Replaying a seed
//!
//! `cargo test -p shardcast-sim` runs 10,000 seeds on all cores. A run that breaks a promise is printed
//! with its seed and its last lines. `make replay SEED=n` runs that seed alone and prints all of them.
//! A seed gives the same run each time: chance comes from `random` alone, time from the agenda.
//!
//! # Adding an event
//!
//! 1. Give it a variant of `ScheduledEvent` (by the operator or the publisher) in `seeded/plan.rs`, or
//!    of [`rtmp_server::FaultMode`] (by a server), and let the generator there draw it. What viewers do is in
//!    `seeded/viewer_plan.rs`.
//! 2. Carry it out in `seeded/schedule.rs`, in `RtmpServer` and `seeded/network.rs`, or in `seeded/viewers.rs`.
//! 3. Count it with `tally.count("…")` and name it in [`seeded::MET`]: the test fails if 10,000 runs do
//!    not contain it often enough.
//! 4. State what it promises: in `expected_state` (when a destination tries, fails, is live again) or in
//!    `stream_checker` (what its server receives). Break the promise in the core once and see that a
//!    seed finds it.
//!
//! What only the inside of a shard can tell comes from `shardcast_core::simulation_hook`, which the
//! cargo feature `simulation` of the core opens. `make lint` sees to it that the engine is built without.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test harness: a failure shall stop the test"
)]

mod agenda;
mod b_frames;
pub mod bottleneck;
pub mod codecs;
mod hostile_feedback;
pub mod peers;
pub mod picture;
mod random;
mod recording_file;
mod rtmp_encoder;
mod rtmp_player;
pub mod rtmp_server;
pub mod seeded;
mod tcp;
pub mod udp;
mod viewer_client;
