//! TCP connections: opened and closed for the shard, read by a task each, written from the driver's
//! loop with gathering writes.
//!
//! ```text
//!   shard ── Write ──► queue ── sendmsg, at the end of each turn ──► kernel
//!                        └─ kernel full: the task waits for room, then writes on
//!   task ── Completion ──► ConnectionTable::completion ──► driver ──► shard
//! ```
//!
//! Where the shard wants TLS, [`tls`] stands between the slices and the queue.
//!
//! A connection that cannot be written never holds up the others: its slices wait in its own
//! queue, which the shard bounds.

pub(crate) mod call;
mod error_text;
mod info;
pub(crate) mod listener;
mod queue;
pub(crate) mod socket_lot;
mod task;
mod tls;
pub(crate) mod trust;

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    io,
    net::SocketAddr,
    os::fd::{AsRawFd, OwnedFd},
    rc::Rc,
    sync::Arc,
    task::Waker,
};

use bytes::Bytes;
use glommio::net::TcpStream;
use rustls::ClientConfig;
use shardcast_core::io::{Close, ConnId, TcpEvent};

use self::{queue::WriteQueue, task::Life, tls::Tls};
use crate::{
    completions::{Completions, Notifier},
    limits::{TCP_CONNECTIONS_MAX, TCP_QUEUE_BYTES_MAX, TCP_QUEUE_SLICES_MAX, TCP_READ_BYTES},
    os::sockets::adopt_tcp,
    work::Work,
};

type SharedConnection = Rc<RefCell<Connection>>;

/// What is shared between the driver, which writes, and the connection's task.
struct Connection {
    id: ConnId,
    /// Present between connecting and the end.
    stream: Option<TcpStream>,
    /// What goes on the wire.
    queue: WriteQueue,
    /// Where TLS is spoken; what waits then is in it.
    tls: Option<Box<Tls>>,
    /// The kernel took less than it was given; the task waits until it takes more.
    blocked: bool,
    /// In the list of connections to be written.
    dirty: bool,
    /// The shard wants no more of it.
    closing: Option<Close>,
    waker: Option<Waker>,
    /// glommio waits until there is something to read.
    awaits_data: bool,
    work: Rc<Work>,
}

impl Connection {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// What the shard has written and the kernel has not taken.
    fn waiting(&self) -> &WriteQueue {
        self.tls.as_ref().map_or(&self.queue, |tls| &tls.plain)
    }

    /// Whether nothing is left to be written.
    fn is_written(&self) -> bool {
        self.queue.is_empty() && self.tls.as_ref().is_none_or(|tls| tls.is_idle())
    }

    /// Gives the kernel what it takes; how many of the shard's bytes that was.
    fn write(&mut self) -> io::Result<usize> {
        let Some(stream) = &self.stream else {
            return Ok(0);
        };
        let socket = stream.as_raw_fd();
        let mut accepted = 0;
        loop {
            if let Some(tls) = &mut self.tls {
                tls.seal(&mut self.queue)?;
            }
            let (written, result) = self.queue.write_to(socket, &self.work);
            accepted += self.taken(written);
            match result {
                Ok(()) if self.is_written() => return Ok(accepted),
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    self.wake();
                    return Ok(accepted);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// How many of the shard's bytes have left with `written` bytes of the wire.
    fn taken(&mut self, written: usize) -> usize {
        match &mut self.tls {
            Some(tls) => tls.accepted(&self.queue),
            None => written,
        }
    }
}

/// Why a connection is over, other than by the shard's wish.
#[derive(Debug)]
pub(crate) struct Ended {
    /// For people.
    pub(crate) reason: String,
    /// Whether another attempt may go better without anybody changing something.
    pub(crate) retryable: bool,
}

impl Ended {
    fn retryable(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            retryable: true,
        }
    }

    fn permanent(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            retryable: false,
        }
    }
}

/// Something that happened on a connection.
#[derive(Debug)]
pub(crate) struct Completion {
    pub(crate) conn: ConnId,
    pub(crate) event: Event,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// These bytes, which became plain if TLS is spoken. None: TLS may have something to answer.
    Received(Vec<u8>),
    Other(TcpEvent<'static>),
}

impl Completion {
    fn other(conn: ConnId, event: TcpEvent<'static>) -> Self {
        let event = Event::Other(event);
        Self { conn, event }
    }

    fn received(conn: ConnId, bytes: Vec<u8>) -> Self {
        let event = Event::Received(bytes);
        Self { conn, event }
    }

    fn closed(conn: ConnId, Ended { reason, retryable }: Ended) -> Self {
        Self::other(conn, TcpEvent::Closed { reason, retryable })
    }
}

/// All connections of a shard.
///
/// Where it gives the task of a connection something to do, it notifies the driver, which has the
/// executor hand the kernel what the task waits for.
pub(crate) struct ConnectionTable {
    open: HashMap<ConnId, SharedConnection>,
    dirty: Vec<SharedConnection>,
    /// Connections that exist, those included that the shard has closed already.
    alive: Rc<()>,
    /// How TLS is spoken by this shard.
    tls_config: Arc<ClientConfig>,
    /// One for all: what is read is copied out of it before anything else runs.
    read_buffer: Rc<RefCell<Box<[u8]>>>,
    /// From the tasks of connections.
    completions: Completions<Completion>,
    /// From calls of the table itself.
    own: VecDeque<Completion>,
    work: Rc<Work>,
}

impl ConnectionTable {
    pub(crate) fn new(tls_config: Arc<ClientConfig>, notifier: Notifier, work: Rc<Work>) -> Self {
        Self {
            tls_config,
            open: HashMap::new(),
            dirty: Vec::new(),
            alive: Rc::new(()),
            read_buffer: Rc::new(RefCell::new(vec![0; TCP_READ_BYTES].into_boxed_slice())),
            completions: Completions::new(notifier),
            own: VecDeque::new(),
            work,
        }
    }

    /// Whether nothing is open and nothing is being closed.
    pub(crate) fn is_empty(&self) -> bool {
        self.alive() == 0
    }

    fn alive(&self) -> usize {
        Rc::strong_count(&self.alive) - 1
    }

    /// The next completion for the shard. None comes of a connection that it has closed.
    pub(crate) fn completion(&mut self) -> Option<Completion> {
        if let Some(completion) = self.own.pop_front() {
            return Some(completion);
        }
        loop {
            let completion = self.completions.take()?;
            let conn = completion.conn;
            match &completion.event {
                Event::Other(TcpEvent::Closed { .. }) => {
                    if self.open.remove(&conn).is_some() {
                        return Some(completion);
                    }
                }
                Event::Received(bytes) => {
                    // TLS may have to answer by itself.
                    if self.mark_dirty(conn) && !bytes.is_empty() {
                        return Some(completion);
                    }
                }
                Event::Other(_) => {
                    // Where the kernel has room again, more may wait than one write took.
                    if self.mark_dirty(conn) {
                        return Some(completion);
                    }
                }
            }
        }
    }

    /// Starts a connection, with TLS where `tls` names the server.
    pub(crate) fn connect(&mut self, conn: ConnId, address: SocketAddr, tls: Option<&str>) {
        let tls = tls
            .map(|server| Tls::new(&self.tls_config, server).map(Box::new))
            .transpose();
        match tls.and_then(|tls| self.insert(conn, tls)) {
            Ok(life) => {
                life.spawn(async move |life| life.run(address).await);
                self.completions.notify();
            }
            Err(ended) => self.own.push_back(Completion::closed(conn, ended)),
        }
    }

    /// Takes over a connection that a peer made to us.
    pub(crate) fn adopt(&mut self, conn: ConnId, stream: TcpStream) {
        match self.insert(conn, None) {
            Ok(life) => {
                life.begin(stream);
                life.spawn(async move |life| life.serve(Vec::new()).await);
            }
            Err(ended) => self.own.push_back(Completion::closed(conn, ended)),
        }
    }

    /// Takes over a connection that was left with the engine; `None`: it is not there.
    pub(crate) fn adopt_left(&mut self, conn: ConnId, socket: Option<OwnedFd>) {
        match socket {
            Some(socket) => self.adopt(conn, adopt_tcp(socket)),
            None => {
                let ended = Ended::permanent("its connection was not handed over in time");
                self.own.push_back(Completion::closed(conn, ended));
            }
        }
    }

    /// Enters a connection that is about to be made; an error when there are too many.
    fn insert(&mut self, id: ConnId, tls: Option<Box<Tls>>) -> Result<Life, Ended> {
        if self.alive() >= TCP_CONNECTIONS_MAX {
            return Err(Ended::retryable(format!(
                "this shard has {TCP_CONNECTIONS_MAX} connections already"
            )));
        }
        let connection = Rc::new(RefCell::new(Connection {
            id,
            stream: None,
            queue: WriteQueue::default(),
            tls,
            blocked: false,
            dirty: false,
            closing: None,
            waker: None,
            awaits_data: true,
            work: Rc::clone(&self.work),
        }));
        let before = self.open.insert(id, Rc::clone(&connection));
        debug_assert!(before.is_none(), "a connection's id was used twice");
        Ok(Life {
            id,
            shared: connection,
            read_buffer: Rc::clone(&self.read_buffer),
            completions: self.completions.clone(),
            alive: Rc::clone(&self.alive),
        })
    }

    /// Queues slices; they leave with the next [`Self::flush`]. A connection whose queue is over its
    /// bound is given up.
    pub(crate) fn write(&mut self, id: ConnId, slices: Vec<Bytes>) {
        let Some(shared) = self.open.get(&id) else {
            return;
        };
        let mut connection = shared.borrow_mut();
        match &mut connection.tls {
            Some(tls) => tls.plain.push(slices),
            None => connection.queue.push(slices),
        }
        let waiting = connection.waiting();
        let over = if waiting.bytes() > TCP_QUEUE_BYTES_MAX {
            format!("more than {TCP_QUEUE_BYTES_MAX} bytes were waiting")
        } else if waiting.slices() > TCP_QUEUE_SLICES_MAX {
            format!(
                "more than {TCP_QUEUE_SLICES_MAX} messages were waiting: the server asks for \
                 answers and does not read them"
            )
        } else {
            drop(connection);
            self.mark_dirty(id);
            return;
        };
        drop(connection);
        self.close(id, Close::Abort);
        let ended = Ended::retryable(over);
        self.own.push_back(Completion::closed(id, ended));
    }

    /// The next flush is to write this connection, if it can be written. False when it is not open.
    fn mark_dirty(&mut self, id: ConnId) -> bool {
        let Some(shared) = self.open.get(&id) else {
            return false;
        };
        let mut connection = shared.borrow_mut();
        let writable = connection.stream.is_some() && !connection.blocked;
        if writable && !connection.dirty && !connection.is_written() {
            connection.dirty = true;
            self.dirty.push(Rc::clone(shared));
        }
        true
    }

    /// Asks the kernel what it knows of this connection; nothing comes when it is not open.
    pub(crate) fn inspect(&mut self, id: ConnId) {
        let Some(connection) = self.open.get(&id).map(|shared| shared.borrow()) else {
            return;
        };
        let Some(stream) = &connection.stream else {
            return;
        };
        match info::read(stream) {
            Ok(info) => {
                let completion = Completion::other(id, TcpEvent::Info(info));
                self.own.push_back(completion);
            }
            Err(error) => tracing::debug!("TCP_INFO was refused: {error}"),
        }
    }

    /// The shard wants no more of this connection.
    pub(crate) fn close(&mut self, id: ConnId, how: Close) {
        if let Some(shared) = self.open.remove(&id) {
            let mut connection = shared.borrow_mut();
            if let Some(stream) = connection.stream.as_ref().filter(|_| how == Close::Abort) {
                task::disconnect(stream);
            }
            connection.closing = Some(how);
            connection.wake();
            self.completions.notify();
        }
    }

    /// Writes all connections that have something new. False when that gave no completion.
    pub(crate) fn flush(&mut self) -> bool {
        for shared in std::mem::take(&mut self.dirty) {
            let mut connection = shared.borrow_mut();
            debug_assert!(connection.dirty, "a connection is listed twice");
            connection.dirty = false;
            // The task of a connection that is closed sees to the rest.
            if connection.closing == Some(Close::Abort) || connection.blocked {
                continue;
            }
            let conn = connection.id;
            let result = connection.write();
            if connection.blocked {
                self.completions.notify();
            }
            if connection.closing.is_some() {
                continue;
            }
            match result {
                Ok(0) => {}
                Ok(bytes) => {
                    let accepted = TcpEvent::Accepted { bytes };
                    self.own.push_back(Completion::other(conn, accepted));
                }
                Err(error) => {
                    drop(connection);
                    self.close(conn, Close::Abort);
                    let ended = Ended::retryable(error_text::broken(&error));
                    self.own.push_back(Completion::closed(conn, ended));
                }
            }
        }
        !self.own.is_empty()
    }
}
