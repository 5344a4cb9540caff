//! The queues towards all open signalling sockets.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::{
    connection_limits::Network,
    limits,
    publishing::{SocketId, message::ServerMessage},
};

/// What is on its way to a client.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Message(ServerMessage),
    Close(u16),
}

/// The queues towards all open sockets.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    open: Mutex<Open>,
    made: AtomicU64,
}

#[derive(Debug, Default)]
struct Open {
    /// Without those that are about to be closed.
    queues: HashMap<SocketId, mpsc::Sender<Outgoing>>,
    /// Every socket until its task has ended, by the network at its other end.
    networks: HashMap<SocketId, Network>,
    per_network: HashMap<Network, usize>,
}

impl Sockets {
    /// Queues a message; a client that does not read loses its socket.
    pub(crate) fn send(&self, socket: SocketId, message: &ServerMessage) {
        self.push(socket, Outgoing::Message(message.clone()));
    }

    pub(crate) fn close(&self, socket: SocketId, code: u16) {
        self.push(socket, Outgoing::Close(code));
    }

    /// Notifies every client that this process goes away, so that the SDK looks for the next one.
    pub(crate) fn close_all(&self) {
        let sockets: Vec<SocketId> = self.lock().queues.keys().copied().collect();
        for socket in sockets {
            self.send(socket, &ServerMessage::ServerWillStop);
            self.close(socket, CloseCode::Restart.into());
        }
    }

    fn push(&self, socket: SocketId, outgoing: Outgoing) {
        let mut open = self.lock();
        let Some(queue) = open.queues.get(&socket) else {
            return;
        };
        if queue.try_send(outgoing).is_err() {
            // Dropping the sender ends the socket's task.
            open.queues.remove(&socket);
        }
    }

    /// `None` when there are too many, in all or of `address` unless that is `trusted`.
    pub(crate) fn open(
        &self,
        address: IpAddr,
        trusted: bool,
    ) -> Option<(SocketId, mpsc::Receiver<Outgoing>)> {
        let mut open = self.lock();
        let network = Network::of(address);
        let of_network = open.per_network.get(&network).copied().unwrap_or(0);
        if open.networks.len() >= limits::SOCKETS_MAX
            || (!trusted && of_network >= limits::SOCKETS_PER_ADDRESS_MAX)
        {
            return None;
        }
        let socket = SocketId(self.made.fetch_add(1, Ordering::Relaxed));
        let (sender, receiver) = mpsc::channel(limits::SOCKET_QUEUE_MAX);
        open.queues.insert(socket, sender);
        open.networks.insert(socket, network);
        debug_assert!(
            open.queues.len() <= open.networks.len(),
            "a socket with a queue counts for its network"
        );
        open.per_network.insert(network, of_network + 1);
        Some((socket, receiver))
    }

    /// The task of `socket` has ended.
    pub(crate) fn forget(&self, socket: SocketId) {
        let mut open = self.lock();
        open.queues.remove(&socket);
        let Some(network) = open.networks.remove(&socket) else {
            return;
        };
        let left = open.per_network.remove(&network).unwrap_or(1) - 1;
        if left > 0 {
            open.per_network.insert(network, left);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_counts_until_its_task_has_ended_and_one_address_does_not_take_them_all() {
        let sockets = Sockets::default();
        let [one, other] = [[203, 0, 113, 1], [203, 0, 113, 2]].map(IpAddr::from);
        let mut open: Vec<_> = std::iter::from_fn(|| sockets.open(one, false)).collect();
        assert_eq!(open.len(), limits::SOCKETS_PER_ADDRESS_MAX);
        assert!(sockets.open(other, false).is_some());
        assert!(sockets.open(one, true).is_some());
        sockets.forget(open.remove(0).0);
        sockets.forget(open.remove(0).0);
        let (slow, queue) = sockets.open(one, false).unwrap();
        for _ in 0..=limits::SOCKET_QUEUE_MAX {
            sockets.send(slow, &ServerMessage::Pong);
        }
        assert!(queue.is_closed() || queue.len() == limits::SOCKET_QUEUE_MAX);
        assert!(sockets.open(one, false).is_none(), "it still counts");
        sockets.forget(slow);
        assert!(sockets.open(one, false).is_some());
    }
}
