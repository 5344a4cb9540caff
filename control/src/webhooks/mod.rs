//! Calls an application's backend by HTTP when something happens to its streams, with the bodies of Ant
//! Media Server.
//!
//! A call that is owed is put into the store with the change that it reports ([`owe`]); the
//! [`delivery`] makes the calls of one stream one after the other and those of different streams
//! side by side, again and again until one is taken or given up. [`failures`] sees destinations
//! that were given up, [`statuses`] makes the periodic report. [`data_messages`] posts what clients
//! send over data channels, to an address of its own.
//!
//! The address is the stream's `listenerHookURL`, or else the application's. `endpointFailed`
//! holds the destination's URL whole, stream key and all, as Ant Media Server does: the backend
//! has given it to us and knows the destination by it. No log line has it.

pub(crate) mod authenticate;
pub(crate) mod data_messages;
pub(crate) mod delivery;
mod failures;
mod owed;
mod rounds;
pub(crate) mod statuses;

pub(crate) use data_messages::data_message;
pub(crate) use failures::destinations_reported;
pub(crate) use owed::{owe, owe_soon};
