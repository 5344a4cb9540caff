//! The three ways in which a client offers its media: the signalling WebSocket of the browser SDK of Ant
//! Media Server, WHIP, and RTMP.
//!
//! [`socket`] moves the frames, [`commands`] carries out what a client says; [`whip`] says the same for
//! each of its HTTP requests, and [`rtmp`] for each encoder. The rules are in [`crate::publishing`].

mod caller;
mod commands;
mod metered;
mod pending;
pub(crate) mod rtmp;
pub(crate) mod socket;
pub(crate) mod whip;
