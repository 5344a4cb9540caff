//! RTMPS: has the engine end the TLS of a connection ([`shardcast_link::tls_front`]), and goes on with the plain end.

use std::{
    io::{self, IoSlice, Read, Write},
    mem::MaybeUninit,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::{fd::AsFd, unix::net::UnixStream},
    path::Path,
    time::{Duration, Instant},
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use shardcast_link::tls_front::{FILE_NAME, TAKEN};
use shardcast_log::Limiter;

use crate::{state::Control, tls::Certificates};

static NOT_TAKEN: Limiter = Limiter::refusals();

/// The engine has a thread for this and answers within some milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// The plain end of a connection whose other end speaks TLS; `None` when the engine does not take it.
pub(super) async fn end(
    control: &Control,
    encoder: tokio::net::TcpStream,
    certificates: &Certificates,
) -> Option<tokio::net::TcpStream> {
    let front = control.settings.link_dir.join(FILE_NAME);
    let pem = certificates.pem();
    let encoder = encoder.into_std().ok()?;
    let leave = move || {
        let (inner, plain) = pair()?;
        leave(&front, &pem, &encoder, &inner)?;
        plain.set_nonblocking(true)?;
        io::Result::Ok(plain)
    };
    let left = tokio::task::spawn_blocking(leave).await.ok()?;
    match left.and_then(tokio::net::TcpStream::from_std) {
        Ok(plain) => Some(plain),
        Err(error) => {
            if let Some(left_out) = NOT_TAKEN.admit(Instant::now()) {
                tracing::warn!(%error, left_out, "the engine did not take the TLS of an encoder");
            }
            None
        }
    }
}

/// Two connected sockets. They are TCP, as a shard has all that it reads.
fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let one = TcpStream::connect(listener.local_addr()?)?;
    loop {
        let (other, peer) = listener.accept()?;
        // Anybody on this machine may have been faster.
        if peer == one.local_addr()? {
            return Ok((one, other));
        }
    }
}

fn leave(front: &Path, pem: &[u8], encoder: &TcpStream, inner: &TcpStream) -> io::Result<()> {
    let mut engine = UnixStream::connect(front)?;
    engine.set_read_timeout(Some(PATIENCE))?;
    engine.set_write_timeout(Some(PATIENCE))?;
    let sockets = [encoder.as_fd(), inner.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    let fits = beside.push(SendAncillaryMessage::ScmRights(&sockets));
    debug_assert!(fits, "there is space for two sockets");
    let length = u32::try_from(pem.len()).map_err(io::Error::other)?;
    let length = length.to_be_bytes();
    let parts = [IoSlice::new(&length)];
    sendmsg(&engine, &parts, &mut beside, SendFlags::NOSIGNAL)?;
    engine.write_all(pem)?;
    let mut answer = [0];
    engine.read_exact(&mut answer)?;
    if answer == [TAKEN] {
        Ok(())
    } else {
        Err(io::Error::other("the engine did not take the connection"))
    }
}
