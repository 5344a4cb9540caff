//! WebRTC peers, each a str0m session with what Shardcast adds to it.

pub(crate) mod audio_receiver;
pub(crate) mod demux;
mod layers;
pub(crate) mod negotiation;
pub(crate) mod offer;
pub(crate) mod publisher;
mod rtc_timer;
mod source;
mod superframe;
mod totals;
pub(crate) mod viewer;
pub(crate) mod viewer_negotiation;

use std::{net::SocketAddr, sync::Arc};

use str0m::config::{CryptoProvider, DtlsCert};

/// What all peers of a shard share.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) crypto: Arc<CryptoProvider>,
    /// One certificate for all: making one costs more than a handshake.
    pub(crate) certificate: Option<DtlsCert>,
    /// Addresses that go into SDP answers.
    pub(crate) candidates: Vec<SocketAddr>,
}

impl Identity {
    pub(crate) fn new(candidates: Vec<SocketAddr>) -> Self {
        let crypto = str0m::crypto::from_feature_flags();
        let certificate = crypto.dtls_provider.generate_certificate();
        Self {
            crypto: Arc::new(crypto),
            certificate,
            candidates,
        }
    }
}
