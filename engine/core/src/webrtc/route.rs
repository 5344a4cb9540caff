//! How a datagram came.

use std::net::SocketAddr;

use str0m::net::{Protocol, Receive};

/// Over what a datagram came, and between which addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// UDP, or TCP in frames.
    pub(crate) protocol: Protocol,
    /// The peer's address.
    pub(crate) from: SocketAddr,
    /// The candidate of the shard that it came to.
    pub(crate) to: SocketAddr,
}

impl Route {
    /// The datagram for str0m; `None` if it is not STUN, DTLS or RTP: nothing that a peer of ours sends.
    pub(crate) fn receive<'a>(&self, payload: &'a [u8]) -> Option<Receive<'a>> {
        Receive::new(self.protocol, self.from, self.to, payload).ok()
    }
}
