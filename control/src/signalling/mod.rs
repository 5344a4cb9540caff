//! WebRTC signalling as the browser SDK of Ant Media Server speaks it.
//!
//! [`message`] reads and writes the JSON texts, [`Hub`] decides (pure: time, tokens and the
//! shards' reports come in as arguments, effects go out), [`socket`] moves the frames.

pub(crate) mod admission;
mod claims;
mod deadlines;
mod eviction;
mod hub;
pub(crate) mod message;
mod metered;
mod pending;
mod renegotiation;
mod reports;
mod session;
pub(crate) mod socket;
mod turns;

#[cfg(test)]
mod claims_tests;
#[cfg(test)]
mod hub_tests;
#[cfg(test)]
mod turns_tests;

pub(crate) use eviction::Eviction;
pub(crate) use hub::{Client, Effect, Hub, LastMedia, PublishRequest, SocketId};
pub(crate) use pending::Verdict;
pub(crate) use reports::NO_MEDIA_OFFERED;
