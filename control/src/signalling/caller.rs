//! Who is at the other end of a request that asks to publish.

use std::net::IpAddr;

use axum::http::{Extensions, HeaderMap};
use tokio::sync::mpsc;

use crate::{
    access::{self, Peer},
    forwarded,
    publishing::{self, SocketId},
    state::{Control, Outgoing},
};

/// The sender of a signalling request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    /// The other end of the connection: a proxy, where there is one.
    peer: IpAddr,
    pub(super) client: publishing::Client,
    /// Whether its address is one that the application takes publishers from.
    pub(super) from_allowed_address: bool,
}

impl Caller {
    pub(super) fn of(
        control: &Control,
        application: &str,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Self {
        let peer = extensions.get::<Peer>();
        let peer = peer.map_or(IpAddr::from([0, 0, 0, 0]), |peer| {
            peer.0.ip().to_canonical()
        });
        Self::with_headers(control, application, headers, peer)
    }

    /// The sender of what has no headers: an encoder.
    pub(super) fn of_peer(control: &Control, application: &str, peer: IpAddr) -> Self {
        Self::with_headers(control, application, &HeaderMap::new(), peer)
    }

    fn with_headers(
        control: &Control,
        application: &str,
        headers: &HeaderMap,
        peer: IpAddr,
    ) -> Self {
        let allowed = control
            .application(application)
            .and_then(|application| application.allowed_publisher_cidr.as_ref());
        let may_use_rest = &control.settings.remote_allowed_cidr;
        let (address, is_trusted) = forwarded::client(peer, headers, may_use_rest);
        Self {
            peer,
            client: publishing::Client {
                address,
                is_trusted,
            },
            from_allowed_address: access::may_publish(allowed, peer, headers),
        }
    }

    /// A place among the open sockets; `None` when there are too many.
    pub(super) fn open(&self, control: &Control) -> Option<(SocketId, mpsc::Receiver<Outgoing>)> {
        let may_use_rest = &control.settings.remote_allowed_cidr;
        let is_trusted = forwarded::is_trusted(self.peer, may_use_rest);
        control.sockets.open(self.peer, is_trusted)
    }
}
