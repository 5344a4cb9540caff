//! The two ways in which a client offers its media: the signalling WebSocket of the browser SDK of Ant
//! Media Server, and WHIP.
//!
//! [`socket`] moves the frames, [`commands`] carries out what a client says; [`whip`] says the same for
//! each of its HTTP requests. The rules are in [`crate::publishing`].

mod caller;
mod commands;
mod metered;
mod pending;
pub(crate) mod socket;
pub(crate) mod whip;
