//! WebRTC peers, each a str0m session with what Shardcast adds to it.

pub(crate) mod audio_receiver;
pub(crate) mod data_channel;
pub(crate) mod delivery;
pub(crate) mod demux;
mod framing;
mod layers;
pub(crate) mod negotiation;
pub(crate) mod offer;
pub(crate) mod publisher;
pub(crate) mod route;
mod rtc_timer;
mod sctp_guard;
mod source;
mod superframe;
pub(crate) mod tcp_peers;
mod totals;
pub(crate) mod viewer;
pub(crate) mod viewer_negotiation;

use std::{net::SocketAddr, sync::Arc};

use str0m::config::{CryptoProvider, DtlsCert};

use self::sctp_guard::GuardedDtls;

/// What all peers of a shard share.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) crypto: Arc<CryptoProvider>,
    /// One certificate for all: making one costs more than a handshake.
    pub(crate) certificate: Option<DtlsCert>,
    /// Addresses that go into SDP answers.
    pub(crate) candidates: Vec<SocketAddr>,
    /// TCP connections come to them too.
    pub(crate) tcp_candidates: bool,
}

impl Identity {
    pub(crate) fn new(candidates: Vec<SocketAddr>, tcp_candidates: bool) -> Self {
        let crypto = CryptoProvider {
            dtls_provider: &GuardedDtls,
            ..str0m::crypto::from_feature_flags()
        };
        let certificate = crypto.dtls_provider.generate_certificate();
        Self {
            crypto: Arc::new(crypto),
            certificate,
            candidates,
            tcp_candidates,
        }
    }
}
