//! The RTMP port: encoders publish to `rtmp://HOST/{app}/{stream}`, with a token in the query, and tools play from
//! there.
//!
//! ```text
//!  encoder ──► greeting ──► target ──► the hub, as a signalling socket ──► socket lot of the engine
//!  or player   (handshake,  (names,    (tokens, limits, takeover)          (the shard goes on with the
//!               up to publish  query)                                       connection; no media is here)
//!               or play)
//! ```
//!
//! What is idle, slow or hostile stays here, in tasks with a deadline and a bound, and never reaches an
//! executor. TLS of RTMPS ends in the engine ([`tls`]). The application `sink` is the test sink, for this machine alone.

mod greeting;
mod leaving;
mod players;
mod session;
mod target;
mod tls;

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use shardcast_log::Limiter;
use tokio::{net::TcpListener, time::sleep};

use crate::{
    connection_limits::ConnectionLimits, forwarded, limits, ports, settings::Settings,
    state::Control, tls::Certificates,
};

/// Out of descriptors, this happens twenty times a second.
static NOT_ACCEPTED: Limiter = Limiter::refusals();
static NO_PLACE: Limiter = Limiter::refusals();

/// The port, or where it is to be.
#[derive(Debug)]
pub(crate) struct RtmpPort {
    /// Where it listens, or is to listen once it can.
    pub(crate) address: SocketAddr,
    listener: Option<TcpListener>,
    /// RTMPS is spoken there, under this certificate.
    tls: Option<Arc<Certificates>>,
}

impl RtmpPort {
    /// Takes the port of these settings, if they have one.
    pub(crate) fn bind_as(settings: &Settings) -> Option<Self> {
        let port = settings.rtmp_port?;
        Some(Self::bind(SocketAddr::new(settings.bind, port), None))
    }

    /// The same of the port for RTMPS.
    pub(crate) fn bind_tls_as(
        settings: &Settings,
        certificates: &Arc<Certificates>,
    ) -> Option<Self> {
        let address = SocketAddr::new(settings.bind, settings.rtmps_port?);
        Some(Self::bind(address, Some(Arc::clone(certificates))))
    }

    /// Takes the port. Another process may have it, such as an engine of an earlier version that goes on
    /// without its control: then it is taken later, and all else works meanwhile.
    fn bind(address: SocketAddr, tls: Option<Arc<Certificates>>) -> Self {
        match ports::listen(address) {
            Ok(listener) => Self {
                address: listener.local_addr().unwrap_or(address),
                listener: Some(listener),
                tls,
            },
            Err(error) => {
                warn(address, &error);
                Self {
                    address,
                    listener: None,
                    tls,
                }
            }
        }
    }

    /// Takes encoders for as long as this process lives.
    pub(crate) async fn serve(mut self, control: Arc<Control>) {
        let listener = loop {
            match self.listener.take() {
                Some(listener) => break listener,
                None => sleep(limits::RTMP_BIND_RETRY).await,
            }
            self.listener = ports::listen(self.address).ok();
        };
        // Set once: this task runs once.
        let known = match &self.tls {
            Some(_) => &control.rtmps_addr,
            None => &control.rtmp_addr,
        };
        let _ = known.set(self.address);
        let tls = self.tls.is_some();
        tracing::info!(rtmp = %self.address, tls, "listening for encoders");
        let places = ConnectionLimits::of(limits::RTMP_GREETINGS_MAX);
        loop {
            let (stream, peer) = match ports::accept(&listener).await {
                Ok(accepted) => accepted,
                Err(error) => {
                    if let Some(left_out) = NOT_ACCEPTED.admit(Instant::now()) {
                        tracing::warn!(%error, left_out, "cannot accept an encoder");
                    }
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let trusted = forwarded::is_trusted(peer.ip(), &control.settings.remote_allowed_cidr);
            match places.take(peer.ip(), trusted) {
                Some(place) => {
                    let (control, tls) = (Arc::clone(&control), self.tls.clone());
                    tokio::spawn(async move {
                        let plain = match tls {
                            Some(certificates) => tls::end(&control, stream, &certificates).await,
                            None => Some(stream),
                        };
                        if let Some(plain) = plain {
                            session::serve(control, plain, peer, place).await;
                        }
                    });
                }
                None => {
                    if let Some(left_out) = NO_PLACE.admit(Instant::now()) {
                        tracing::warn!(%peer, left_out, "an encoder was not let in: there are too many");
                    }
                }
            }
        }
    }
}

fn warn(address: SocketAddr, error: &io::Error) {
    tracing::warn!(
        %address,
        %error,
        "cannot listen for encoders yet: another program has the port; choose another with --rtmp-port, \
         or set rtmp_enabled = false"
    );
}
