//! Leaves a connection with the engine ([`shardcast_link::socket_lot`]).

use std::{
    io::{self, IoSlice, Read},
    mem::MaybeUninit,
    net::TcpStream,
    os::{fd::AsFd, unix::net::UnixStream},
    path::Path,
    time::Duration,
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use shardcast_link::socket_lot::TAKEN;

/// The engine has a thread for this and answers within a millisecond.
const PATIENCE: Duration = Duration::from_secs(2);

/// Leaves `stream` with the engine that listens at `lot`, under the name that it returns. The stream is usable
/// here too until it is dropped. Blocks.
pub(super) fn leave(lot: &Path, stream: &TcpStream) -> io::Result<String> {
    // io_uring waits only on descriptors that block.
    stream.set_nonblocking(false)?;
    let name = format!("{:032x}", rand::random::<u128>());
    let mut engine = UnixStream::connect(lot)?;
    engine.set_read_timeout(Some(PATIENCE))?;
    engine.set_write_timeout(Some(PATIENCE))?;
    let sockets = [stream.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    let fits = beside.push(SendAncillaryMessage::ScmRights(&sockets));
    debug_assert!(fits, "there is space for one socket");
    let parts = [IoSlice::new(name.as_bytes())];
    sendmsg(&engine, &parts, &mut beside, SendFlags::NOSIGNAL)?;
    let mut answer = [0];
    engine.read_exact(&mut answer)?;
    if answer == [TAKEN] {
        Ok(name)
    } else {
        Err(io::Error::other("the engine did not take the connection"))
    }
}
