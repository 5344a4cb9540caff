//! Who publishes what over which socket: the rules of signalling, without sockets, shards or clock.
//!
//! [`message`] reads and writes the JSON texts of the browser SDK of Ant Media Server. [`Hub`] decides;
//! time, tokens and the shards' reports come in as arguments, and what shall happen goes out as
//! [`Effect`]s. Its rules are in one file for each concern: [`claims`], [`offers`],
//! [`further_offers`], [`questions`], [`reports`], [`deadlines`], [`eviction`], [`viewing`].

mod claims;
mod client;
mod deadlines;
mod effect;
mod encoders;
mod eviction;
mod further_offers;
mod hub;
pub(crate) mod message;
mod offer_queue;
mod offers;
mod questions;
mod renegotiation;
mod reports;
mod server_message;
mod session;
mod viewing;

#[cfg(test)]
mod claims_tests;
#[cfg(test)]
mod further_offers_tests;
#[cfg(test)]
mod hub_tests;
#[cfg(test)]
mod offer_queue_tests;
#[cfg(test)]
mod questions_tests;

pub(crate) use client::{Client, ClientKey, LastMedia, PublishRequest, SocketId};
pub(crate) use effect::Effect;
pub(crate) use eviction::Eviction;
pub(crate) use hub::Hub;
pub(crate) use reports::NO_MEDIA_OFFERED;
pub(crate) use viewing::{ViewRequest, Wish};
