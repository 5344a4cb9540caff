//! Sockets that control leaves with the engine, for a shard to take ([`shardcast_link::socket_lot`]).
//!
//! One thread of the engine receives them, so that no executor waits for control. A shard locks the lot for a
//! moment when an encoder begins to publish, and never while media flows.

use std::{
    collections::HashMap,
    fs,
    io::{self, IoSliceMut, Write},
    mem::MaybeUninit,
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use shardcast_link::socket_lot::{NAME_BYTES, TAKEN};
use shardcast_log::Limiter;

use crate::os::host;

static FAILED: Limiter = Limiter::refusals();

/// Sockets that are left here at once. Each waits for a command that is on its way already.
const SOCKETS_MAX: usize = 256;
/// A socket that no shard takes within this is closed: control or its link has gone.
const KEPT: Duration = Duration::from_secs(10);
/// Control sends its one message within this, or is passed over.
const PATIENCE: Duration = Duration::from_secs(1);

/// The sockets that wait for a shard.
#[derive(Clone, Debug, Default)]
pub struct SocketLot(Arc<Mutex<HashMap<String, Left>>>);

#[derive(Debug)]
struct Left {
    socket: OwnedFd,
    since: Instant,
}

impl SocketLot {
    /// A lot into which control puts sockets by the Unix socket `path` (mode 0600), for as long as the process
    /// lives.
    ///
    /// # Errors
    /// When the socket cannot be bound, or the thread cannot be started.
    pub(crate) fn listen(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        host::make_private(path)?;
        let lot = Self::default();
        let filled = lot.clone();
        thread::Builder::new()
            .name("socket-lot".into())
            .spawn(move || filled.fill(&listener))?;
        Ok(lot)
    }

    fn fill(&self, listener: &UnixListener) {
        loop {
            let received = listener
                .accept()
                .and_then(|(stream, _)| self.receive(&stream));
            if let Err(error) = received {
                if let Some(left_out) = FAILED.admit(Instant::now()) {
                    tracing::warn!(left_out, "a socket was not taken over: {error}");
                }
                // Out of descriptors, perhaps.
                thread::sleep(Duration::from_millis(10));
            }
        }
    }

    fn receive(&self, mut stream: &UnixStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let (name, socket) = receive(stream)?;
        self.put(name, socket, Instant::now())?;
        stream.write_all(&[TAKEN])
    }

    fn put(&self, name: String, socket: OwnedFd, now: Instant) -> io::Result<()> {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        left.retain(|_, it| now.saturating_duration_since(it.since) < KEPT);
        if left.len() >= SOCKETS_MAX {
            return Err(io::Error::other("too many wait for their shard"));
        }
        let since = now;
        left.insert(name, Left { socket, since });
        Ok(())
    }

    /// Takes the socket that was left under this name, if it is there.
    pub(crate) fn take(&self, name: &str) -> Option<OwnedFd> {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        left.remove(name).map(|it| it.socket)
    }
}

/// The one message of a connection.
fn receive(stream: &UnixStream) -> io::Result<(String, OwnedFd)> {
    let mut name = [0; NAME_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let parts = &mut [IoSliceMut::new(&mut name)];
    let message = recvmsg(stream, parts, &mut beside, RecvFlags::CMSG_CLOEXEC)?;
    let mut socket = None;
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(sockets) = message {
            socket = sockets.last();
        }
    }
    let name = String::from_utf8(name.to_vec()).map_err(io::Error::other)?;
    match socket {
        Some(socket) if message.bytes == NAME_BYTES => Ok((name, socket)),
        _ => Err(io::Error::other("no name, or no socket beside it")),
    }
}

#[cfg(test)]
mod tests {
    use std::{io::IoSlice, net::TcpListener, os::fd::AsFd};

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

    use super::*;

    fn some_socket() -> OwnedFd {
        TcpListener::bind("127.0.0.1:0").unwrap().into()
    }

    fn leave(path: &Path, name: &[u8], socket: Option<&OwnedFd>) -> Vec<u8> {
        let mut stream = UnixStream::connect(path).unwrap();
        let sockets: Vec<_> = socket.iter().map(|socket| socket.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        if socket.is_some() {
            assert!(beside.push(SendAncillaryMessage::ScmRights(&sockets)));
        }
        sendmsg(
            &stream,
            &[IoSlice::new(name)],
            &mut beside,
            SendFlags::empty(),
        )
        .unwrap();
        let mut answer = Vec::new();
        let _ = io::Read::read_to_end(&mut stream, &mut answer);
        answer
    }

    #[test]
    fn a_socket_that_was_left_is_taken_once_and_what_is_no_socket_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lot");
        let lot = SocketLot::listen(&path).unwrap();
        let (name, socket) = ([b'a'; NAME_BYTES], some_socket());
        assert_eq!(leave(&path, &name, None), b"");
        assert_eq!(leave(&path, b"short", Some(&socket)), b"");
        assert_eq!(leave(&path, &name, Some(&socket)), [TAKEN]);
        let name = String::from_utf8(name.to_vec()).unwrap();
        assert!(lot.take(&name).is_some());
        assert!(lot.take(&name).is_none());
    }

    #[test]
    fn sockets_that_nobody_takes_are_bounded_in_number_and_time() {
        let (lot, start) = (SocketLot::default(), Instant::now());
        for n in 0..SOCKETS_MAX {
            lot.put(n.to_string(), some_socket(), start).unwrap();
        }
        let full = lot.put("more".into(), some_socket(), start + KEPT / 2);
        assert!(full.is_err());
        lot.put("later".into(), some_socket(), start + KEPT)
            .unwrap();
        assert!(lot.take("0").is_none() && lot.take("later").is_some());
    }
}
