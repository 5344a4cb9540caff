//! TLS of encoders that publish by RTMPS ([`shardcast_link::tls_front`]), on threads of their own: a shard reads
//! plain RTMP from a socket as it does from every encoder.
//!
//! ```text
//!  encoder ═══ TLS ═══ outer │ Bridge │ inner ─── loopback ─── control, then a shard
//! ```
//!
//! One thread takes what control leaves, the other one moves bytes. Neither is an executor, so a handshake delays no
//! packet. What is idle is ended by who reads the plain end.

mod bridge;

use std::{
    fs,
    io::{self, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use shardcast_link::tls_front::{PEM_BYTES_MAX, TAKEN};
use shardcast_log::Limiter;

use self::bridge::Bridge;
use crate::os::{host, poll};

static FAILED: Limiter = Limiter::refusals();

/// Connections at once; each costs about 200 KB at the most.
const BRIDGES_MAX: usize = 512;
/// Control sends its one message within this, or is passed over.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the two threads share.
struct Front {
    new: Mutex<Vec<Bridge>>,
    count: AtomicUsize,
    waker: UnixStream,
}

/// Takes the connections of RTMPS encoders by the Unix socket `path` (mode 0600), for as long as the process lives.
///
/// # Errors
/// When the socket cannot be bound, or a thread cannot be started.
pub(crate) fn listen(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    host::make_private(path)?;
    let (waker, woken) = UnixStream::pair()?;
    waker.set_nonblocking(true)?;
    woken.set_nonblocking(true)?;
    let front = Arc::new(Front {
        new: Mutex::default(),
        count: AtomicUsize::new(0),
        waker,
    });
    let filled = Arc::clone(&front);
    let named = |name: &str| thread::Builder::new().name(name.into());
    named("tls-door").spawn(move || filled.fill(&listener))?;
    named("tls").spawn(move || front.pump(&woken))?;
    Ok(())
}

impl Front {
    fn fill(&self, listener: &UnixListener) {
        let mut known = None;
        loop {
            let received = listener
                .accept()
                .and_then(|(stream, _)| self.receive(stream, &mut known));
            if let Err(error) = received {
                if let Some(left_out) = FAILED.admit(Instant::now()) {
                    tracing::warn!(left_out, "an encoder's TLS was not taken over: {error}");
                }
                // Out of descriptors, perhaps.
                thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// `known` is the last certificate: it is the same for months.
    fn receive(
        &self,
        mut stream: UnixStream,
        known: &mut Option<(Vec<u8>, Arc<ServerConfig>)>,
    ) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let (length, outer, inner) = receive(&stream)?;
        if length > PEM_BYTES_MAX {
            return Err(io::Error::other("the certificate is too long"));
        }
        let mut pem = vec![0; length];
        stream.read_exact(&mut pem)?;
        let config = match known {
            Some((of, config)) if *of == pem => Arc::clone(config),
            _ => {
                let config = server_config(&pem)?;
                *known = Some((pem, Arc::clone(&config)));
                config
            }
        };
        if self.count.load(Relaxed) >= BRIDGES_MAX {
            return Err(io::Error::other("there are too many"));
        }
        let bridge = Bridge::new(config, outer.into(), inner.into())?;
        self.count.fetch_add(1, Relaxed);
        let mut new = self.new.lock().unwrap_or_else(PoisonError::into_inner);
        new.push(bridge);
        drop(new);
        // A full pipe has woken it already.
        let _ = (&self.waker).write(&[0]);
        stream.write_all(&[TAKEN])
    }

    /// Moves bytes for as long as the process lives.
    fn pump(&self, mut woken: &UnixStream) {
        let mut bridges: Vec<Bridge> = Vec::new();
        let mut waits = Vec::new();
        loop {
            bridges.append(&mut self.new.lock().unwrap_or_else(PoisonError::into_inner));
            waits.clear();
            waits.push(poll::readable(woken.as_raw_fd()));
            bridges.iter().for_each(|it| waits.extend(it.waits()));
            if let Err(error) = poll::wait(&mut waits) {
                tracing::error!("sockets of TLS cannot be waited for: {error}");
                thread::sleep(Duration::from_millis(100));
                continue;
            }
            while matches!(woken.read(&mut [0; 64]), Ok(1..)) {}
            // Two places each, behind the waker's.
            let mut ready = waits
                .get(1..)
                .unwrap_or_default()
                .chunks(2)
                .map(|two| two.iter().any(|it| it.revents != 0));
            let before = bridges.len();
            bridges.retain_mut(|bridge| !ready.next().unwrap_or(false) || bridge.run());
            self.count.fetch_sub(before - bridges.len(), Relaxed);
        }
    }
}

/// The length that a message begins with, the encoder's socket and the plain one.
fn receive(stream: &UnixStream) -> io::Result<(usize, OwnedFd, OwnedFd)> {
    let mut length = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let parts = &mut [IoSliceMut::new(&mut length)];
    let message = recvmsg(stream, parts, &mut beside, RecvFlags::CMSG_CLOEXEC)?;
    let mut sockets = Vec::new();
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(given) = message {
            sockets.extend(given);
        }
    }
    let mut sockets = sockets.into_iter();
    match (message.bytes, sockets.next(), sockets.next()) {
        (4, Some(outer), Some(inner)) => {
            let length = u32::from_be_bytes(length);
            Ok((usize::try_from(length).unwrap_or(usize::MAX), outer, inner))
        }
        _ => Err(io::Error::other("no length, or no sockets beside it")),
    }
}

fn server_config(pem: &[u8]) -> io::Result<Arc<ServerConfig>> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(io::Error::other)?;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests;
